//! Circuits that gateways share.

use super::*;
use crate::store::circuits::{CircuitEvent, Prober, SharedCircuit};

const UPSTREAM: Uuid = Uuid::from_u128(7);
const MINUTE: Duration = Duration::from_secs(60);
const FAILED: CircuitEvent = CircuitEvent::Failed { limit: 3, wait: MINUTE };
/// The first failure opens the circuit, and a probe may begin at once.
const DOWN: CircuitEvent = CircuitEvent::Failed { limit: 1, wait: Duration::from_millis(1) };

impl Gateway {
    fn tell(&mut self, event: CircuitEvent) -> SharedCircuit {
        self.backend.sharing.circuits.tell(UPSTREAM, event);
        self.circuit()
    }

    /// What the gateway knows after it has exchanged it with others.
    fn circuit(&mut self) -> SharedCircuit {
        self.backend.exchange_circuits(true).unwrap();
        self.backend.sharing.circuits.known(&UPSTREAM)
    }

    fn prober(&mut self) -> Prober {
        self.circuit().open.expect("it is open").prober
    }

    fn wait(&mut self) -> Duration {
        self.circuit().open.expect("it is open").wait
    }

    /// Asks to probe until somebody does; says who.
    fn probes(&mut self) -> Prober {
        let end = Clock::system().now() + MINUTE;
        loop {
            let mut asked = self.backend.sharing.circuits.ask(UPSTREAM);
            let prober = self.prober();
            asked.try_recv().expect("it is answered");
            if prober != Prober::Nobody {
                return prober;
            }
            assert!(Clock::system().now() < end, "nobody may probe");
        }
    }
}

#[test]
fn the_failures_of_all_gateways_open_a_circuit_and_an_answer_to_any_closes_it() {
    let Some(target) = target() else { return };
    let [mut one, mut two] = two(&target);
    assert_eq!(one.tell(FAILED), SharedCircuit { failures: 1, open: None });
    assert_eq!(two.tell(FAILED), SharedCircuit { failures: 2, open: None });
    assert_eq!(one.circuit().failures, 2);
    assert_eq!(two.tell(CircuitEvent::Answered), SharedCircuit::default());
    assert_eq!(one.circuit(), SharedCircuit::default());
    for _ in 0..2 {
        one.tell(FAILED);
    }
    let now = Clock::system().now();
    let open = two.tell(FAILED).open.expect("the third in a row");
    assert_eq!((open.wait, open.prober), (MINUTE, Prober::Nobody));
    assert!(open.probe_at > now + MINUTE / 2 && open.probe_at < now + MINUTE * 2);
    // One of an attempt that began before does not put off the probe.
    assert!(one.tell(FAILED).open.expect("it is open").probe_at <= open.probe_at + Duration::from_secs(1));
    let mut asked = one.backend.sharing.circuits.ask(UPSTREAM);
    assert_eq!(one.prober(), Prober::Nobody, "it is too early");
    assert_eq!(asked.try_recv(), Ok(()));
    // A gateway that starts knows of it.
    assert!(Gateway::new(&target, "three").backend.sharing.circuits.known(&UPSTREAM).open.is_some());
    assert_eq!(one.tell(CircuitEvent::Answered), SharedCircuit::default());
    assert_eq!(two.circuit(), SharedCircuit::default());
    assert_eq!(ask(&target, "SELECT count(*) FROM circuits"), "0");
}

#[test]
fn one_gateway_at_a_time_probes_as_long_as_its_session_lives() {
    let Some(target) = target() else { return };
    let [mut one, mut two] = two(&target);
    one.tell(DOWN);
    assert_eq!((one.probes(), two.probes()), (Prober::ThisGateway, Prober::Another));
    assert_eq!(one.probes(), Prober::ThisGateway, "a second time, too");
    // What another gateway says of a probe that is not its own changes nothing.
    two.tell(CircuitEvent::ProbeFailed(MINUTE));
    two.tell(CircuitEvent::ProbeCancelled);
    assert_eq!((one.prober(), one.wait()), (Prober::ThisGateway, Duration::from_millis(1)));
    for expected in [2, 4, 5, 5] {
        one.tell(CircuitEvent::ProbeFailed(Duration::from_millis(5)));
        assert_eq!(two.wait(), Duration::from_millis(expected));
        assert_eq!(one.probes(), Prober::ThisGateway);
    }
    one.tell(CircuitEvent::ProbeCancelled);
    assert_eq!((one.prober(), two.prober()), (Prober::Nobody, Prober::Nobody));
    assert_eq!(two.probes(), Prober::ThisGateway);
    // It dies.
    let_leases_end(&target, "two");
    assert_eq!((one.prober(), one.probes()), (Prober::Nobody, Prober::ThisGateway));
    two.tell(CircuitEvent::ProbeFailed(MINUTE));
    assert_eq!((two.prober(), one.prober()), (Prober::Another, Prober::ThisGateway));
    // It ends in order.
    one.backend.close().unwrap();
    assert_eq!((two.prober(), two.probes()), (Prober::Nobody, Prober::ThisGateway));
}

#[test]
fn a_probe_that_nobody_waits_for_any_more_is_left_to_another_gateway() {
    let Some(target) = target() else { return };
    let [mut one, mut two] = two(&target);
    one.tell(DOWN);
    drop(one.backend.sharing.circuits.ask(UPSTREAM));
    assert_eq!(one.prober(), Prober::Nobody, "it was not asked for");
    assert_eq!(two.probes(), Prober::ThisGateway);
    two.tell(CircuitEvent::ProbeCancelled);
    // Who asked has gone by the time it is allowed.
    let asked = Mutex::new(Some(one.backend.sharing.circuits.ask(UPSTREAM)));
    one.backend.others = Some(Others {
        tell: Arc::new(move |_heard| drop(lock(&asked).take())),
        is_followed: Arc::new(|| false),
        wake: Arc::new(|| ()),
    });
    let end = Clock::system().now() + MINUTE;
    while two.probes() != Prober::ThisGateway {
        one.circuit();
        assert!(Clock::system().now() < end, "the other may not probe");
    }
}

#[test]
fn what_cannot_be_told_now_is_told_when_the_database_is_back() {
    let Some(target) = target() else { return };
    let mut one = Gateway::new(&target, "one");
    ask(&target, "ALTER TABLE circuits RENAME TO away");
    one.backend.sharing.circuits.tell(UPSTREAM, DOWN);
    assert!(one.backend.exchange_circuits(false).is_err() && one.backend.sharing.circuits.is_untold(&UPSTREAM));
    assert!(one.backend.do_upkeep(0).is_ok(), "all else goes on");
    ask(&target, "ALTER TABLE away RENAME TO circuits");
    assert!(one.circuit().open.is_some() && !one.backend.sharing.circuits.is_untold(&UPSTREAM));
}

#[tokio::test]
async fn a_gateway_hears_at_once_of_a_circuit_that_another_has_opened() {
    let Some(target) = target() else { return };
    let (one, two) = (start(&target, "one"), start(&target, "two"));
    let (open, heard) = mpsc::channel();
    two.on_circuits(move |known| {
        if known.get(&UPSTREAM).is_some_and(|circuit| circuit.open.is_some()) {
            // The receiver has gone once it has heard.
            let _gone = open.send(());
        }
    });
    one.sharing().unwrap().circuits.tell(UPSTREAM, DOWN);
    one.ask_to_probe(UPSTREAM).await;
    heard.recv_timeout(MINUTE).unwrap();
}
