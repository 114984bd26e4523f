//! The circuit of an upstream, which gateways share.

use std::collections::BTreeSet;

use super::Cluster;
use crate::support::process::poll;

/// A failed delivery is due again at once; the first probe may begin a second after the third failure.
const SHORT: &str = "retry: { schedule: [10ms] }, circuit: { failures: 3, max_wait: 1s }";

impl Cluster {
    /// What a gateway says of the circuit.
    fn circuit(&self, at: usize) -> String {
        self.route(at)["circuit"].as_str().unwrap().to_owned()
    }

    /// Waits until all of these gateways say so of the circuit.
    #[track_caller]
    fn all_say(&self, gateways: &[usize], phase: &str) {
        poll(&format!("the circuit is {phase}"), || gateways.iter().all(|at| self.circuit(*at) == phase));
    }

    /// Has the handler fail until the circuit is open, and then hold the first probe; gives the gateway that makes it, and how
    /// many attempts there were with it.
    fn until_a_probe(&self) -> (usize, usize) {
        self.handler.fail();
        for number in 0..10 {
            self.accepts(number as usize % 2, number);
        }
        poll("the circuit is open", || (0..2).all(|at| self.circuit(at) != "closed"));
        let under_way = |at| self.metric(at, "hooklatch_queue_in_flight", &[]);
        poll("attempts from before have ended", || under_way(0) + under_way(1) == 0.0);
        self.handler.hold();
        self.all_say(&[0, 1], "probing");
        poll("the probe is there alone", || under_way(0) + under_way(1) == 1.0);
        let entries = self.handler.entries();
        let by = entries.last().unwrap().target.trim_start_matches("/in/").to_owned();
        (self.gateways.all.iter().position(|gateway| gateway.name == by).unwrap(), entries.len())
    }
}

#[test]
fn the_failures_of_all_gateways_open_the_circuit_of_all() {
    // What has failed is not due again, so nothing is probed.
    let keys = "retry: { schedule: [1h] }, circuit: { failures: 6, max_wait: 1m }";
    let Some(mut cluster) = Cluster::start(&["a", "b"], keys) else { return };
    cluster.handler.fail();
    for number in 0..5 {
        cluster.accepts(number as usize % 2, number);
    }
    for at in 0..2 {
        poll("five have failed", || cluster.metric(at, "hooklatch_queue_deliveries", &[("state", "retrying")]) == 5.0);
        assert_eq!(cluster.circuit(at), "closed");
    }
    cluster.accepts(1, 5);
    cluster.all_say(&[0, 1], "open");
    for at in 0..2 {
        poll("the metric says so", || cluster.metric(at, "hooklatch_queue_circuit_open", &[]) == 1.0);
    }
    // A gateway that starts knows it.
    cluster.gateways.kill(0);
    cluster.gateways.serve(0);
    cluster.all_say(&[0], "open");
    // What comes now is the probe, wherever it comes.
    cluster.handler.recover();
    cluster.accepts(0, 6);
    poll("it is delivered", || cluster.handled().get(&6) == Some(&1));
    cluster.all_say(&[0, 1], "closed");
}

#[test]
fn one_of_all_gateways_probes_and_its_success_lets_all_go_on() {
    let Some(cluster) = Cluster::start(&["a", "b"], SHORT) else { return };
    let (_, attempts) = cluster.until_a_probe();
    for number in 10..20 {
        cluster.accepts(number as usize % 2, number);
    }
    assert_eq!(cluster.handler.entries().len(), attempts);
    cluster.handler.recover();
    cluster.handler.release();
    cluster.all_say(&[0, 1], "closed");
    cluster.settles(0);
    let taken: BTreeSet<u32> = cluster.handled().into_keys().collect();
    assert_eq!(taken, (0..20).collect());
}

#[test]
fn another_gateway_probes_when_the_one_that_did_has_died() {
    let Some(mut cluster) = Cluster::start(&["a", "b"], SHORT) else { return };
    let (prober, attempts) = cluster.until_a_probe();
    let other = 1 - prober;
    cluster.gateways.kill(prober);
    assert_eq!(cluster.circuit(other), "probing");
    cluster.end_leases(prober);
    poll("the other probes", || cluster.handler.entries().len() > attempts);
    cluster.handler.recover();
    cluster.handler.release();
    cluster.all_say(&[other], "closed");
    cluster.settles(other);
}
