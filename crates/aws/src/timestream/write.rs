//! Writing: calls of 100 records, and what becomes of the records that are not taken.

use aws_sdk_timestreamwrite::Client;
use aws_sdk_timestreamwrite::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_timestreamwrite::operation::write_records::WriteRecordsError;
use aws_sdk_timestreamwrite::types::RejectedRecord;
use fieldline_store::{PlacedBlock, SetAside, StoreError};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::aside::{self, Refusals};
use super::batch::{Call, RECORDS_MAX};
use super::record::{Record, Source};
use super::{SERVICE, TimestreamConfig, fails};

/// Calls of one block that run at the same time.
const CALLS_MAX: usize = 4;

/// Why readings are set aside.
const TOO_OLD: &str = "too-old";
const IN_THE_FUTURE: &str = "in-the-future";
const REFUSED: &str = "refused-by-timestream";

#[derive(Debug)]
pub(super) struct Writer {
    pub(super) client: Client,
    pub(super) config: TimestreamConfig,
}

/// What Timestream says to a call.
enum Answer {
    Taken,
    /// All but these are taken.
    Rejected(Vec<RejectedRecord>),
    /// Something in the call is not as it must be; nothing is taken.
    Invalid(WriteRecordsError),
}

impl Writer {
    pub(super) async fn put(&self, placed: &PlacedBlock) -> Result<Vec<SetAside>, StoreError> {
        let block = &placed.received.block;
        let Ok(place) = i64::try_from(placed.place.max(1)) else {
            return Err(StoreError::Refused { what: "its place is out of bounds".to_owned() });
        };
        let put = Put { place, source: Source::new(block), now: placed.received.received.nanos() };
        let mut records = put.source.records().into_iter();
        let batches = std::iter::from_fn(|| {
            let batch: Vec<Record> = records.by_ref().take(RECORDS_MAX).collect();
            (!batch.is_empty()).then_some(batch)
        });
        let calls = stream::iter(batches).map(|batch| self.write(&put, batch)).buffer_unordered(CALLS_MAX);
        let all = calls.try_fold(Refusals::new(), async |mut all, refusals| {
            for (reason, cells) in refusals {
                all.entry(reason).or_default().extend(cells);
            }
            Ok(all)
        });
        Ok(aside::parts(block, all.await?))
    }

    /// Writes a batch, in as many calls as it takes until each of its records is stored or refused.
    async fn write(&self, put: &Put<'_>, batch: Vec<Record>) -> Result<Refusals, StoreError> {
        let mut refusals = Refusals::new();
        let mut waiting = vec![batch];
        while let Some(mut batch) = waiting.pop() {
            match self.send(put.place, &batch).await? {
                Answer::Taken => {}
                Answer::Rejected(rejected) => {
                    let again = put.take_apart(&batch, &rejected, &mut refusals)?;
                    waiting.extend(again.chunks(RECORDS_MAX).map(<[Record]>::to_vec));
                }
                Answer::Invalid(_) if batch.len() > 1 => {
                    waiting.push(batch.split_off(batch.len() / 2));
                    waiting.push(batch);
                }
                Answer::Invalid(error) => {
                    tracing::warn!(error = %aws_sdk_timestreamwrite::error::DisplayErrorContext(&error), "record refused");
                    let again: Vec<Record> =
                        batch.iter().flat_map(|record| put.refuse(record, &mut refusals)).collect();
                    waiting.extend(again.chunks(RECORDS_MAX).map(<[Record]>::to_vec));
                }
            }
        }
        Ok(refusals)
    }

    async fn send(&self, place: i64, batch: &[Record]) -> Result<Answer, StoreError> {
        let Call { common, records } = Call::new(batch, place);
        let call = self.client.write_records().database_name(&self.config.database);
        let call = call.table_name(&self.config.table).common_attributes(common).set_records(Some(records));
        match call.send().await.map_err(SdkError::into_service_error) {
            Ok(_) => Ok(Answer::Taken),
            Err(WriteRecordsError::RejectedRecordsException(error)) => {
                Ok(Answer::Rejected(error.rejected_records.unwrap_or_default()))
            }
            Err(error) if error.code() == Some("ValidationException") => Ok(Answer::Invalid(error)),
            Err(error) => Err(fails(error)),
        }
    }
}

/// A block on its way.
struct Put<'a> {
    place: i64,
    source: Source<'a>,
    /// When the block was received; tells the past from the future.
    now: i64,
}

/// What a rejection means.
enum Verdict {
    /// The record is there, or a later one is.
    Stored,
    Aside(&'static str),
    Refused,
}

impl Put<'_> {
    /// Sorts the rejected records of a batch; gives what is to be written otherwise.
    fn take_apart(
        &self,
        batch: &[Record],
        rejected: &[RejectedRecord],
        refusals: &mut Refusals,
    ) -> Result<Vec<Record>, StoreError> {
        let mut again = Vec::new();
        if rejected.is_empty() {
            let source = "it rejects records and does not say which".into();
            return Err(StoreError::Unavailable { service: SERVICE, source });
        }
        for rejected in rejected {
            let Some(record) = usize::try_from(rejected.record_index).ok().and_then(|at| batch.get(at))
            else {
                let source = format!("it rejects record {} of {}", rejected.record_index, batch.len()).into();
                return Err(StoreError::Unavailable { service: SERVICE, source });
            };
            match self.verdict(record, rejected) {
                Verdict::Stored => {}
                Verdict::Aside(reason) => refusals.entry(reason).or_default().extend(&record.cells),
                Verdict::Refused => {
                    let reason = rejected.reason.as_deref().unwrap_or_default();
                    tracing::warn!(device = %record.device, time = record.time, reason, "record refused");
                    again.extend(self.refuse(record, refusals));
                }
            }
        }
        Ok(again)
    }

    /// By the words that Timestream uses; what it does not say in a field.
    fn verdict(&self, record: &Record, rejected: &RejectedRecord) -> Verdict {
        let reason = rejected.reason.as_deref().unwrap_or_default().to_ascii_lowercase();
        let later = rejected.existing_version.is_some_and(|version| version >= self.place);
        if later || reason.contains("already exists") {
            return Verdict::Stored;
        }
        if ["time range", "timestamp", "retention"].iter().any(|words| reason.contains(words)) {
            return Verdict::Aside(if record.time > self.now { IN_THE_FUTURE } else { TOO_OLD });
        }
        Verdict::Refused
    }

    /// One bad reading does not take the others of its record with it: they are written one by one, in
    /// narrow records, which need no column of their own either.
    fn refuse(&self, record: &Record, refusals: &mut Refusals) -> Vec<Record> {
        self.source.narrowed(record).unwrap_or_else(|| {
            refusals.entry(REFUSED).or_default().extend(&record.cells);
            Vec::new()
        })
    }
}
