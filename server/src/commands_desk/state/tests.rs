use std::collections::BTreeMap;

use fieldline_model::CommandName;
use fieldline_store::{Entries, MemoryStore};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn thing(name: &str) -> ThingName {
    ThingName::new(name).unwrap()
}

fn order(name: &str, timeout_ms: i64) -> Order {
    let command = CommandName::new("reboot").unwrap();
    Order { thing: thing(name), command, parameters: Some(json!({ "delay_s": 5 })), timeout_ms, id: None }
}

fn response(status: CommandStatus) -> Response {
    Response { status, status_reason: None, result: None }
}

fn small() -> Limits {
    Limits { open_of_thing: 3, open: 5, ended: 4, ended_ms: 1000, bytes: 1 << 20 }
}

const REQUESTS: &str = "$aws/commands/things/a/executions/+/request/json";

#[test]
fn each_status_takes_the_responses_that_aws_takes() {
    use CommandStatus::{Canceled, Created, Failed, InProgress, Rejected, Succeeded, TimedOut};
    let said = [InProgress, Succeeded, Failed, Rejected, TimedOut];
    // From, settled, and what becomes of each that is said: the code, or "" where it is taken.
    let table = [
        (Created, false, ["", "", "", "", ""]),
        (InProgress, false, ["", "", "", "", ""]),
        (TimedOut, false, ["InvalidStateTransition", "", "", "", ""]),
        (
            Succeeded,
            true,
            [
                "InvalidStateTransition",
                "",
                "TerminalStateReached",
                "TerminalStateReached",
                "TerminalStateReached",
            ],
        ),
        (
            Failed,
            true,
            [
                "InvalidStateTransition",
                "TerminalStateReached",
                "",
                "TerminalStateReached",
                "TerminalStateReached",
            ],
        ),
        (
            Rejected,
            true,
            [
                "InvalidStateTransition",
                "TerminalStateReached",
                "TerminalStateReached",
                "",
                "TerminalStateReached",
            ],
        ),
        (
            TimedOut,
            true,
            [
                "InvalidStateTransition",
                "TerminalStateReached",
                "TerminalStateReached",
                "TerminalStateReached",
                "",
            ],
        ),
        (
            Canceled,
            true,
            [
                "InvalidStateTransition",
                "TerminalStateReached",
                "TerminalStateReached",
                "TerminalStateReached",
                "TerminalStateReached",
            ],
        ),
    ];
    let execution = (*Book::default().create(order("a", 1000), 0, 7).unwrap()).clone();
    for (from, settled, outcomes) in table {
        for (to, code) in said.into_iter().zip(outcomes) {
            let before = Execution { status: from, settled, ..execution.clone() };
            let after = before.answered(response(to), 9);
            let found = after.as_ref().err().map_or("", ResponseError::code);
            assert_eq!(found, code, "{from} (settled: {settled}) to {to}");
            match after {
                Ok(None) => assert!(settled && from == to),
                Ok(Some(after)) => {
                    assert!(!settled);
                    assert_eq!((after.status, after.settled, after.updated), (to, to.is_end(), 9));
                }
                Err(_) => {}
            }
        }
        assert_eq!(
            Execution { status: from, settled, ..execution.clone() }.canceled(9).is_some(),
            !from.is_end()
        );
    }
}

#[test]
fn the_deadline_itself_is_too_late_and_a_late_end_is_kept() {
    let mut book = Book::default();
    let made = book.create(order("a", 100), 1000, 1).unwrap();
    assert_eq!((made.expires, book.wake_at()), (1100, Some(1100)));
    book.tick(1099);
    assert_eq!(book.get(&made.id).unwrap().status, CommandStatus::Created);
    assert_eq!(book.unanswered(REQUESTS).len(), 1);
    book.tick(1100);
    let late = book.get(&made.id).unwrap();
    assert_eq!((late.status, late.settled), (CommandStatus::TimedOut, false));
    assert_eq!(late.reason.as_ref().unwrap().reason_code, "$NO_RESPONSE_FROM_DEVICE");
    assert!(book.unanswered(REQUESTS).is_empty(), "what has expired is not delivered");
    book.respond(&made.thing, &made.id, response(CommandStatus::Succeeded), 1200).unwrap();
    let done = book.get(&made.id).unwrap();
    assert_eq!((done.status, done.settled), (CommandStatus::Succeeded, true));
}

#[test]
fn only_the_thing_itself_answers_and_hears() {
    let mut book = Book::default();
    let made = book.create(order("a", 100), 0, 1).unwrap();
    let error = book.respond(&thing("b"), &made.id, response(CommandStatus::Succeeded), 1).unwrap_err();
    assert_eq!(error, ResponseError::NoSuch(made.id.clone()));
    for (filter, count) in [
        (REQUESTS, 1),
        ("$aws/commands/things/+/executions/+/request/json", 1),
        ("$aws/commands/things/#", 1),
        ("$aws/commands/#", 1),
        ("$aws/#", 1),
        ("$aws/commands/things/b/executions/+/request/json", 0),
        ("$aws/commands/things/a/executions/+/response/json", 0),
        ("$aws/things/a/#", 0),
        ("$aws/commands/clients/a/#", 0),
    ] {
        assert_eq!(book.unanswered(filter).len(), count, "{filter}");
    }
    book.respond(&made.thing, &made.id, response(CommandStatus::InProgress), 1).unwrap();
    assert!(book.unanswered(REQUESTS).is_empty(), "what is answered is not delivered again");
}

#[test]
fn what_waits_is_bounded_and_what_has_ended_makes_room() {
    let mut book = Book { limits: small(), ..Book::default() };
    let made: Vec<_> = (0..3).map(|_| book.create(order("a", 100), 0, 1).unwrap()).collect();
    assert_eq!(book.create(order("a", 100), 0, 1), Err(Refused::ThingFull(3)));
    for _ in 0..2 {
        book.create(order("b", 100), 0, 1).unwrap();
    }
    assert_eq!(book.create(order("c", 100), 0, 1), Err(Refused::Full(5)));
    book.cancel(&made[0].id, 1).unwrap();
    assert_eq!(book.cancel(&made[0].id, 1), Err(Refused::Ended(CommandStatus::Canceled)));
    book.create(order("c", 100), 1, 1).unwrap();
    book.tick(101);
    assert_eq!(book.list(None, None, 99).len(), 4, "the oldest of six that have ended are forgotten");
    assert_eq!(book.get(&made[0].id), Err(Refused::NoSuch(made[0].id.clone())));
    book.tick(1101);
    assert_eq!(book.list(None, None, 99).len(), 0);
    assert_eq!((book.bytes, book.wake_at()), (0, None));

    let room = book.create(order("a", 10), 2000, 1).unwrap().size_bytes();
    book.limits.bytes = 2 * room;
    let second = book.create(order("a", 10), 2000, 1).unwrap();
    assert_eq!(book.create(order("a", 10), 2000, 1), Err(Refused::NoRoom));
    book.cancel(&second.id, 2001).unwrap();
    book.create(order("a", 10), 2001, 1).unwrap();
    assert_eq!(book.get(&second.id), Err(Refused::NoSuch(second.id.clone())));
}

#[test]
fn ids_ascend_also_when_the_clock_goes_back() {
    let mut book = Book { limits: Limits { open_of_thing: 9_999, ..Limits::default() }, ..Book::default() };
    let mut last = book.create(order("a", 1), 5_000, u64::MAX).unwrap().id.clone();
    for count in 0..5_000 {
        let next = book.create(order("a", 1), 4_000 + count % 3, 0).unwrap().id.clone();
        assert!(next > last, "{next} after {last}");
        last = next;
    }
    let (lengths, version): (Vec<usize>, _) =
        (last.as_str().split('-').map(str::len).collect(), last.as_str().as_bytes()[14]);
    assert_eq!((lengths, version), (vec![8, 4, 4, 4, 12], b'7'));
}

/// What happens, with small numbers so that things meet.
#[derive(Debug, Clone)]
enum Happens {
    Create {
        thing: u8,
        timeout_ms: i64,
    },
    Respond {
        which: usize,
        thing: u8,
        status: CommandStatus,
    },
    Cancel {
        which: usize,
    },
    Later {
        ms: i64,
    },
    /// The process dies; what was not written is gone.
    Crash,
    /// The write fails: nothing of it is there, and nobody has heard of it.
    Unwritten,
}

fn happens() -> impl Strategy<Value = Happens> {
    use CommandStatus::{Failed, InProgress, Rejected, Succeeded, TimedOut};
    let status =
        proptest::sample::select(vec![InProgress, InProgress, Succeeded, Failed, Rejected, TimedOut]);
    prop_oneof![
        4 => (0..2_u8, 1..200_i64).prop_map(|(thing, timeout_ms)| Happens::Create { thing, timeout_ms }),
        6 => (0..12_usize, 0..2_u8, status)
            .prop_map(|(which, thing, status)| Happens::Respond { which, thing, status }),
        1 => (0..12_usize).prop_map(|which| Happens::Cancel { which }),
        3 => (0..300_i64).prop_map(|ms| Happens::Later { ms }),
        2 => Just(Happens::Crash),
        1 => Just(Happens::Unwritten),
    ]
}

/// What is promised of one that was accepted.
#[derive(Debug, Default)]
struct Promised {
    status: Option<CommandStatus>,
    settled: Option<CommandStatus>,
    expires: i64,
}

/// The book and its store, driven as the task drives them.
struct Rig {
    store: MemoryStore,
    book: Book,
    now: i64,
    unwritten: bool,
    promised: BTreeMap<ExecutionId, Promised>,
}

fn model_limits() -> Limits {
    // Nothing is forgotten within a run, so that "gone" is always a fault.
    Limits { open_of_thing: 4, open: 6, ended: usize::MAX, ended_ms: i64::MAX / 2, bytes: usize::MAX }
}

impl Rig {
    async fn reload(&mut self) {
        self.book = Book::load(model_limits(), self.store.entries(KIND).await.unwrap()).unwrap();
    }

    /// Writes what has changed; false when that failed.
    async fn commit(&mut self) -> bool {
        let (changes, _) = self.book.take_changes();
        if std::mem::take(&mut self.unwritten) && !changes.is_empty() {
            self.reload().await;
            return false;
        }
        self.store.write_entries(changes).await.unwrap();
        true
    }

    async fn step(&mut self, event: Happens) {
        self.book.tick(self.now);
        let id = |which: usize| self.promised.keys().nth(which).cloned();
        let name = |thing: u8| if thing == 0 { "a" } else { "b" };
        match event {
            Happens::Create { thing, timeout_ms } => {
                let made = self.book.create(order(name(thing), timeout_ms), self.now, 3);
                if self.commit().await
                    && let Ok(made) = made
                {
                    let promised = Promised { expires: made.expires, ..Promised::default() };
                    assert!(self.promised.insert(made.id.clone(), promised).is_none(), "an id came twice");
                }
            }
            Happens::Respond { which, thing: by, status } => {
                let Some(id) = id(which) else { return };
                let owner = self.book.get(&id).unwrap().thing.clone();
                let said = self.book.respond(&thing(name(by)), &id, response(status), self.now);
                assert!(said.is_err() || owner == thing(name(by)), "another thing has answered");
                if self.commit().await && said.is_ok() {
                    let promised = self.promised.get_mut(&id).unwrap();
                    promised.status = Some(status);
                    if status.is_end() {
                        assert!(promised.settled.is_none_or(|before| before == status), "two ends: {status}");
                        promised.settled = Some(status);
                    }
                }
            }
            Happens::Cancel { which } => {
                let Some(id) = id(which) else { return };
                let canceled = self.book.cancel(&id, self.now).is_ok();
                if self.commit().await && canceled {
                    let promised = self.promised.get_mut(&id).unwrap();
                    assert!(promised.settled.is_none());
                    promised.settled = Some(CommandStatus::Canceled);
                    promised.status = Some(CommandStatus::Canceled);
                }
            }
            Happens::Later { ms } => {
                self.now += ms;
                self.book.tick(self.now);
                self.commit().await;
            }
            Happens::Crash => self.reload().await,
            Happens::Unwritten => self.unwritten = true,
        }
    }

    /// Everything that was promised, against what is stored.
    async fn check(&self) {
        let stored = Book::load(model_limits(), self.store.entries(KIND).await.unwrap()).unwrap();
        assert_eq!(stored.executions.len(), self.promised.len(), "one that nobody was told of");
        for (id, promised) in &self.promised {
            let found = stored.get(id).expect("an accepted execution is there");
            match promised.settled {
                Some(end) => assert_eq!((found.status, found.settled), (end, true), "{id}"),
                None => {
                    assert!(!found.settled, "{id}");
                    let timed_out = found.status == CommandStatus::TimedOut;
                    assert!(
                        timed_out || Some(found.status) == promised.status.or(Some(CommandStatus::Created))
                    );
                    assert!(!timed_out || self.now >= promised.expires, "{id} has expired too early");
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn an_accepted_execution_is_never_forgotten_and_has_one_end(
        events in proptest::collection::vec(happens(), 1..60)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut rig = Rig {
                store: MemoryStore::new(),
                book: Book::load(model_limits(), Vec::new()).unwrap(),
                now: 1_000_000,
                unwritten: false,
                promised: BTreeMap::new(),
            };
            for event in events {
                rig.step(event).await;
                rig.check().await;
            }
            rig.unwritten = false;
            rig.step(Happens::Later { ms: 1000 }).await;
            rig.check().await;
            assert!(rig.book.list(None, None, 99).iter().all(|execution| execution.status.is_end()));
        });
    }
}
