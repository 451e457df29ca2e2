//! The on-premise server, and the `fieldline` command around it.

pub mod cli;
pub mod client;
pub mod config;
pub mod demo;
pub mod replay;
pub mod settings;
pub mod view;
