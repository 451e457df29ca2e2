//! Commands for devices, on the topics of AWS IoT's commands: accepted by HTTP, delivered by MQTT as
//! long as they have not expired, and what the device answers is kept.
//!
//! What was accepted is durable, as is every status before its device hears `accepted`.

mod desk;
mod execution;
mod http;
mod state;
mod work;

pub(crate) use desk::{CommandDesk, DeviceResponse};
pub(crate) use execution::Order;
pub(crate) use http::router;
pub(crate) use state::{Limits, Refused};
pub(crate) use work::Service;
