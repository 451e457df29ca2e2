//! The ledger in DynamoDB, against moto.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use fieldline_aws::{Aws, DynamoLedger, LedgerConfig};
use fieldline_model::{Books, Class, GatewayId, LaneBooks, RangeSet, SeqRange, StreamId, Timestamp};
use fieldline_store::{
    Balance, HeldStream, Ledger, MemoryStore, PlacingStore, Refused, StoreError, StreamOrders, contract,
};
use fieldline_tests::emulator::Emulator;
use fieldline_tests::machine;
use fieldline_tests::moto;
use fieldline_tests::publisher::runtime;

const ATTEMPT: Duration = Duration::from_secs(10);

async fn emulator(moto: &Emulator) -> Aws {
    Aws::emulator(&format!("http://{}", moto.address()), ATTEMPT).await
}

async fn ledger(moto: &Emulator, table: &str) -> Result<DynamoLedger> {
    moto.create_ledger_table(table)?;
    let aws = emulator(moto).await;
    let config = LedgerConfig { table: table.to_owned(), quarantine_bucket: "quarantine".to_owned() };
    Ok(DynamoLedger::new(&aws, config))
}

fn stream(gateway: &str, epoch: u64) -> Result<StreamId> {
    Ok(StreamId { gateway: GatewayId::new(gateway)?, epoch })
}

fn ranges(first: u64, last: u64) -> RangeSet {
    RangeSet::from(vec![SeqRange::new(first, last)])
}

#[test]
fn the_ledger_in_dynamodb_keeps_streams_books_and_quarantine() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some(moto) = moto::start(folder.path())? else { return Ok(()) };
    moto.create_bucket("quarantine")?;
    runtime()?.block_on(async {
        let ledger = ledger(&moto, "ledger").await?;
        a_commit_needs_the_revision_that_was_read(&ledger).await?;
        a_message_is_counted_once_however_often_it_comes(&ledger).await?;
        older_books_never_replace_newer_ones(&ledger).await?;
        what_is_missing_is_told(&ledger).await
    })
}

async fn a_commit_needs_the_revision_that_was_read(ledger: &DynamoLedger) -> Result<()> {
    let stream = stream("gw-1", 7)?;
    let mut state = ledger.load(&stream).await?;
    ensure!(state == HeldStream::default(), "nothing is known of a new stream: {state:?}");
    state.order.stored = ranges(1, 10);
    state.place = 1_800_000_000_000_000_010;
    let revision = ledger.commit(&stream, Class::Live, &state).await?;
    ensure!(revision == Some(1), "the first commit: {revision:?}");
    ensure!(ledger.commit(&stream, Class::Live, &state).await?.is_none(), "a second writer is told");
    let read = ledger.load(&stream).await?;
    ensure!(read == HeldStream { revision: 1, ..state }, "what was committed is read: {read:?}");
    Ok(())
}

async fn a_message_is_counted_once_however_often_it_comes(ledger: &DynamoLedger) -> Result<()> {
    let stream = stream("gw-1", 7)?;
    let refused = |byte: u8, readings| Refused {
        gateway: stream.gateway.clone(),
        readings,
        reason: "malformed".to_owned(),
        bytes: Bytes::from(vec![byte; 9]),
        received: Timestamp::from_nanos(1_795_341_600_000_000_000),
    };
    let numbered = Some((stream.clone(), Class::Live, SeqRange::new(21, 30)));
    for message in [refused(1, None), refused(1, None), refused(2, numbered.clone()), refused(2, numbered)] {
        ledger.quarantine(message).await?;
    }
    let held = ledger.ledger(Some(&stream.gateway)).await?;
    let counts = BTreeMap::from([("malformed".to_owned(), 2)]);
    ensure!(held[0].refused == counts, "{:?}", held[0].refused);
    ensure!(held[0].streams[0].quarantined == ranges(21, 30), "{:?}", held[0].streams);
    ensure!(held[0].streams[0].stored == ranges(1, 10), "{:?}", held[0].streams);
    Ok(())
}

async fn older_books_never_replace_newer_ones(ledger: &DynamoLedger) -> Result<()> {
    let gateway = GatewayId::new("gw-2")?;
    for (accepted, at) in [(1, 10), (3, 30), (2, 20)] {
        let books = Books { accepted, ..Books::default() };
        ledger.record_books(&gateway, books, Timestamp::from_nanos(at)).await?;
    }
    let held = ledger.ledger(Some(&gateway)).await?;
    let reported = held[0].reported.as_ref().map(|report| report.books.accepted);
    ensure!(reported == Some(3), "{reported:?}");
    Ok(())
}

async fn what_is_missing_is_told(ledger: &DynamoLedger) -> Result<()> {
    let lane = LaneBooks {
        epoch: 7,
        last_seq: 40,
        stored: ranges(1, 20),
        buffered: ranges(31, 40),
        ..LaneBooks::default()
    };
    let books = Books { accepted: 30, lanes: vec![lane], ..Books::default() };
    ledger.record_books(&GatewayId::new("gw-1")?, books, Timestamp::from_nanos(50)).await?;
    let all = ledger.ledger(None).await?;
    ensure!(all.len() == 2, "both gateways: {all:?}");
    let expected = Balance::Off { at_gateway: 0, unaccounted: 10 };
    ensure!(all[0].balance == expected, "11 to 20 are nowhere: {:?}", all[0].balance);
    Ok(())
}

#[test]
fn the_contract_holds_with_stream_orders_in_dynamodb() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some(moto) = moto::start(folder.path())? else { return Ok(()) };
    moto.create_bucket("quarantine")?;
    runtime()?.block_on(async {
        let ledger = ledger(&moto, "ledger").await?;
        let clock = || Timestamp::from_system(std::time::SystemTime::now());
        let mut store = PlacingStore::new(MemoryStore::new(), ledger, clock);
        contract::compare_with_model(&mut store, 3, &async |_: &mut _| {}).await;
        Ok(())
    })
}

#[test]
fn a_table_that_is_missing_is_told_apart_from_one_that_does_not_answer() -> Result<()> {
    let _machine = machine::shared();
    let folder = tempfile::tempdir()?;
    let Some(moto) = moto::start(folder.path())? else { return Ok(()) };
    runtime()?.block_on(async {
        let config = LedgerConfig { table: "nowhere".to_owned(), quarantine_bucket: "none".to_owned() };
        let there = emulator(&moto).await;
        let error = DynamoLedger::new(&there, config.clone()).load(&stream("gw-1", 1)?).await;
        ensure!(matches!(error, Err(StoreError::Rejected { .. })), "{error:?}");
        let nobody = Aws::emulator("http://127.0.0.1:9", ATTEMPT).await;
        let error = DynamoLedger::new(&nobody, config).load(&stream("gw-1", 1)?).await;
        ensure!(matches!(error, Err(StoreError::Unavailable { .. })), "{error:?}");
        Ok(())
    })
}
