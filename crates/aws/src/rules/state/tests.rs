use std::sync::{Arc, Mutex as StdMutex};

use async_trait::async_trait;

use super::*;

/// A partition, which outlives its writers.
#[derive(Debug, Default, Clone)]
struct Disk(Arc<StdMutex<Content>>);

#[derive(Debug, Default)]
struct Content {
    head: Head,
    items: BTreeMap<String, Vec<u8>>,
}

/// When a writer is killed.
#[derive(Debug, Clone, Copy)]
struct Kill {
    /// At this call, counted from 0.
    call: usize,
    /// Whether that call is done, and only its answer is not heard.
    done: bool,
}

/// A writer's way to the disk.
#[derive(Debug)]
struct Line {
    disk: Disk,
    kill: Option<Kill>,
    calls: StdMutex<usize>,
}

impl Line {
    fn call<T>(&self, work: impl FnOnce(&mut Content) -> T) -> Result<T, StoreError> {
        let gone = || StoreError::Unavailable { service: "the test", source: "killed".into() };
        let call = *self.calls.lock().unwrap();
        *self.calls.lock().unwrap() += 1;
        match self.kill {
            Some(kill) if call > kill.call || (call == kill.call && !kill.done) => Err(gone()),
            Some(kill) if call == kill.call => {
                work(&mut self.disk.0.lock().unwrap());
                Err(gone())
            }
            _ => Ok(work(&mut self.disk.0.lock().unwrap())),
        }
    }
}

#[async_trait]
impl Table for Line {
    async fn head(&self) -> Result<Head, StoreError> {
        self.call(|content| content.head.clone())
    }
    async fn items(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.call(|content| content.items.clone().into_iter().collect())
    }
    async fn put(&self, item: &str, value: &[u8]) -> Result<(), StoreError> {
        assert!(value.len() <= VALUE_BYTES_MAX);
        self.call(|content| drop(content.items.insert(item.to_owned(), value.to_vec())))
    }
    async fn remove(&self, item: &str) -> Result<(), StoreError> {
        self.call(|content| drop(content.items.remove(item)))
    }
    async fn transact(
        &self,
        before: u64,
        head: Option<&Head>,
        items: &[(String, Option<&[u8]>)],
    ) -> Result<bool, StoreError> {
        let bytes: usize = items.iter().filter_map(|(_, value)| Some(value.as_ref()?.len())).sum();
        assert!(items.len() <= 99 && bytes <= 4_000_000, "DynamoDB takes no more");
        self.call(|content| {
            if content.head.version != before {
                return false;
            }
            content.head = head.cloned().unwrap_or(content.head.clone());
            for (item, value) in items {
                match value {
                    Some(value) => content.items.insert(item.clone(), value.to_vec()),
                    None => content.items.remove(item),
                };
            }
            true
        })
    }
}

fn line(disk: &Disk, kill: Option<Kill>) -> RuleState<Line> {
    RuleState::on(Line { disk: disk.clone(), kill, calls: StdMutex::default() })
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// What a commit makes of keys `0..count`: those that divide by three go, the others are `word`.
fn changes(count: usize, word: &str) -> Vec<RuleChange> {
    let value = |n: usize| (!n.is_multiple_of(3)).then(|| word.as_bytes().to_vec());
    (0..count).map(|n| (format!("key/{n:04}"), value(n))).collect()
}

/// All keys there are, with `before`.
fn filled(disk: &Disk, count: usize) {
    let state = line(disk, None);
    run(async {
        state.load().await.unwrap();
        let all = (0..count).map(|n| (format!("key/{n:04}"), Some(b"before".to_vec()))).collect();
        assert_eq!(state.commit(all, None).await.unwrap(), RuleCommit::Done);
    });
}

/// What is there is one commit, not a mixture: the word of it, once all leftovers are gone.
fn word(disk: &Disk, count: usize) -> String {
    let state = line(disk, None);
    let found = run(state.load()).unwrap();
    let expected: Vec<(String, Vec<u8>)> = match found.first() {
        Some((key, value)) if key == "key/0000" => {
            (0..count).map(|n| (format!("key/{n:04}"), value.clone())).collect()
        }
        first => {
            let (_, word) = first.expect("something is there");
            let kept = changes(count, std::str::from_utf8(word).unwrap()).into_iter();
            kept.filter_map(|(key, value)| Some((key, value?))).collect()
        }
    };
    assert_eq!(found, expected, "a mixture");
    String::from_utf8(found[0].1.clone()).unwrap()
}

#[test]
fn a_writer_that_is_killed_at_any_call_has_committed_all_or_nothing() {
    for count in [99, 100, 250] {
        for done in [false, true] {
            let (mut call, mut words) = (0, Vec::new());
            loop {
                let disk = Disk::default();
                filled(&disk, count);
                let state = line(&disk, Some(Kill { call, done }));
                let committed = run(async {
                    state.load().await?;
                    state.commit(changes(count, "after"), None).await
                });
                let calls = *state.table.calls.lock().unwrap();
                let found = word(&disk, count);
                if committed.is_ok() {
                    assert_eq!(found, "after", "what was said to be done is done");
                }
                words.push(found);
                // Whoever comes next can commit, little and much, and leaves nothing behind.
                let next = line(&disk, None);
                run(async {
                    next.load().await.unwrap();
                    let more = changes(count, "later");
                    assert_eq!(next.commit(more, None).await.unwrap(), RuleCommit::Done);
                });
                assert_eq!(word(&disk, count), "later");
                let content = disk.0.lock().unwrap();
                let left: Vec<&String> = content.items.keys().filter(|item| item.starts_with(LOG)).collect();
                assert!(left.is_empty() && content.head.log.is_none(), "killed at {call}: {left:?}");
                if calls <= call {
                    break;
                }
                call += 1;
            }
            words.dedup();
            assert_eq!(words, ["before", "after"], "{count} changes, {done}: the commit is one call");
        }
    }
}

#[test]
fn who_was_overtaken_changes_nothing_however_far_it_had_come() {
    let count = 250;
    // Calls of a load and a commit by log: three, two pieces at most, the flip, three transactions.
    for pause in 0..10 {
        let disk = Disk::default();
        filled(&disk, count);
        let slow = line(&disk, Some(Kill { call: 3 + pause, done: true }));
        let first = run(async {
            slow.load().await.unwrap();
            slow.commit(changes(count, "slow"), None).await
        });
        let flipped = word(&disk, count) == "slow";
        assert!(flipped || first.is_err());
        let quick = line(&disk, None);
        run(async {
            quick.load().await.unwrap();
            assert_eq!(quick.commit(changes(count, "quick"), None).await.unwrap(), RuleCommit::Done);
        });
        // It wakes up, and goes on with all that it knows.
        let woken = RuleState {
            table: Line { disk: disk.clone(), kill: None, calls: StdMutex::default() },
            held: slow.held,
        };
        run(async {
            assert!(!woken.is_current().await.unwrap());
            let outcome = woken.commit(changes(count, "slow again"), None).await.unwrap();
            assert_eq!(outcome, RuleCommit::Conflict);
            assert_eq!(woken.commit(Vec::new(), None).await.unwrap(), RuleCommit::Conflict);
        });
        assert_eq!(word(&disk, count), "quick");
    }
}

#[test]
fn a_log_that_is_being_written_is_not_swept_by_a_reader() {
    let disk = Disk::default();
    filled(&disk, 100);
    let writer = line(&disk, None);
    run(async {
        writer.load().await.unwrap();
        let next = piece_name(writer.held.lock().await.head.version + 1, "writer", 0);
        writer.table.put(&next, b"piece").await.unwrap();
        line(&disk, None).load().await.unwrap();
        assert!(disk.0.lock().unwrap().items.contains_key(&next));
        // It comes to nothing once somebody else has committed.
        assert_eq!(writer.commit(changes(1, "x"), None).await.unwrap(), RuleCommit::Done);
        line(&disk, None).load().await.unwrap();
        assert!(!disk.0.lock().unwrap().items.contains_key(&next));
    });
}

#[test]
fn values_are_bounded_and_transactions_keep_to_their_size() {
    let disk = Disk::default();
    let state = line(&disk, None);
    let sized = |bytes: usize| vec![("k".to_owned(), Some(vec![7; bytes]))];
    run(async {
        state.load().await.unwrap();
        assert_eq!(state.commit(sized(VALUE_BYTES_MAX), None).await.unwrap(), RuleCommit::Done);
        let refused = state.commit(sized(VALUE_BYTES_MAX + 1), None).await;
        assert!(matches!(refused, Err(StoreError::Rejected { .. })), "{refused:?}");
        // 40 values of 400,000 bytes are more than one transaction takes; of two to one key the last counts.
        let mut many: Vec<RuleChange> =
            (0..40).map(|n| (format!("n{n:02}"), Some(vec![n; VALUE_BYTES_MAX]))).collect();
        many.push(("n00".to_owned(), None));
        let wake = Some(Timestamp::EPOCH);
        assert_eq!(state.commit(many, wake).await.unwrap(), RuleCommit::Done);
        assert_eq!(disk.0.lock().unwrap().head.wake, wake);
        let again = line(&disk, None).load().await.unwrap();
        assert_eq!(again.len(), 40, "k, and n01 to n39");
        assert!(again.iter().all(|(_, value)| value.len() == VALUE_BYTES_MAX));
    });
}
