//! Readings in a bucket, as Parquet.
//!
//! A block becomes one object for each UTC day that it touches, its order in the object's name and in
//! the column `place`; see `docs/formats/s3.md`. Objects never change: a resend finds its object there,
//! and of two rows of one device, metric and time reading takes the one with the greater place.
//! [`ParquetStore::compact`] merges the small objects of a day later.

mod bucket;
mod cache;
mod catalog;
mod compact;
mod decode;
mod encode;
mod footer;
mod key;
mod newest;
mod rows;
mod scan;
mod schema;
mod series;

use std::sync::Mutex;

use async_trait::async_trait;
use fieldline_model::DeviceId;
use fieldline_store::{
    DevicePage, DeviceQuery, Latest, PlacedBlock, PointStore, SeriesPage, SeriesQuery, SetAside, StoreError,
};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};

use crate::Aws;
use bucket::{Bucket, Trouble};
pub use compact::{CompactConfig, Compacted};
use rows::Rows;

const SERVICE: &str = "S3";
/// Calls of one question or one block that run at the same time.
const CALLS_MAX: usize = 8;
/// Days that a block may touch; each is an object of its own.
const DAYS_MAX: usize = 4_096;
/// How often a question begins anew because a compaction has taken objects away under it.
const ATTEMPTS_MAX: usize = 8;

/// Where the readings lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Config {
    /// The bucket, which exists; everything of the store lies below `readings/`.
    pub bucket: String,
}

/// A [`PointStore`] on S3.
///
/// What a question costs: a listing of each day of its time (a call for each 1,000 objects), and of each
/// object there a call for the footer, which is the whole object where that has at most 1 MiB, or one
/// more call for each row group that may hold what is asked for. `latest` and `devices` list all
/// objects, and read the catalog that [`ParquetStore::compact`] has written and the days that it does not
/// cover: the newest two, those with late data, and all of them where nothing was ever compacted.
#[derive(Debug)]
pub struct ParquetStore {
    bucket: Bucket,
    /// The name of a catalog that turned out to be damaged: it is not asked again.
    unusable: Mutex<Option<String>>,
}

impl ParquetStore {
    /// A store in an existing bucket. This calls nothing yet.
    ///
    /// # Errors
    /// The name cannot be a bucket's.
    pub fn connect(aws: &Aws, config: S3Config) -> Result<Self, StoreError> {
        let S3Config { bucket } = config;
        let good =
            |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || matches!(char, '.' | '-');
        if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(good) {
            let source = format!("{bucket:?} is no bucket's name: 3 to 63 of a-z 0-9 . -").into();
            return Err(StoreError::Rejected { service: SERVICE, source });
        }
        Ok(Self { bucket: Bucket::new(aws.s3(), bucket), unusable: Mutex::default() })
    }

    /// How often an object was passed over because it is damaged or no Parquet of ours, since the start.
    pub fn damaged(&self) -> u64 {
        self.bucket.damaged()
    }

    /// Asks until no object has vanished between listing and reading.
    async fn steadily<'a, T>(
        &'a self,
        ask: impl Fn() -> BoxFuture<'a, Result<T, Trouble>> + Send,
    ) -> Result<T, StoreError> {
        for _ in 0..ATTEMPTS_MAX {
            match ask().await {
                Ok(answer) => return Ok(answer),
                Err(Trouble::Gone) => tracing::info!("objects have gone under a question; once more"),
                Err(Trouble::Store(error)) => return Err(error),
            }
        }
        let source = "objects are compacted all the time".into();
        Err(StoreError::Unavailable { service: SERVICE, source })
    }
}

#[async_trait]
impl PointStore for ParquetStore {
    async fn put(&self, placed: &PlacedBlock) -> Result<Vec<SetAside>, StoreError> {
        let block = &placed.received.block;
        let Ok(place) = i64::try_from(placed.place) else {
            return Err(StoreError::Refused { what: "its place is out of bounds".to_owned() });
        };
        let days = rows::by_day(block, place);
        if days.len() > DAYS_MAX {
            let what = format!("its readings lie in {} days; at most {DAYS_MAX}", days.len());
            return Err(StoreError::Refused { what });
        }
        let puts = days.into_iter().map(|(day, rows)| async move {
            let key = key::of_block(block, day, placed.place);
            self.bucket.put(&key, encoded(&rows)?).await.map_err(Trouble::into_error)
        });
        stream::iter(puts).buffer_unordered(CALLS_MAX).try_for_each(async |_new| Ok(())).await?;
        Ok(Vec::new())
    }

    async fn series(&self, query: &SeriesQuery) -> Result<SeriesPage, StoreError> {
        self.steadily(|| self.points(query).boxed()).await
    }

    async fn latest(&self, device: &DeviceId) -> Result<Vec<Latest>, StoreError> {
        self.steadily(|| self.newest(device).boxed()).await
    }

    async fn devices(&self, query: &DeviceQuery) -> Result<DevicePage, StoreError> {
        self.steadily(|| self.device_page(query).boxed()).await
    }
}

fn encoded(rows: &Rows) -> Result<Vec<u8>, StoreError> {
    let write = || {
        let mut encoder = encode::Encoder::new()?;
        rows.iter().try_for_each(|(series, rows)| encoder.push(series, rows))?;
        encoder.finish()
    };
    // Writing to memory fails only for a schema that does not fit the rows.
    write().map_err(|error| StoreError::Refused { what: format!("it cannot be Parquet: {error}") })
}
