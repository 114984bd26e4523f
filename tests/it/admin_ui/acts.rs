//! What people change on the pages: each act asks first, is done once, and leads back.

use crate::support::api::{Call, json};
use crate::support::page::{Page, does, form, leads};
use crate::support::process::poll;
use crate::support::queued::Queued;
use crate::support::sender::Delivery;

/// A dead delivery; its page.
fn dead(queued: &mut Queued, body: &str) -> String {
    queued.accepts(&Delivery::circleci(body));
    let id = queued.fails("410 Gone").one("hooklatch-delivery-id");
    poll("dead", || json(queued.admin(), &format!("/api/v1/deliveries/{id}"))["state"] == "dead");
    format!("/ui/deliveries/{id}")
}

fn state(queued: &Queued, page: &str) -> String {
    let id = page.rsplit('/').next().unwrap();
    json(queued.admin(), &format!("/api/v1/deliveries/{id}"))["state"].as_str().unwrap().to_owned()
}

#[test]
fn a_replay_is_asked_for_and_a_form_that_is_sent_twice_replays_once() {
    let mut queued = Queued::start("record: full");
    let path = dead(&mut queued, "{}");
    let shown = Page::get(queued.admin(), &path);
    shown.has(&format!("<form method=\"get\" action=\"{path}/replay\" data-dialog=\"ask-replay\">"));
    let dialog = shown.after("<dialog id=\"ask-replay\"", "</dialog>").to_owned();
    let ask = Page::get(queued.admin(), &format!("{path}/replay"));
    ask.has("Replay this delivery?").has(&format!("<a href=\"{path}\" data-key=\"back\">Cancel</a>"));
    for form in [dialog.as_str(), &ask.html] {
        assert!(form.contains(&format!("method=\"post\" action=\"{path}/replay\"")), "{form}");
        assert!(form.contains("name=\"attempts\" value=\"1\""), "{form}");
    }
    assert_eq!(state(&queued, &path), "dead", "to ask changes nothing");

    let (page, _) = does(queued.admin(), &format!("{path}/replay"), "attempts=1");
    assert_eq!(page, path);
    let twice = Page::of(form(&format!("{path}/replay"), "attempts=1").send(queued.admin()));
    assert_eq!(twice.status, 409);
    twice.has("Being sent already");
    let seen = queued.takes();
    assert_eq!((seen.one("hooklatch-attempt"), seen.one("hooklatch-replay")), ("2".to_owned(), "true".to_owned()));
    poll("delivered", || state(&queued, &path) == "delivered");
    // The second form of a double click, that late.
    let (page, again) = does(queued.admin(), &format!("{path}/replay"), "attempts=1");
    assert_eq!(page, path);
    again.has("It is sent again").has("#2 replay").has("Attempts (2)");
    // What a foreign link says was done was not.
    for key in ["replay", "erase", "00000000-0000-0000-0000-000000000000"] {
        Page::get(queued.admin(), &format!("{path}?said={key}")).lacks("the attempt is below").lacks("Erased:");
    }
    queued.upstream.expect_nothing();
}

#[test]
fn a_discarded_delivery_waits_no_more() {
    let mut queued = Queued::start("retry: { min_backoff: 1h }");
    queued.accepts(&Delivery::circleci("{}"));
    let id = queued.fails("500 Oops").one("hooklatch-delivery-id");
    queued.wait_for_state("retrying", 1.0);
    let path = format!("/ui/deliveries/{id}");
    Page::get(queued.admin(), &format!("{path}/discard")).has("Discard this delivery?");
    does(queued.admin(), &format!("{path}/discard"), "").1.has("Discarded: it is not sent any more.");
    assert_eq!(state(&queued, &path), "discarded");
    let again = Page::of(form(&format!("{path}/discard"), "").send(queued.admin()));
    assert_eq!(again.status, 409);
    again.has("not_waiting");
}

#[test]
fn a_route_is_paused_and_resumed() {
    let mut queued = Queued::start("");
    let path = "/ui/routes/hook";
    Page::get(queued.admin(), path).has("action=\"/ui/routes/hook/pause\"><button>Pause</button>").lacks("Resume");
    let (page, paused) = does(queued.admin(), "/ui/routes/hook/pause", "");
    assert_eq!(page, path);
    paused.has("Paused: deliveries wait").has("◷</span> paused").has("<button>Resume</button>").lacks("<button>Pause");
    Page::get(queued.admin(), "/ui/routes").has("◷</span> paused");
    queued.accepts(&Delivery::circleci("{}"));
    queued.wait_for_state("pending", 1.0);
    Page::get(queued.admin(), "/ui/routes").has("1 waiting, oldest ");
    does(queued.admin(), "/ui/routes/hook/resume", "").1.has("Resumed: deliveries go on.");
    queued.takes();
    queued.wait_for_delivered(1.0);
    assert_eq!(Page::of(form("/ui/routes/none/pause", "").send(queued.admin())).status, 404);
    assert_eq!(Page::of(form(&format!("{path}/pause"), "x=y").send(queued.admin())).status, 400);
}

#[test]
fn dead_letters_are_counted_by_reason_and_replayed_in_bulk() {
    let mut queued = Queued::start("record: full, dedupe: false");
    for _ in 0..3 {
        dead(&mut queued, "{}");
    }
    let page = Page::get(queued.admin(), "/ui/dead");
    page.has("3 deliveries were given up")
        .has("Dead letters (3)")
        .has("<td data-label=\"Reason\">status</td>")
        .has(">Replay all…</a>");
    assert_eq!(page.ids().len(), 3);
    let ask = page.after("<a href=\"/ui/replays?q=", "\"").to_owned();
    assert_eq!(ask, "state%3Adead%20route%3Ahook%20reason%3Astatus");
    let ask = Page::get(queued.admin(), &format!("/ui/replays?q={ask}"));
    ask.has("Replay 3 deliveries?").has("name=\"max\" min=\"1\" value=\"3\"").has("name=\"per_second\"");
    ask.has("name=\"q\" value=\"state:dead route:hook reason:status\"");
    queued.upstream.expect_nothing();
    Page::get(queued.admin(), "/ui/replays?q=state%3Aheld").has("Replay 0 deliveries?").lacks(">Replay</button>");
    assert_eq!(Page::get(queued.admin(), "/ui/replays?q=stat%3Ax").status, 400);
    for fields in ["max=1", "q=state%3Adead&max=0", "q=state%3Adead&per_second=x", "q=stat%3Ax", "q=&y=1", "q=&run=x"] {
        assert_eq!(Page::of(form("/ui/replays", fields).send(queued.admin())).status, 400, "{fields}");
    }

    queued.answer_always();
    let id = ask.after("name=\"run\" value=\"", "\"").to_owned();
    let fields = format!("q=state%3Adead&max=2&per_second=1000&run={id}");
    let run = leads(queued.admin(), "/ui/replays", &fields);
    assert_eq!(run, format!("/ui/replays/{id}"));
    let field = |name: &str| {
        let page = Page::get(queued.admin(), &run);
        page.after(&format!("data-field=\"{name}\">"), "<").to_owned()
    };
    poll("done", || field("state") == "done");
    assert_eq!(["matched", "done", "failed", "left"].map(field), ["2", "2", "0", "0"].map(str::to_owned));
    Page::get(queued.admin(), &run).lacks("data-poll").lacks("Stop");
    queued.wait_for_state("dead", 1.0);
    assert_eq!(leads(queued.admin(), "/ui/replays", &fields), run, "a form that is sent twice starts one run");
    assert_eq!(Page::get(queued.admin(), "/ui/replays/01890a5d-ac96-774b-bcce-b302099a8057").status, 404);
}

#[test]
fn a_bulk_replay_can_be_stopped() {
    let mut queued = Queued::start("record: full, dedupe: false");
    for _ in 0..3 {
        dead(&mut queued, "{}");
    }
    queued.answer_always();
    let run = leads(queued.admin(), "/ui/replays", "q=state%3Adead&per_second=1");
    let running = Page::get(queued.admin(), &run);
    running.has("data-poll=\"1\"").has("<button>Stop</button>");
    assert_eq!(leads(queued.admin(), &format!("{run}/stop"), ""), run);
    let stopped = Page::get(queued.admin(), &run);
    stopped.has("data-field=\"state\">stopped<").lacks("Stop</button>");
    assert_ne!(stopped.after("data-field=\"left\">", "<"), "0");
}

#[test]
fn a_form_without_a_word_of_where_it_comes_from_changes_nothing() {
    let mut queued = Queued::start("");
    let path = dead(&mut queued, "{}");
    for act in ["replay", "discard", "erase"] {
        let refused = Call::of("POST", &format!("{path}/{act}")).send(queued.admin());
        assert_eq!(Page::of(refused).status, 403, "{act}: no word of a browser");
    }
    assert_eq!(state(&queued, &path), "dead");
    queued.upstream.expect_nothing();
}
