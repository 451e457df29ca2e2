//! The machine against a server that is played by hand; receipts are words.

use super::*;

type Outputs = Vec<Output<&'static str>>;

fn topic(part: CommandPart) -> CommandTopic {
    let (thing, execution) = (ThingName::new("press-4").unwrap(), ExecutionId::new("x").unwrap());
    CommandTopic { thing, execution, part }
}

fn filter() -> String {
    filter_of(&topic(CommandPart::Request).thing)
}

/// The link is up, and the device is heard.
fn heard() -> Machine<&'static str> {
    let mut machine = Machine::new(2);
    machine.up(&mut Vec::new());
    machine.watched(&topic(CommandPart::Request).thing, &mut Vec::new());
    machine.subscribed(&filter(), true, 0, &mut Vec::new());
    machine
}

fn out(work: impl FnOnce(&mut Outputs)) -> Outputs {
    let mut outputs = Vec::new();
    work(&mut outputs);
    outputs
}

fn said(machine: &mut Machine<&'static str>, payload: &'static str, now_ms: u64) -> Outputs {
    let (topic, bytes) = (topic(CommandPart::Response), Bytes::from_static(payload.as_bytes()));
    out(|outputs| machine.respond(&topic, bytes, payload, now_ms, outputs))
}

fn answered(machine: &mut Machine<&'static str>, now_ms: u64) -> Outputs {
    let topic = topic(CommandPart::Accepted);
    if machine.is_stray(&topic, now_ms) {
        return Vec::new();
    }
    out(|outputs| machine.answered(&topic, now_ms, outputs))
}

fn again(machine: &mut Machine<&'static str>, now_ms: u64) -> Outputs {
    assert_eq!(machine.filters(), [filter()]);
    let outputs = out(|outputs| machine.subscribed(&filter(), true, now_ms, outputs));
    machine.up(&mut Vec::new());
    outputs
}

fn up(payload: &'static str) -> Output<&'static str> {
    Output::Up(topic(CommandPart::Response), Bytes::from_static(payload.as_bytes()))
}

#[test]
fn a_device_that_listens_is_asked_for_each_time_so_that_the_server_publishes_again() {
    let thing = topic(CommandPart::Request).thing;
    let mut machine: Machine<&str> = Machine::new(2);
    assert_eq!(out(|outputs| assert!(machine.watched(&thing, outputs))), []);
    assert_eq!(machine.filters(), [filter()]);
    machine.up(&mut Vec::new());
    assert_eq!(out(|outputs| machine.subscribed(&filter(), true, 0, outputs)), []);
    let ask = || Output::Subscribe(vec![filter()]);
    assert_eq!(out(|outputs| assert!(machine.watched(&thing, outputs))), [ask()]);
    // While it is asked for, it is asked for once more at most.
    assert_eq!(out(|outputs| assert!(machine.watched(&thing, outputs))), []);
    assert_eq!(out(|outputs| assert!(machine.watched(&thing, outputs))), []);
    assert_eq!(out(|outputs| machine.subscribed(&filter(), true, 0, outputs)), [ask()]);
    assert_eq!(out(|outputs| machine.subscribed(&filter(), true, 0, outputs)), []);
    // What found no room in the post is asked for when time passes.
    machine.unasked(&[filter()]);
    assert_eq!(out(|outputs| machine.tick(0, outputs)), [ask()]);
}

#[test]
fn there_is_room_for_so_many_devices() {
    let mut machine: Machine<&str> = Machine::new(2);
    let mut watched = |name| machine.watched(&ThingName::new(name).unwrap(), &mut Vec::new());
    assert_eq!(["a", "b", "c", "a"].map(&mut watched), [true, true, false, true]);
    assert_eq!(said(&mut machine, "of a fourth", 0), [Output::Refused("of a fourth")]);
}

#[test]
fn a_response_is_acknowledged_when_the_server_has_answered_and_the_next_one_follows() {
    let mut machine = heard();
    assert_eq!(said(&mut machine, "one", 0), [up("one")]);
    assert_eq!(said(&mut machine, "two", 0), []);
    assert_eq!(answered(&mut machine, 1), [Output::Settled("one"), up("two")]);
    assert_eq!(answered(&mut machine, 2), [Output::Settled("two")]);
    assert_eq!(answered(&mut machine, 3), []);
}

#[test]
fn nothing_is_sent_before_its_reply_would_be_heard() {
    let mut machine = Machine::new(2);
    machine.up(&mut Vec::new());
    assert_eq!(said(&mut machine, "one", 0), [Output::Subscribe(vec![filter()])]);
    assert_eq!(out(|outputs| machine.subscribed(&filter(), true, 0, outputs)), [up("one")]);
}

#[test]
fn a_filter_that_the_server_refuses_refuses_what_waits() {
    let mut machine = Machine::new(2);
    machine.up(&mut Vec::new());
    said(&mut machine, "one", 0);
    let outputs = out(|outputs| machine.subscribed(&filter(), false, 0, outputs));
    assert_eq!(outputs, [Output::Refused("one")]);
    assert_eq!(said(&mut machine, "two", 0), [Output::Refused("two")]);
}

#[test]
fn what_was_under_way_when_the_link_broke_is_sent_again() {
    let mut machine = heard();
    said(&mut machine, "one", 0);
    machine.down();
    assert_eq!(said(&mut machine, "two", 0), []);
    assert_eq!(again(&mut machine, 0), [up("one")]);
    // It may have been answered twice: neither reply is taken for that of the next one.
    assert_eq!(answered(&mut machine, 1), [Output::Settled("one"), up("two")]);
    assert_eq!(answered(&mut machine, 2), []);
    assert_eq!(answered(&mut machine, 3), [Output::Settled("two")]);
}

#[test]
fn a_reply_that_was_taken_for_a_stray_costs_a_repetition_and_no_response() {
    let mut machine = heard();
    said(&mut machine, "one", 0);
    machine.down();
    again(&mut machine, 0);
    said(&mut machine, "two", 0);
    assert_eq!(answered(&mut machine, 1), [Output::Settled("one"), up("two")]);
    // The first "one" never came there, so this is the reply to "two".
    assert_eq!(answered(&mut machine, 2), []);
    assert_eq!(out(|outputs| machine.tick(1 + ANSWER_MS_MAX, outputs)), [up("two")]);
    assert_eq!(answered(&mut machine, 2 + ANSWER_MS_MAX), [Output::Settled("two")]);
}

#[test]
fn a_puback_is_not_held_for_ever_and_the_response_goes_up_all_the_same() {
    let mut machine = heard();
    machine.down();
    assert_eq!(said(&mut machine, "one", 5), []);
    assert_eq!(out(|outputs| machine.tick(4 + HELD_MS_MAX, outputs)), []);
    assert_eq!(out(|outputs| machine.tick(5 + HELD_MS_MAX, outputs)), [Output::Abandoned("one")]);
    // The device connects anew and says it again: it waits once.
    let now_ms = 6 + HELD_MS_MAX;
    assert_eq!(said(&mut machine, "one", now_ms), []);
    assert_eq!(again(&mut machine, now_ms), [up("one")]);
    assert_eq!(answered(&mut machine, now_ms), [Output::Settled("one")]);
}

#[test]
fn only_so_many_wait() {
    let mut machine = heard();
    machine.down();
    for number in 0..WAITING_MAX {
        let payload = Bytes::from(number.to_string());
        let topic = topic(CommandPart::Response);
        assert_eq!(out(|outputs| machine.respond(&topic, payload, "r", 0, outputs)), []);
    }
    assert_eq!(said(&mut machine, "more", 0), [Output::Refused("more")]);
}
