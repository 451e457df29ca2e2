//! How readings look as bytes: on the wire between gateway and server, in a journal record, and in
//! the payloads that devices send.
//!
//! - [`Rows`] holds readings in one arena, without an allocation per reading.
//! - [`record`] is the payload of one journal record.
//! - [`Block`] is an immutable run of consecutive sequence numbers of one stream, columnar and
//!   compressed; [`BlockBuilder`] makes one, [`BlockHeader`] reads its key without unpacking it.
//! - [`parse`] turns device payloads (JSON, SenML, line protocol, scalars) into [`Rows`].
//!
//! It is not: a place that knows clocks, sockets or disks. Time comes in as an argument.
//!
//! Invariants:
//! - What was encoded decodes to the same bits, NaN payloads and negative zeros included.
//! - No input, however damaged or hostile, makes a decoder or a parser panic, or allocate more than
//!   its [`Limits`] or a small multiple of the payload allow.
//! - One bad reading in a payload never takes the others with it: it becomes a [`parse::Reject`].
//!
//! The formats are described byte by byte in `docs/formats/`.
//!
//! ```
//! use fieldline_model::{Class, GatewayId, StreamId, Timestamp};
//! use fieldline_wire::{Block, BlockBuilder, BlockHeader, Limits, parse};
//!
//! let context = parse::Context { device: "press-4", now: Timestamp::EPOCH };
//! let mut parsed = parse::Parsed::default();
//! parse::json(br#"{"temperature": 21.5, "running": true}"#, &context, &mut parsed)?;
//!
//! let stream = StreamId { gateway: GatewayId::new("gw-1")?, epoch: 7 };
//! let mut builder = BlockBuilder::new(stream, Class::Live, 1);
//! for reading in parsed.rows.iter() {
//!     builder.push(reading);
//! }
//! let block = builder.finish().expect("two readings make a block");
//! let bytes = block.encode();
//! assert_eq!(BlockHeader::read(&bytes)?.last_seq, 2);
//! assert_eq!(Block::decode(&bytes, &Limits::default())?, block);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod block;
pub mod parse;
pub mod record;
mod rows;
mod varint;

pub use block::{Block, BlockBuilder, BlockError, BlockHeader, Column, Limits, Values};
pub use rows::Rows;
