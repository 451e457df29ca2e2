//! Rules on the server: every stored reading is evaluated before it is acknowledged, and what comes of it is
//! delivered.
//!
//! Without rules nothing is evaluated, written or waited for. What the rules have seen is durable together
//! with what they want done; what they want is done at least once, under an id that stays the same.

mod book;
mod courier;
mod desk;
mod files;
mod history;
mod http;
mod outlet;
mod state;
mod targets;
mod upkeep;
mod upward;
mod work;

pub(crate) use book::AlarmBook;
pub(crate) use courier::Couriers;
pub(crate) use desk::{Line, RulesDesk};
pub(crate) use history::Bounds;
pub(crate) use http::router;
pub(crate) use outlet::Router;
pub(crate) use targets::targets;
pub(crate) use work::{Parts, Service};
