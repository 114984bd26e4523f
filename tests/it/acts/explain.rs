use hooklatch::acts::explain::Explanation;

use super::*;
use crate::support::gateway::{OLD_SECRET, SECRET};

fn explained(keys: &str, details: &Details, body: &str) -> Explanation {
    let (queued, id) = refused(keys, details, body);
    let explained = done(queued.acts().explain(id)).unwrap();
    queued.upstream.expect_nothing();
    explained
}

#[test]
fn a_delivery_that_verifies_now_is_accepted() {
    let lines = [("circleci-signature", &*signature(SECRET, "{}"))];
    let explained = explained("delivery: proxy", &request(&lines), "{}");
    assert_eq!(explained, Explanation { accepted: true, secret_id: Some("0".to_owned()), ..Explanation::default() });
}

#[test]
fn a_wrong_body_and_a_wrong_secret_are_told() {
    let newline = request(&[("circleci-signature", &signature(SECRET, "{}"))]);
    let told = explained("delivery: proxy", &newline, "{}\n");
    assert_eq!((told.accepted, told.reason, told.status), (false, Some("signature_mismatch"), Some(401)));
    assert!(told.proven && told.causes.len() == 1 && told.causes[0].contains("newline"), "{told:?}");
    assert!(!told.title.is_empty());
    let other = request(&[("circleci-signature", &signature(OLD_SECRET, "{}"))]);
    let told = explained("delivery: proxy", &other, "{}");
    assert_eq!((told.reason, told.proven), (Some("signature_mismatch"), false));
    assert!(!format!("{told:?}").contains(SECRET), "{told:?}");
}

#[test]
fn what_the_head_decides_needs_no_body() {
    let kept =
        store::Delivery { details: request(&[]).into(), body: None, request_bytes: 9, ..record(State::Refused, "") };
    let mut queued = Queued::of("circleci", "delivery: proxy");
    queued.stop();
    let id = kept.id;
    queued.record(kept);
    queued.restart_of("circleci", "delivery: proxy");
    let told = done(queued.acts().explain(id)).unwrap();
    assert_eq!((told.reason, told.proven), (Some("missing_signature"), false));
    assert!(told.notes.iter().any(|note| note.contains("body")), "{told:?}");
    let said = told.causes.join("; ");
    assert!(said.contains("there is no signature") && !said.contains("wrong secret"), "{said}");
    assert!(!said.contains("empty: did something"), "nobody looked at the body: {said}");
}

#[test]
fn another_reason_than_the_signature_comes_first_and_the_signature_is_judged_too() {
    let mut details = request(&[("circleci-signature", &signature(OLD_SECRET, "{}"))]);
    details.request.as_mut().unwrap().method = "PUT".to_owned();
    let told = explained("delivery: proxy, enforce: false", &details, "{}");
    assert_eq!((told.reason, told.status), (Some("method_not_allowed"), Some(405)));
    assert_eq!(told.causes[0], "the route takes POST");
    assert!(told.causes[1].starts_with("the signature is not right either: "), "{told:?}");
    assert!(told.notes[0].contains("enforce is false"), "{told:?}");
}

#[test]
fn a_queued_delivery_is_explained_by_its_message() {
    let mut queued = Queued::start(PATIENT);
    let waits = failed_once(&mut queued, "{\"id\":1}");
    let told = done(queued.acts().explain(id(&waits))).unwrap();
    assert_eq!((told.accepted, told.secret_id.as_deref()), (true, Some("0")));
    assert_eq!(done(queued.acts().explain(Uuid::nil())), Err(Refused::NotFound));
    assert_eq!(done(queued.acts().erase(id(&waits))), Ok(()));
    assert_eq!(done(queued.acts().explain(id(&waits))), Err(Refused::NoBody));
}
