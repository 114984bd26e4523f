//! What a receiver of webhooks has to survive, with a naive handler behind the gateway: it remembers nothing, so each
//! request that it takes has an effect. docs/delivery.md says which of these the gateway mends, and which the handler has
//! to.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hooklatch::clock::Clock;

use crate::support::gateway::SECRET;
use crate::support::http::{Connection, Response};
use crate::support::process::{GatewayProcess, poll};
use crate::support::queued::Queued;
use crate::support::rig::is_problem;
use crate::support::sender::{Delivery, sha256};
use crate::support::served::{Served, route};
use crate::support::upstream::{Nobody, Seen, Upstream};

const DONE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const FAILED: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
const OVERLOADED: &str = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
const SOON: &str = "retry: { schedule: [20ms], jitter: 0% }, circuit: false";

/// The effects of a naive handler, in order: the bodies that it took.
#[derive(Clone, Default)]
struct Effects(Arc<Mutex<Vec<String>>>);

impl Effects {
    /// Of a handler that takes everything.
    fn of(upstream: &Upstream) -> Self {
        Self::by(upstream, |_, _| DONE)
    }

    /// Of a handler that answers so, by the effects so far. Only an answer of 200 has an effect.
    fn by(upstream: &Upstream, answer: impl Fn(&str, &[String]) -> &'static str + Send + Sync + 'static) -> Self {
        let effects = Self::default();
        let noted = effects.clone();
        upstream.answer_by(move |seen: &Seen| {
            let body = String::from_utf8(seen.body.clone()).unwrap();
            let mut effects = noted.0.lock().unwrap();
            let answer = answer(&body, &effects);
            if answer == DONE {
                effects.push(body);
            }
            answer
        });
        effects
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// A delivery whose signed id is `id`.
fn event(id: &str) -> Delivery {
    Delivery::circleci(body(id))
}

fn body(id: &str) -> String {
    format!("{{\"id\":\"{id}\"}}")
}

fn bodies<'a>(ids: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    ids.into_iter().map(body).collect()
}

#[track_caller]
fn is_duplicate(response: &Response) {
    assert_eq!((response.status, response.header("hooklatch-duplicate")), (200, Some("true")), "{response:?}");
}

#[test]
fn a_delivery_that_comes_twice_has_one_effect() {
    let queued = Queued::start("");
    let effects = Effects::of(&queued.upstream);
    queued.accepts(&event("a"));
    is_duplicate(&queued.send(&event("a")));
    queued.wait_for_delivered(1.0);
    is_duplicate(&queued.send(&event("a")));
    queued.accepts(&event("b"));
    queued.wait_for_delivered(2.0);
    assert_eq!(effects.all(), bodies(["a", "b"]));
}

#[test]
fn twins_at_the_same_moment_have_one_effect_and_each_is_answered_with_success() {
    let queued = Queued::start("");
    let effects = Effects::of(&queued.upstream);
    let mut senders: Vec<Connection> = (0..16).map(|_| queued.sending(&event("a"))).collect();
    assert!(senders.iter_mut().all(|sender| sender.receive().status == 200));
    queued.wait_for_delivered(1.0);
    queued.accepts(&event("b"));
    queued.wait_for_delivered(2.0);
    assert_eq!(effects.all(), bodies(["a", "b"]));
}

#[test]
fn a_retry_after_a_lost_answer_has_no_second_effect() {
    let queued = Queued::start("");
    let effects = Effects::of(&queued.upstream);
    let sender = queued.sending(&event("a"));
    queued.wait_for_delivered(1.0);
    sender.reset();
    is_duplicate(&queued.send(&event("a")));
    assert_eq!(effects.all(), bodies(["a"]));
}

#[test]
fn a_delivery_that_was_accepted_before_a_crash_has_its_effect_after_it() {
    let routes = |paused| {
        route("hook", "[{ file: one }]", &format!("delivery: queue, paused: {paused}"))
            + "store: { path: store, min_free: 0MiB }\n"
    };
    let mut served = Served::start(&routes(true), &[("one", "secret")]);
    assert_eq!(served.deliver("/hook", "secret"), 200);
    served.gateway.process.signal("KILL");
    assert_eq!(served.gateway.process.wait().code(), None);
    assert_eq!(served.upstream.entries().len(), 0);
    served.configure(&routes(false));
    served.gateway = GatewayProcess::start(&served.path("gateway.yaml"));
    poll("it is delivered", || served.metric("hooklatch_queue_delivered_total{route=\"hook\"}") == Some(1.0));
    assert_eq!(served.upstream.entries().len(), 1);
}

#[test]
fn events_may_have_their_effects_out_of_order() {
    let queued = Queued::start(SOON);
    let is_early = |body: &str, so_far: &[String]| body.contains("created") && so_far.is_empty();
    let effects = Effects::by(&queued.upstream, move |body, so_far| if is_early(body, so_far) { FAILED } else { DONE });
    queued.accepts(&event("created"));
    queued.accepts(&event("updated"));
    queued.wait_for_delivered(2.0);
    assert_eq!(effects.all(), bodies(["updated", "created"]));
}

#[test]
fn a_slow_handler_neither_delays_the_answer_nor_gets_the_delivery_twice() {
    let mut queued = Queued::start(SOON);
    queued.accepts(&event("a"));
    // The provider has its answer; the handler works.
    queued.request();
    queued.accepts(&event("b"));
    let mut other = queued.upstream.accept();
    other.request();
    queued.upstream.expect_nothing();
    queued.answer("200 OK", "");
    other.write(DONE);
    queued.wait_for_delivered(2.0);
    assert_eq!(queued.metric("hooklatch_queue_attempts_total", &[("result", "2xx")]), 2.0);
}

#[test]
fn a_handler_that_dies_in_the_middle_gets_the_delivery_again_under_the_same_id() {
    let mut queued = Queued::start(SOON);
    queued.accepts(&event("a"));
    let first = queued.request();
    queued.peer = None;
    let again = queued.takes();
    queued.wait_for_delivered(1.0);
    assert_eq!(first.one("hooklatch-delivery-id"), again.one("hooklatch-delivery-id"));
    assert_eq!((first.body, again.one("hooklatch-attempt").as_str()), (again.body.clone(), "2"));
}

#[test]
fn a_poisonous_delivery_is_given_up_and_the_good_ones_have_their_effects() {
    let queued = Queued::start("retry: { schedule: [10ms], jitter: 0%, max_attempts: 4 }, max_concurrent: 2");
    let effects = Effects::by(&queued.upstream, |body, _| if body.contains("poison") { FAILED } else { DONE });
    let good: Vec<String> = (0..20).map(|number| format!("good-{number}")).collect();
    queued.accepts(&event("poison"));
    for id in &good {
        queued.accepts(&event(id));
    }
    queued.wait_for_delivered(20.0);
    queued.wait_for("hooklatch_queue_dead_total", &[], 1.0);
    let mut all = effects.all();
    all.sort();
    let mut expected = bodies(good.iter().map(String::as_str));
    expected.sort();
    assert_eq!(all, expected);
    assert_eq!(queued.metric("hooklatch_queue_circuit_open", &[]), 0.0);
    assert_eq!(queued.metric("hooklatch_queue_attempts_total", &[("result", "5xx")]), 4.0);
}

#[test]
fn a_delivery_that_fails_at_first_has_its_effect_once() {
    let queued = Queued::start(SOON);
    let failures = Mutex::new(3);
    let effects = Effects::by(&queued.upstream, move |_, _| {
        let mut left = failures.lock().unwrap();
        *left -= 1;
        if *left >= 0 { FAILED } else { DONE }
    });
    queued.accepts(&event("a"));
    queued.wait_for_delivered(1.0);
    assert_eq!(effects.all(), bodies(["a"]));
    assert_eq!(queued.metric("hooklatch_queue_attempts_total", &[("result", "5xx")]), 3.0);
}

#[test]
fn a_handler_that_asks_for_time_gets_it() {
    let queued = Queued::start(SOON);
    let clock = Clock::system().monotonic();
    let asked = Mutex::new(None);
    let effects = Effects::by(&queued.upstream, move |_, _| {
        let now = clock.now();
        match *asked.lock().unwrap().get_or_insert(now) {
            at if at == now => OVERLOADED,
            at if now - at < Duration::from_millis(990) => FAILED,
            _ => DONE,
        }
    });
    queued.accepts(&event("a"));
    queued.wait_for_delivered(1.0);
    assert_eq!(effects.all(), bodies(["a"]));
    assert_eq!(queued.metric("hooklatch_queue_attempts_total", &[("result", "4xx")]), 1.0);
    assert_eq!(queued.metric("hooklatch_queue_attempts_total", &[("result", "5xx")]), 0.0, "none came too early");
}

#[test]
fn a_replay_by_an_attacker_has_no_effect_early_or_late() {
    let queued = Queued::of("stripe", "delivery: queue");
    let effects = Effects::of(&queued.upstream);
    let signed_ago = |seconds: u64| {
        let time = Clock::system().unix().as_secs() - seconds;
        let signature = sha256(SECRET, format!("{time}.{}", body("a")).as_bytes());
        Delivery::unsigned(body("a")).header("stripe-signature", &format!("t={time},v1={signature}"))
    };
    let old = signed_ago(600);
    is_problem(&queued.send(&old), 401, "stale_timestamp");
    let fresh = signed_ago(1);
    queued.accepts(&fresh);
    is_duplicate(&queued.send(&fresh));
    is_problem(&queued.send(&old), 401, "stale_timestamp");
    queued.wait_for_delivered(1.0);
    assert_eq!(effects.all(), bodies(["a"]));
}

#[test]
fn of_two_bodies_with_one_signed_id_the_first_has_an_effect_and_with_an_unsigned_id_both_have() {
    let (one, two) = ("{\"id\":\"a\",\"n\":1}", "{\"id\":\"a\",\"n\":2}");
    let queued = Queued::start("");
    let effects = Effects::of(&queued.upstream);
    queued.accepts(&Delivery::circleci(one));
    is_duplicate(&queued.send(&Delivery::circleci(two)));
    queued.wait_for_delivered(1.0);
    assert_eq!(effects.all(), [one]);

    let queued = Queued::of("civo", "delivery: queue, dedupe: { key: auto }");
    let effects = Effects::of(&queued.upstream);
    queued.accepts(&Delivery::civo(one));
    queued.accepts(&Delivery::civo(two));
    is_duplicate(&queued.send(&Delivery::civo(one)));
    queued.wait_for_delivered(2.0);
    let mut all = effects.all();
    all.sort();
    assert_eq!(all, [one, two]);
}

#[test]
fn a_handler_that_restarts_gets_what_came_meanwhile() {
    let nobody = Nobody::bind();
    let mut queued = Queued::start(&format!("upstream: \"http://{}/in\", {SOON}", nobody.address));
    for id in ["a", "b", "c"] {
        queued.accepts(&event(id));
    }
    queued.wait_for_state("retrying", 3.0);
    queued.upstream = nobody.listen();
    let effects = Effects::of(&queued.upstream);
    queued.wait_for_delivered(3.0);
    let mut all = effects.all();
    all.sort();
    assert_eq!(all, bodies(["a", "b", "c"]));
}

#[test]
fn a_gateway_that_restarts_in_the_middle_of_an_attempt_repeats_it_under_the_same_id() {
    let mut queued = Queued::with_server("shutdown_grace: 100ms", "", "circleci", "delivery: queue");
    queued.accepts(&event("a"));
    let first = queued.request();
    queued.restart("");
    let again = queued.takes();
    queued.wait_for_delivered(1.0);
    assert_eq!(first.one("hooklatch-delivery-id"), again.one("hooklatch-delivery-id"));
    assert_eq!(first.body, again.body);
    is_duplicate(&queued.send(&event("a")));
}

#[test]
fn a_body_that_breaks_off_has_no_effect_and_its_retry_has_one() {
    let queued = Queued::start("");
    let effects = Effects::of(&queued.upstream);
    let whole = event("a").bytes();
    let mut sender = Connection::open(queued.server());
    sender.write(&whole[..whole.len() - 1]);
    poll("it has begun", || queued.metrics().get("hooklatch_in_flight_requests", &[]) == 1.0);
    sender.reset();
    poll("it is given up", || queued.metrics().get("hooklatch_in_flight_requests", &[]) == 0.0);
    queued.accepts(&event("a"));
    queued.wait_for_delivered(1.0);
    assert_eq!(effects.all(), bodies(["a"]));
}

#[test]
fn a_forged_delivery_neither_has_an_effect_nor_uses_up_the_id_of_the_honest_one() {
    let queued = Queued::start("");
    let effects = Effects::of(&queued.upstream);
    let forged = Delivery::circleci_with("another secret", body("a"));
    is_problem(&queued.send(&forged), 401, "signature_mismatch");
    queued.accepts(&event("a"));
    queued.wait_for_delivered(1.0);
    assert_eq!(effects.all(), bodies(["a"]));
}
