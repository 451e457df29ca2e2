//! Scenarios across agent and server, with the real programs and faults between them.

mod clients;
mod cloud_chain;
mod cloud_functions;
mod cloud_ledger;
mod cloud_localstack;
mod cloud_loopback;
mod cloud_shadows;
mod disk_full;
mod durability;
mod enroll;
mod influx;
mod kills;
mod layout;
mod network;
mod offline_day;
mod payloads;
mod recordings;
mod refusals;
mod s3_compact;
mod s3_store;
mod spine;
mod stops;
mod template;
mod timestream;
mod up;
