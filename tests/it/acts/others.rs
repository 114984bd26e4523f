use std::fs;
use std::path::Path;

use super::*;

#[test]
fn a_paused_route_waits_until_it_is_resumed_over_a_restart() {
    let mut queued = Queued::start(PATIENT);
    assert_eq!(done(queued.acts().pause("hook")), Ok(()));
    queued.wait_for("hooklatch_queue_paused", &[], 1.0);
    queued.accepts(&Delivery::circleci("{\"id\":1}"));
    queued.upstream.expect_nothing();
    queued.stop();
    queued.restart(PATIENT);
    queued.wait_for("hooklatch_queue_paused", &[], 1.0);
    queued.upstream.expect_nothing();
    assert_eq!(done(queued.acts().resume("hook")), Ok(()));
    queued.takes();
    queued.wait_for_delivered(1.0);
}

#[test]
fn only_a_route_with_a_queue_can_be_paused() {
    let queued = Queued::of("circleci", "delivery: proxy");
    assert_eq!(done(queued.acts().pause("hook")), Err(Refused::NoQueue));
    assert_eq!(done(queued.acts().pause("nowhere")), Err(Refused::UnknownRoute));
    assert_eq!(done(queued.acts().resume("nowhere")), Err(Refused::UnknownRoute));
    assert_eq!(done(queued.acts().resume("hook")), Ok(()));
}

#[test]
fn what_is_discarded_is_not_sent_and_what_was_delivered_cannot_be() {
    let mut queued = Queued::start(PATIENT);
    let waits = failed_once(&mut queued, "{\"id\":1}");
    assert_eq!(done(queued.acts().discard(id(&waits))), Ok(()));
    queued.accepts(&Delivery::circleci("{\"id\":2}"));
    let delivered = queued.takes();
    queued.wait_for_delivered(1.0);
    poll("it is written", || done(queued.acts().discard(id(&delivered))) == Err(Refused::NotWaiting));
    assert_eq!(done(queued.acts().discard(Uuid::nil())), Err(Refused::NotFound));
    queued.stop();
    let shown: Vec<_> = queued.stored().iter().map(|stored| stored.shown).collect();
    assert_eq!(shown, [State::Delivered, State::Discarded].map(Shown::Settled));
}

#[test]
fn what_is_erased_has_left_every_file_and_is_not_sent() {
    const CANARY: &str = "a-canary-in-a-body";
    let mut queued = Queued::start(PATIENT);
    queued.accepts(&Delivery::circleci(format!("{{\"a\":\"{CANARY}\"}}")).header("X-Canary", "a-canary-in-a-head"));
    let seen = queued.request();
    queued.answer("500 Internal Server Error", "X-Answer: a-canary-in-an-answer\r\n");
    queued.wait_for_state("retrying", 1.0);
    assert!(holds(&queued.store(), CANARY));
    assert_eq!(done(queued.acts().erase(id(&seen))), Ok(()));
    poll("the bytes are gone", || {
        ![CANARY, "a-canary-in-a-head", "a-canary-in-an-answer"].iter().any(|canary| holds(&queued.store(), canary))
    });
    assert_eq!(done(queued.acts().erase(id(&seen))), Ok(()), "it does no harm to ask twice");
    assert_eq!(done(queued.acts().discard(id(&seen))), Err(Refused::NotWaiting));
    queued.stop();
    let left = queued.stored().remove(0);
    assert_eq!((left.shown, left.delivery.id), (Shown::Settled(State::Erased), id(&seen)));
}

/// Whether a file of the folder has this text.
fn holds(folder: &Path, text: &str) -> bool {
    let has = |path: &Path| {
        // A file may go away meanwhile.
        let bytes = fs::read(path).unwrap_or_default();
        memchr::memmem::find(&bytes, text.as_bytes()).is_some()
    };
    fs::read_dir(folder).unwrap().any(|entry| has(&entry.unwrap().path()))
}

// --- In bulk -------------------------------------------------------------------------------------------------------------

/// A gateway with this many dead deliveries, whose handler now takes everything.
fn with_dead(count: usize) -> Queued {
    let mut queued = Queued::start(GIVES_UP);
    for number in 0..count {
        queued.accepts(&Delivery::circleci(format!("{{\"id\":{number}}}")));
        queued.fails("500 Internal Server Error");
    }
    queued.wait_for_state("dead", count as f64);
    queued.answer_always();
    queued
}

fn dead() -> Filter {
    Filter { states: Some(vec![Shown::Settled(State::Dead)]), ..Filter::default() }
}

/// Runs the act on a runtime that goes on with the runs that it begins.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[test]
fn a_bulk_replay_counts_first_and_then_sends_all_that_was_found() {
    let queued = with_dead(3);
    let (acts, runtime) = (queued.acts(), runtime());
    assert_eq!(runtime.block_on(acts.count(dead(), 10)), Ok(3));
    assert_eq!(runtime.block_on(acts.count(dead(), 2)), Ok(2));
    assert_eq!(queued.metric("hooklatch_replays_total", &[]), 0.0, "counting sends nothing");
    let begun = runtime.block_on(acts.start_bulk(dead(), 2, 1_000)).unwrap();
    assert_eq!(begun, Progress { matched: 2, left: 2, ..begun });
    poll("the run is done", || acts.bulk(begun.id).unwrap().state == RunState::Done);
    assert_eq!(acts.bulk(begun.id), Ok(Progress { state: RunState::Done, done: 2, left: 0, ..begun }));
    queued.wait_for_delivered(2.0);
    queued.wait_for_state("dead", 1.0);
    assert_eq!(acts.bulk(Uuid::nil()), Err(Refused::UnknownRun));
    let again = runtime.block_on(acts.start_bulk(Filter::default(), usize::MAX, 0)).unwrap();
    assert_eq!(again.matched, 3, "a filter without a condition finds all");
    poll("the run is done", || acts.bulk(again.id).unwrap().state == RunState::Done);
    let end = acts.bulk(again.id).unwrap();
    assert_eq!((end.done, end.failed, end.left), (1, 2, 0), "the delivered ones have no body any more");
}

#[test]
fn a_bulk_replay_can_be_stopped() {
    let queued = with_dead(3);
    let (acts, runtime) = (queued.acts(), runtime());
    let begun = runtime.block_on(acts.start_bulk(dead(), 10, 1)).unwrap();
    assert_eq!((begun.state, begun.matched), (RunState::Running, 3));
    let stopped = acts.stop_bulk(begun.id).unwrap();
    assert_eq!(stopped.state, RunState::Stopped);
    assert_eq!(acts.stop_bulk(begun.id).unwrap().state, RunState::Stopped, "it stays so");
    assert!(stopped.done <= 1 && stopped.done + stopped.failed + stopped.left == 3, "{stopped:?}");
    assert_eq!(acts.stop_bulk(Uuid::nil()), Err(Refused::UnknownRun));
}

#[test]
fn so_many_runs_go_on_at_once_and_counting_takes_the_place_of_one() {
    let queued = with_dead(3);
    let (acts, runtime) = (queued.acts(), runtime());
    let begin = || runtime.block_on(acts.start_bulk(Filter::default(), 10, 1));
    let count = || runtime.block_on(acts.count(Filter::default(), 10));
    let runs: Vec<_> = (0..MAX_RUNNING).map(|_| begin().unwrap()).collect();
    assert_eq!(begin(), Err(Refused::TooManyRuns));
    assert_eq!(count(), Err(Refused::TooManyRuns));
    acts.stop_bulk(runs[0].id).unwrap();
    assert_eq!(count(), Ok(3));
    assert_eq!(begin().unwrap().matched, 3);
    assert_eq!(count(), Err(Refused::TooManyRuns));
}
