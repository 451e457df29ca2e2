//! The time-series store: the port, its contract, and the on-site adapter on bundled SQLite and pco.
//!
//! - [`TimeSeriesStore`] takes blocks of readings and answers queries; [`Ledger`] knows of every stream
//!   what is stored and what became of the rest.
//! - [`SqliteStore`] keeps both in one SQLite file: a block is stored when its log row is committed;
//!   heads in memory and compressed chunks are derived from the log. Behind the feature `sqlite`.
//! - [`PlacingStore`] is for databases that other people run: the points lie behind the port
//!   [`PointStore`], and what is stored of each stream behind [`StreamOrders`].
//! - `InfluxPoints` are such points, in InfluxDB 1, 2 or 3. Behind the feature `influx`.
//! - [`Shadows`] keeps device shadows, [`Entries`] the small documents of a server; both lie in the SQLite file.
//! - [`MemoryStore`] keeps the same in memory, plainly; it is the model that [`contract`] compares with.
//!
//! It is not: a place that parses payloads, speaks HTTP or reads a clock. `now` comes in as an argument.
//!
//! Invariants:
//! - When [`TimeSeriesStore::write`] returns, the block is on disk and queries see it.
//! - Writing a block again, whole or cut otherwise, changes nothing.
//! - Of two readings of one series and time the one that its gateway accepted last stands, whatever
//!   the order of arrival; across streams the order numbers of the blocks decide.
//! - A crash at any moment leaves all of a block or nothing of it, and never an older state.
//! - A damaged row never hides another one.
//!
//! The file format is described in `docs/formats/store.md`.
//!
//! ```
//! use std::sync::Arc;
//! use fieldline_model::{Class, DeviceId, GatewayId, Metric, Quality, StreamId, Timestamp};
//! use fieldline_store::{ReceivedBlock, SeriesQuery, SqliteConfig, SqliteStore, TimeSeriesStore};
//! use fieldline_wire::{Block, Column, Values};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let folder = tempfile::tempdir()?;
//! let now = Timestamp::from_nanos(1_795_341_600_000_000_000);
//! let store = SqliteStore::open(folder.path(), SqliteConfig::default(), now)?;
//! let block = Block {
//!     stream: StreamId { gateway: GatewayId::new("gw-1")?, epoch: 7 },
//!     class: Class::Live,
//!     first_seq: 1,
//!     last_seq: 2,
//!     columns: vec![Column {
//!         device: DeviceId::new("press-4")?,
//!         metric: Metric::new("temperature")?,
//!         times: vec![now.nanos(), now.nanos() + 1],
//!         values: Values::Float(vec![21.5, 21.6]),
//!         qualities: vec![],
//!     }],
//!     order: vec![],
//! };
//! let written = store.write(Arc::new(ReceivedBlock::new(block, now))).await?;
//! assert_eq!(written.new, 2);
//! let page = store.series(&SeriesQuery::one("press-4", "temperature")).await?;
//! assert_eq!(page.series[0].points.len(), 2);
//! store.close().await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod aggregate;
pub mod contract;
mod entries;
mod error;
mod glob;
#[cfg(feature = "influx")]
mod influx;
mod ledger;
mod memory;
mod order;
mod pager;
mod placing;
#[cfg(feature = "sqlite")]
mod points;
mod port;
mod query;
mod shadows;
#[cfg(feature = "sqlite")]
mod sqlite;

pub use aggregate::Aggregate;
pub use entries::{Entries, Entry, EntryChange};
pub use error::StoreError;
pub use glob::Glob;
#[cfg(feature = "influx")]
pub use influx::{
    InfluxConfig, InfluxConfigError, InfluxDialect, InfluxDialectError, InfluxPoints, InfluxToken,
};
pub use ledger::{
    Balance, GatewayLedger, Ledger, OwnStream, Refused, RefusedCounts, ReportedBooks, StreamLedger,
    StreamRecord, assemble,
};
pub use memory::MemoryStore;
pub use order::{Admission, Gap, NUMBER_MAX, StreamOrder};
pub use pager::{Pager, Span};
pub use placing::{HeldStream, PlacedBlock, PlacingStore, PointStore, SetAside, StreamOrders};
pub use port::{ReceivedBlock, TimeSeriesStore, Written};
pub use query::{
    Buckets, Cursor, CursorError, DeviceInfo, DevicePage, DeviceQuery, Latest, Point, Series, SeriesPage,
    SeriesQuery,
};
pub use shadows::{NAMED_SHADOWS_MAX, Outcome, Shadows};
#[cfg(feature = "sqlite")]
pub use sqlite::{Retained, SqliteConfig, SqliteStats, SqliteStore};
