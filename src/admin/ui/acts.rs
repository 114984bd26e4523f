//! What people change: a page that asks, where it cannot be undone, and the form that does it. Afterwards comes the page where
//! it was asked for.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use bytes::Bytes;
use http::StatusCode;
use uuid::Uuid;

use super::chrome::{Chrome, html};
use super::flash::Said;
use super::login::form_fields;
use super::row::Row;
use super::view::encoded;
use super::{Answer, see_other};
use crate::acts::Refused;
use crate::admin::AdminContext;
use crate::admin::api::acts::{CAPTURE_MAX, CAPTURE_TIME};
use crate::admin::api::deliveries::find;
use crate::admin::api::query::{Id, Name};
use crate::admin::problem::Problem;
use crate::store::list::waits;

#[derive(Template)]
#[template(path = "ask.html")]
struct Ask {
    chrome: Chrome,
    question: &'static Question,
    row: Row,
    /// Where there is no doing it.
    back: String,
}

/// What is asked before an act that cannot be undone.
pub struct Question {
    /// The act, as in the path.
    pub act: &'static str,
    /// The question.
    pub heading: &'static str,
    /// What the act does.
    pub text: &'static str,
    /// The button that does it.
    pub button: &'static str,
}

/// Before a replay.
pub static REPLAY: Question = Question {
    act: "replay",
    heading: "Replay this delivery?",
    text: "It is sent to the handler of its route again, with the same bytes.",
    button: "Replay",
};

/// Before a discard.
pub static DISCARD: Question = Question {
    act: "discard",
    heading: "Discard this delivery?",
    text: "It is not sent any more. A replay can take it up again.",
    button: "Discard",
};

/// Before an erasure.
pub static ERASE: Question = Question {
    act: "erase",
    heading: "Erase this delivery?",
    text: "Head and body are overwritten, in all files of the store. It is never sent again.",
    button: "Erase",
};

/// Leads to the page at `path`, which says what was done.
fn done(context: &AdminContext, path: &str, said: Said) -> Answer {
    Ok(see_other(&context.flashes.address(path, said, context.clock.now())))
}

/// The path of the page of a delivery, under which a message for it is kept.
pub(in crate::admin::ui) fn delivery_page(id: Uuid) -> String {
    format!("/ui/deliveries/{id}")
}

/// The path of the page of a route, under which a message for it is kept.
pub(in crate::admin::ui) fn route_page(name: &str) -> String {
    format!("/ui/routes/{}", encoded(name))
}

/// `GET /ui/deliveries/ID/replay`
///
/// # Errors
/// 404, 410, 503.
pub async fn ask_replay(State(context): State<Arc<AdminContext>>, id: Id) -> Answer {
    ask(&context, id, &REPLAY).await
}

/// `GET /ui/deliveries/ID/discard`
///
/// # Errors
/// 404, 410, 503.
pub async fn ask_discard(State(context): State<Arc<AdminContext>>, id: Id) -> Answer {
    ask(&context, id, &DISCARD).await
}

/// `GET /ui/deliveries/ID/erase`
///
/// # Errors
/// 404, 410, 503.
pub async fn ask_erase(State(context): State<Arc<AdminContext>>, id: Id) -> Answer {
    ask(&context, id, &ERASE).await
}

async fn ask(context: &AdminContext, id: Id, question: &'static Question) -> Answer {
    let row = Row::of(&find(context, id).await?.stored);
    let back = delivery_page(id.0);
    let chrome = Chrome::of(context, question.heading, "ask", "deliveries");
    Ok(html(StatusCode::OK, &Ask { chrome, question, row, back }))
}

/// `POST /ui/deliveries/ID/replay`. A form that is sent twice replays once: it says how many attempts its reader saw, and what is
/// due already is not asked for again.
///
/// # Errors
/// 400, 404, 409, 410, 503.
pub async fn replay(State(context): State<Arc<AdminContext>>, Id(id): Id, bytes: Bytes) -> Answer {
    let fields = form_fields(&bytes, &["attempts"])?;
    let seen = fields.get("attempts").map(str::parse::<u32>).transpose();
    let seen = seen.map_err(|_| Problem::bad_body("attempts must be a number"))?;
    // From the look at the delivery to the change.
    let _one_at_a_time = context.replaying.lock().await;
    if let Some((stored, attempts)) = context.queue.store.get(id).await? {
        if let Some(seen) = seen.filter(|seen| stored.attempts != *seen) {
            return match attempts.iter().any(|attempt| attempt.replay && attempt.number > seen) {
                true => done(&context, &delivery_page(id), Said::Replay),
                false => Err(Problem::new(
                    StatusCode::CONFLICT,
                    "in_flight",
                    "it was attempted since you looked, so nothing was sent again: look at what came of that first",
                )),
            };
        }
        if waits(stored.shown) && stored.next_attempt_at.is_some_and(|at| at <= context.now()) {
            return Err(Refused::InFlight.into());
        }
    }
    context.acts.replay(id).await?;
    done(&context, &delivery_page(id), Said::Replay)
}

/// `POST /ui/deliveries/ID/discard`
///
/// # Errors
/// 400, 404, 409, 410, 503.
pub async fn discard(State(context): State<Arc<AdminContext>>, Id(id): Id, bytes: Bytes) -> Answer {
    form_fields(&bytes, &[])?;
    context.acts.discard(id).await?;
    done(&context, &delivery_page(id), Said::Discard)
}

/// `POST /ui/deliveries/ID/erase`
///
/// # Errors
/// 400, 404, 410, 503.
pub async fn erase(State(context): State<Arc<AdminContext>>, Id(id): Id, bytes: Bytes) -> Answer {
    form_fields(&bytes, &[])?;
    context.acts.erase(id).await?;
    done(&context, &delivery_page(id), Said::Erase)
}

/// `POST /ui/routes/NAME/pause`
///
/// # Errors
/// 400, 404, 409, 503.
pub async fn pause(State(context): State<Arc<AdminContext>>, Name(name): Name, bytes: Bytes) -> Answer {
    form_fields(&bytes, &[])?;
    context.acts.pause(&name).await?;
    done(&context, &route_page(&name), Said::Pause)
}

/// `POST /ui/routes/NAME/resume`
///
/// # Errors
/// 400, 404, 503.
pub async fn resume(State(context): State<Arc<AdminContext>>, Name(name): Name, bytes: Bytes) -> Answer {
    form_fields(&bytes, &[])?;
    context.acts.resume(&name).await?;
    done(&context, &route_page(&name), Said::Resume)
}

/// `POST /ui/routes/NAME/capture`, from the page of the route or of a delivery.
///
/// # Errors
/// 400, 404.
pub async fn capture(State(context): State<Arc<AdminContext>>, Name(name): Name, bytes: Bytes) -> Answer {
    let fields = form_fields(&bytes, &["delivery"])?;
    let delivery = fields.get("delivery").map(Id::parse).transpose();
    let delivery = delivery.map_err(|_| Problem::bad_body("delivery must be an id"))?;
    let max = u32::try_from(CAPTURE_MAX).unwrap_or(u32::MAX);
    context.acts.capture(&name, CAPTURE_TIME, max)?;
    let page = delivery.map_or_else(|| route_page(&name), |Id(id)| delivery_page(id));
    done(&context, &page, Said::Capture)
}
