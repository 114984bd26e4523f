//! The circuit alone, and as gateways share it.

use proptest::prelude::*;

use super::*;
use crate::clock::Clock;
use crate::store::circuits::SharedOpen;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn fail(circuit: &mut Circuit, times: u32, now: Duration) {
    for _ in 0..times {
        let pass = circuit.enter(now).unwrap();
        circuit.leave(pass, Signal::Down, now);
    }
}

fn opened() -> Circuit {
    let mut circuit = Circuit::new(Settings::default(), false);
    fail(&mut circuit, 10, secs(0));
    assert_eq!(circuit.phase(), Phase::Open);
    circuit
}

#[test]
fn failures_in_a_row_open_it_and_one_fewer_does_not() {
    let mut circuit = Circuit::new(Settings::default(), false);
    fail(&mut circuit, 9, secs(0));
    assert_eq!(circuit.phase(), Phase::Closed);
    fail(&mut circuit, 1, secs(0));
    assert_eq!(circuit.phase(), Phase::Open);
    assert_eq!(circuit.enter(secs(0)), None);
}

#[test]
fn a_success_or_a_refusal_ends_the_row() {
    for signal in [Signal::Success, Signal::Refused] {
        let mut circuit = Circuit::new(Settings::default(), false);
        fail(&mut circuit, 9, secs(0));
        let pass = circuit.enter(secs(0)).unwrap();
        circuit.leave(pass, signal, secs(0));
        fail(&mut circuit, 9, secs(0));
        assert_eq!(circuit.phase(), Phase::Closed, "{signal:?}");
    }
}

#[test]
fn a_delivery_that_alone_fails_never_opens_it() {
    let mut circuit = Circuit::new(Settings::default(), false);
    for _ in 0..1_000 {
        let pass = circuit.enter(secs(0)).unwrap();
        circuit.leave(pass, Signal::of(Some(500)), secs(0));
    }
    assert_eq!(circuit.phase(), Phase::Closed);
}

#[test]
fn only_faults_timeouts_and_four_statuses_count_as_down() {
    assert_eq!(Signal::of(None), Signal::Down);
    for status in 100..600 {
        let expected = match status {
            200..=299 => Signal::Success,
            429 | 502 | 503 | 504 => Signal::Down,
            _ => Signal::Refused,
        };
        assert_eq!(Signal::of(Some(status)), expected, "{status}");
    }
}

#[test]
fn probes_come_one_at_a_time_after_doubling_waits() {
    let mut circuit = opened();
    let mut now = secs(0);
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert_eq!(circuit.wakes_at(), Some(now + secs(wait)));
        assert_eq!(circuit.enter(now + secs(wait) - Duration::from_millis(1)), None);
        now += secs(wait);
        let probe = circuit.enter(now).unwrap();
        assert_eq!(circuit.phase(), Phase::Probing);
        assert_eq!(circuit.enter(now), None, "one probe at a time");
        circuit.leave(probe, Signal::Down, now);
    }
}

#[test]
fn after_a_success_the_attempts_at_once_double() {
    let mut circuit = opened();
    let probe = circuit.enter(secs(1)).unwrap();
    circuit.leave(probe, Signal::Success, secs(1));
    for allowed in [1, 2, 4, 8, 16, 32] {
        let passes: Vec<Pass> = std::iter::from_fn(|| circuit.enter(secs(1))).take(100).collect();
        assert_eq!(passes.len(), allowed);
        for pass in passes {
            circuit.leave(pass, Signal::Success, secs(1));
        }
    }
}

#[test]
fn a_cancelled_probe_can_be_made_again_at_once() {
    let mut circuit = opened();
    let probe = circuit.enter(secs(1)).unwrap();
    circuit.cancel(probe);
    assert_eq!(circuit.phase(), Phase::Open);
    assert!(circuit.enter(secs(1)).is_some());
}

#[test]
fn late_failures_of_attempts_from_before_do_not_put_off_the_probe() {
    let mut circuit = Circuit::new(Settings::default(), false);
    let passes: Vec<Pass> = std::iter::from_fn(|| circuit.enter(secs(0))).take(20).collect();
    for pass in passes {
        circuit.leave(pass, Signal::Down, secs(0));
    }
    assert_eq!(circuit.wakes_at(), Some(secs(1)));
}

/// What those say who share it: open, with the next probe in a second.
fn open_to(prober: Prober, started: Instant) -> SharedCircuit {
    let open = SharedOpen { probe_at: started + secs(1), wait: secs(1), prober };
    SharedCircuit { failures: 10, open: Some(open) }
}

#[test]
fn one_that_is_shared_probes_only_when_it_is_allowed() {
    let started = Clock::system().now();
    let mut circuit = Circuit::new(Settings::default(), true);
    assert!(circuit.hear(open_to(Prober::Nobody, started), started, secs(0)));
    assert!(!circuit.must_ask(secs(0)) && circuit.must_ask(secs(1)));
    assert_eq!(circuit.enter(secs(9)), None);
    assert!(circuit.hear(open_to(Prober::Another, started), started, secs(0)));
    assert_eq!((circuit.phase(), circuit.wakes_at()), (Phase::Probing, None));
    assert!(!circuit.must_ask(secs(9)) && circuit.enter(secs(9)).is_none());
    circuit.hear(open_to(Prober::Granted, started), started, secs(0));
    assert!(!circuit.must_ask(secs(9)));
    let probe = circuit.enter(secs(9)).unwrap();
    // It goes on, whatever is heard.
    circuit.hear(open_to(Prober::Nobody, started), started, secs(0));
    assert_eq!((circuit.phase(), circuit.enter(secs(9))), (Phase::Probing, None));
    assert_eq!(circuit.leave(probe, Signal::Down, secs(9)), Some(CircuitEvent::ProbeFailed(secs(60))));
    assert_eq!(circuit.wakes_at(), Some(secs(11)));
    assert!(circuit.hear(SharedCircuit::default(), started, secs(0)));
    assert!(circuit.enter(secs(9)).is_some() && circuit.enter(secs(9)).is_none(), "one after the other at first");
}

#[test]
fn a_probe_that_is_allowed_and_not_made_is_given_up() {
    let started = Clock::system().now();
    let mut circuit = Circuit::new(Settings::default(), true);
    circuit.hear(open_to(Prober::Granted, started), started, secs(0));
    assert_eq!(circuit.give_up_probe(), Some(CircuitEvent::ProbeCancelled));
    assert!(circuit.must_ask(secs(1)));
    circuit.hear(open_to(Prober::ThisGateway, started), started, secs(0));
    assert!(circuit.must_ask(secs(1)), "it is allowed, and nobody makes it");
    circuit.hear(open_to(Prober::Granted, started), started, secs(0));
    let probe = circuit.enter(secs(1)).unwrap();
    assert_eq!(circuit.give_up_probe(), None, "it is made");
    assert_eq!(circuit.cancel(probe), Some(CircuitEvent::ProbeCancelled));
}

#[test]
fn the_failures_of_others_count_in_the_row_and_an_answer_is_told_if_there_is_one() {
    let started = Clock::system().now();
    let mut circuit = Circuit::new(Settings::default(), true);
    let end = |circuit: &mut Circuit, signal| {
        let pass = circuit.enter(secs(0)).unwrap();
        circuit.leave(pass, signal, secs(0))
    };
    circuit.hear(SharedCircuit { failures: 8, open: None }, started, secs(0));
    assert_eq!(end(&mut circuit, Signal::Success), Some(CircuitEvent::Answered));
    assert_eq!(end(&mut circuit, Signal::Refused), None);
    circuit.hear(SharedCircuit { failures: 9, open: None }, started, secs(0));
    assert_eq!(circuit.phase(), Phase::Closed);
    let failed = CircuitEvent::Failed { limit: 10, wait: secs(1) };
    assert_eq!((end(&mut circuit, Signal::Down), circuit.phase()), (Some(failed), Phase::Open));
}

#[test]
fn what_others_have_opened_stays_closed_where_the_last_attempt_has_just_succeeded() {
    let started = Clock::system().now();
    let mut circuit = Circuit::new(Settings::default(), true);
    let pass = circuit.enter(secs(1)).unwrap();
    assert_eq!(circuit.leave(pass, Signal::Success, secs(1)), None);
    assert!(!circuit.hear(open_to(Prober::Nobody, started), started, secs(2)));
    assert_eq!(circuit.phase(), Phase::Closed);
    // One failure, and it goes by the others.
    let pass = circuit.enter(secs(2)).unwrap();
    assert!(circuit.leave(pass, Signal::Down, secs(2)).is_some());
    assert!(circuit.hear(open_to(Prober::Nobody, started), started, secs(2)));
    assert_eq!(circuit.phase(), Phase::Open);
    assert!(circuit.hear(SharedCircuit::default(), started, secs(2)));
    let pass = circuit.enter(secs(3)).unwrap();
    circuit.leave(pass, Signal::Success, secs(3));
    assert!(circuit.hear(open_to(Prober::Nobody, started), started, secs(5)), "it was too long ago");
}

#[test]
fn a_probe_that_is_allowed_is_made_by_whoever_has_a_delivery() {
    let started = Clock::system().now();
    let mut circuit = Circuit::new(Settings::default(), true);
    circuit.hear(open_to(Prober::Granted, started), started, secs(1));
    assert_eq!((circuit.phase(), circuit.wakes_at(), circuit.must_ask(secs(9))), (Phase::Open, None, false));
    assert!(circuit.enter(secs(9)).is_some() && circuit.enter(secs(9)).is_none());
    assert_eq!(circuit.phase(), Phase::Probing);
}

proptest! {
    #[test]
    fn it_never_stays_shut_and_never_counts_wrong(steps in proptest::collection::vec((0_u8..5, 0_u64..5), 0..400)) {
        let mut circuit = Circuit::new(Settings::default(), false);
        let mut passes: Vec<Pass> = Vec::new();
        let mut now = secs(0);
        for (step, seconds) in steps {
            now += secs(seconds);
            match step {
                0 | 1 => passes.extend(circuit.enter(now)),
                2 => if let Some(pass) = passes.pop() { circuit.leave(pass, Signal::Down, now); },
                3 => if let Some(pass) = passes.pop() { circuit.leave(pass, Signal::Success, now); },
                _ => if let Some(pass) = passes.pop() { circuit.cancel(pass); },
            }
            prop_assert_eq!(usize::try_from(circuit.in_flight).unwrap(), passes.len());
        }
        for pass in passes.drain(..) {
            circuit.leave(pass, Signal::Refused, now);
        }
        prop_assert!(circuit.enter(now + secs(60)).is_some(), "with nothing under way, an attempt is let through in time");
    }
}
