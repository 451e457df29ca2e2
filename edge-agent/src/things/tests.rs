//! The machine against a simulated cloud: links break, messages come twice, late or never, the gateway
//! crashes at any operation of its disk; and in the end both sides agree.

mod cloud;
mod random;
mod rules;
mod site;
