//! Files that are not as they should be, retention, and the ledger over restarts.

use std::collections::BTreeMap;

use ::bytes::Bytes;
use fieldline_model::{Class, LaneBooks, RangeSet, SeqRange, StreamId};
use rusqlite::Connection;

use super::super::schema;
use super::*;
use crate::contract::{Feed, assert_same_points};
use crate::{Balance, MemoryStore};

fn database(held: &Held) -> Connection {
    Connection::open(open::file_in(held.folder())).unwrap()
}

async fn feed(store: &impl TimeSeriesStore, seed: u64) {
    for block in Feed::new(seed).blocks() {
        store.write(Arc::new(ReceivedBlock::new(block, Timestamp::from_nanos(1)))).await.unwrap();
    }
}

fn error_of(folder: &Path) -> StoreError {
    SqliteStore::open(folder, SqliteConfig::default(), Timestamp::EPOCH).unwrap_err()
}

#[tokio::test]
async fn a_second_process_and_a_newer_file_are_refused_with_the_reason() {
    let mut held = Held::new(SqliteConfig::default());
    assert!(matches!(error_of(held.folder()), StoreError::Locked { .. }));
    held.store = None;
    database(&held).pragma_update(None, "user_version", schema::VERSION + 1).unwrap();
    let error = error_of(held.folder());
    assert!(matches!(error, StoreError::Newer { .. }), "{error}");
    let told = format!(
        "store.db has schema version {}, this program knows up to {}",
        schema::VERSION + 1,
        schema::VERSION
    );
    assert!(error.to_string().contains(&told), "{error}");
}

#[test]
fn files_of_others_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = open::file_in(folder.path());
    std::fs::write(
        &file,
        b"a shopping list, and not a short one, so that it fills a header of 100 bytes; milk",
    )
    .unwrap();
    assert!(matches!(error_of(folder.path()), StoreError::Foreign { .. }));
    std::fs::remove_file(&file).unwrap();
    Connection::open(&file).unwrap().execute_batch("CREATE TABLE list (item TEXT)").unwrap();
    assert!(matches!(error_of(folder.path()), StoreError::Foreign { .. }));
}

#[tokio::test]
async fn a_damaged_row_is_set_aside_and_hides_no_other() {
    let mut held = Held::new(SqliteConfig::default());
    feed(held.store(), 3).await;
    held.store().flush().await.unwrap();
    let query = SeriesQuery { limit: 100_000, ..SeriesQuery::one("*", "*") };
    let whole = held.store().series(&query).await.unwrap();
    held.store = None;
    let damage = "UPDATE pack SET bytes = substr(bytes, 1, 20) || x'FF' || substr(bytes, 22)";
    database(&held).execute_batch(damage).unwrap();
    held.reopen();
    let rest = held.store().series(&query).await.unwrap();
    assert_eq!(rest.series.len(), whole.series.len() - 1);
    assert_eq!(held.store().stats().damaged, 1);

    // The same for a block in the log; and what came since can still be flushed.
    feed(held.store(), 4).await;
    held.store = None;
    let damage = "UPDATE log SET block = x'00' WHERE id = (SELECT min(id) + 3 FROM log)";
    database(&held).execute_batch(damage).unwrap();
    held.reopen();
    assert_eq!(held.store().stats().damaged, 1);
    held.store().flush().await.unwrap();
    let aside: i64 = database(&held).query_row("SELECT count(*) FROM damaged", [], |row| row.get(0)).unwrap();
    assert_eq!(aside, 2, "a log row, and the chunk that the flush met");
}

#[tokio::test]
async fn retention_deletes_whole_chunks_and_keeps_the_ledger() {
    let mut held = Held::new(SqliteConfig::default());
    feed(held.store(), 3).await;
    let before = held.store().ledger(None).await.unwrap();
    assert_eq!(held.store().retain(Timestamp::MAX).await.unwrap(), Retained::default());
    held.store().flush().await.unwrap();
    assert_eq!(held.store().retain(Timestamp::MIN).await.unwrap(), Retained::default());
    let retained = held.store().retain(Timestamp::MAX).await.unwrap();
    assert!(retained.points > 500 && retained.chunks >= 12, "{retained:?}");
    assert!(held.store().series(&SeriesQuery::one("*", "*")).await.unwrap().series.is_empty());
    held.reopen();
    assert_eq!(held.store().ledger(None).await.unwrap(), before);
    let packs: i64 = database(&held).query_row("SELECT count(*) FROM pack", [], |row| row.get(0)).unwrap();
    assert_eq!(packs, 0);
    assert_eq!(held.store().devices(&DeviceQuery::default()).await.unwrap().devices[0].last, None);
}

#[tokio::test]
async fn the_ledger_tells_gaps_and_their_reasons_also_after_a_restart() {
    let mut held = Held::new(SqliteConfig::default());
    let gateway = GatewayId::new("gw-1").unwrap();
    let own = held.store().own_stream(&gateway, Timestamp::EPOCH).await.unwrap();
    assert_eq!(own.next_seq, 1);
    let stream = StreamId { gateway: gateway.clone(), epoch: 9 };
    let refused = |reason: &str| Refused {
        gateway: gateway.clone(),
        readings: Some((stream.clone(), Class::Live, SeqRange::new(5, 6))),
        reason: reason.to_owned(),
        bytes: Bytes::from_static(b"???"),
        received: Timestamp::EPOCH,
    };
    held.store().quarantine(refused("format")).await.unwrap();
    let ranges = |first, last| RangeSet::from(vec![SeqRange::new(first, last)]);
    let lane = LaneBooks {
        epoch: 9,
        last_seq: 10,
        buffered: ranges(7, 9),
        stored: ranges(5, 6),
        dropped: BTreeMap::from([("drop-oldest".to_owned(), ranges(1, 4))]),
        damaged: ranges(10, 10),
        ..LaneBooks::default()
    };
    let books = Books { accepted: 10, lanes: vec![lane], ..Books::default() };
    held.store().record_books(&gateway, books.clone(), Timestamp::EPOCH).await.unwrap();
    for _ in 0..2 {
        let ledger = held.store().ledger(Some(&gateway)).await.unwrap();
        assert_eq!(ledger[0].balance, Balance::Balanced);
        let lane = ledger[0].streams.iter().find(|lane| lane.stream == stream).unwrap();
        assert_eq!((lane.gaps.count(), lane.unaccounted.count(), lane.quarantined.count()), (10, 0, 2));
        assert_eq!(ledger[0].refused, BTreeMap::from([("format".to_owned(), 1)]));
        held.reopen();
    }
    assert_eq!(held.store().own_stream(&gateway, Timestamp::EPOCH).await.unwrap(), own);
    let mut lost = books;
    lost.lanes[0].buffered = RangeSet::new();
    lost.lanes[0].stored = ranges(5, 9);
    held.store().record_books(&gateway, lost, Timestamp::EPOCH).await.unwrap();
    let ledger = held.store().ledger(None).await.unwrap();
    assert_eq!(ledger[0].balance, Balance::Off { at_gateway: 0, unaccounted: 3 });
}

#[tokio::test]
async fn messages_set_aside_are_bounded_and_all_counted() {
    let config = SqliteConfig {
        quarantine_bytes_max: 100,
        quarantine_message_bytes_max: 30,
        ..SqliteConfig::default()
    };
    let held = Held::new(config);
    for at in 0..100u8 {
        let refused = Refused {
            gateway: GatewayId::new("gw").unwrap(),
            readings: None,
            reason: format!("reason-{}", at % 80),
            bytes: Bytes::from(vec![at; 50]),
            received: Timestamp::EPOCH,
        };
        held.store().quarantine(refused).await.unwrap();
    }
    let sizes = "SELECT count(*), sum(length(bytes)), max(bytes) FROM refused";
    let kept: (i64, i64, Vec<u8>) =
        database(&held).query_row(sizes, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    assert_eq!(kept, (3, 90, vec![99; 30]));
    let ledger = held.store().ledger(None).await.unwrap();
    assert_eq!(ledger[0].refused.values().sum::<u64>(), 100);
    assert_eq!(ledger[0].refused.len(), 65, "64 reasons and the rest");
}

#[tokio::test]
async fn blocks_that_can_never_be_stored_are_refused_and_nothing_stops() {
    let held = Held::new(SqliteConfig { series_max: 12, ..SqliteConfig::default() });
    let model = MemoryStore::new();
    feed(held.store(), 1).await;
    feed(&model, 1).await;
    let good = Feed::new(2).blocks().remove(0);
    let mut fresh = good.clone();
    fresh.columns.iter_mut().for_each(|column| column.device = DeviceId::new("one-more").unwrap());
    let mut short = good.clone();
    short.last_seq += 1;
    let mut uneven = good.clone();
    uneven.columns[0].times.pop();
    for block in [fresh, short, uneven] {
        let block = ReceivedBlock { encoded: Bytes::new(), block, received: Timestamp::EPOCH };
        let error = held.store().write(Arc::new(block)).await.unwrap_err();
        assert!(matches!(error, StoreError::Refused { .. }), "{error}");
    }
    let good = Arc::new(ReceivedBlock::new(good, Timestamp::EPOCH));
    held.store().write(Arc::clone(&good)).await.unwrap();
    model.write(good).await.unwrap();
    assert_same_points(held.store(), &model).await;
}

#[tokio::test]
async fn a_closed_store_answers_queries_and_takes_no_writes() {
    let held = Held::new(SqliteConfig::default());
    feed(held.store(), 1).await;
    held.store().close().await.unwrap();
    held.store().close().await.unwrap();
    let block = Feed::new(2).blocks().remove(0);
    let late = held.store().write(Arc::new(ReceivedBlock::new(block, Timestamp::EPOCH))).await;
    assert!(matches!(late, Err(StoreError::Closed)));
    assert!(!held.store().series(&SeriesQuery::one("*", "*")).await.unwrap().series.is_empty());
}

#[tokio::test]
async fn a_full_disk_refuses_without_losing_and_heals() {
    let config = SqliteConfig { file_bytes_max: Some(300 << 10), ..SqliteConfig::default() };
    let mut held = Held::new(config);
    let model = MemoryStore::new();
    let mut refused = 0;
    for seed in 0..60 {
        for block in Feed::new(seed).blocks() {
            let block = Arc::new(ReceivedBlock::new(block, Timestamp::from_nanos(1)));
            match held.store().write(Arc::clone(&block)).await {
                Ok(_) => drop(model.write(block).await.unwrap()),
                Err(StoreError::Full) => refused += 1,
                Err(error) => panic!("{error:?}"),
            }
        }
        if refused > 100 {
            break;
        }
    }
    assert!(refused > 100, "300 KiB were not enough to be full");
    assert_same_points(held.store(), &model).await;
    held.reopen();
    assert_same_points(held.store(), &model).await;
    // A flush needs no space that the log does not give.
    held.store().flush().await.unwrap();
    assert_same_points(held.store(), &model).await;
    feed(held.store(), 99).await;
    feed(&model, 99).await;
    assert_same_points(held.store(), &model).await;
}

#[tokio::test]
async fn age_bytes_and_points_bring_on_a_flush() {
    let blocks = Feed::new(1).blocks();
    let by_age = SqliteConfig::default();
    let by_bytes = SqliteConfig { log_bytes_max: 1, ..SqliteConfig::default() };
    let by_points = SqliteConfig { head_points_max: 1, ..SqliteConfig::default() };
    for (config, seconds, flushes) in
        [(by_age.clone(), 599, 0), (by_age, 600, 1), (by_bytes, 0, 1), (by_points, 0, 1)]
    {
        let held = Held::new(config);
        for (at, block) in blocks.iter().take(2).enumerate() {
            let received = Timestamp::from_nanos(at as i64 * seconds * 1_000_000_000);
            held.store().write(Arc::new(ReceivedBlock::new(block.clone(), received))).await.unwrap();
        }
        held.store().close().await.unwrap();
        assert!(
            held.store().stats().flushes >= flushes && (flushes > 0 || held.store().stats().flushes == 0)
        );
    }
}
