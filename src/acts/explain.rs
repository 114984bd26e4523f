//! Whether the gateway would accept a recorded delivery, and if not, why: by the secrets of now and the time of receipt.
//!
//! The verdict is that of the stages, see [`gateway::recorded`](crate::gateway::recorded); the reasons behind it are those of
//! [`why`](super::why). Limits, deadlines and dedupe are not judged.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::StatusCode;
use uuid::Uuid;

use super::recorded::Recorded;
use super::why::{Question, Why, is_of_signature};
use super::{Acts, Refused};
use crate::config::NO_ROUTE;
use crate::gateway::recorded::{Verdict, judge};
use crate::reject::Reject;
use crate::routing::table::RouteShared;
use crate::schemes::diagnose::Effort;
use crate::store::{Attempt, StoreError, Stored};

/// The gateway's verdict on a delivery, and the reasons behind it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Explanation {
    /// Whether the route would accept it. A challenge is accepted: the gateway answers it itself.
    pub accepted: bool,
    /// The name of the refusal, of the closed list in [`reject`](crate::reject); `None` if it is accepted.
    pub reason: Option<&'static str>,
    /// The refusal's HTTP status; `None` if it is accepted.
    pub status: Option<u16>,
    /// The refusal in a sentence; empty if it is accepted.
    pub title: &'static str,
    /// The id of the secret that verifies it.
    pub secret_id: Option<String>,
    /// Whether the causes are proven: without them the signature is right. Otherwise they are hints.
    pub proven: bool,
    /// Why it is refused, one sentence each.
    pub causes: Vec<String>,
    /// What the verdict does not cover, one sentence each.
    pub notes: Vec<String>,
    /// When it was signed, if that is too far from the time of receipt: seconds since 1970-01-01T00:00:00Z.
    pub signed_at: Option<u64>,
}

/// A delivery as the store has it.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The delivery, with head and details.
    pub stored: Stored,
    /// Its attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// Its body with the secrets in it, if one is kept.
    pub body: Option<Bytes>,
}

impl Acts {
    /// Reads a delivery.
    ///
    /// # Errors
    /// [`Refused::NotFound`], [`Refused::Gone`], [`Refused::Store`].
    pub async fn read(&self, id: Uuid) -> Result<Kept, Refused> {
        let store = &self.queue.store;
        let Some((stored, attempts)) = store.get(id).await? else { return Err(self.missing(id)) };
        Ok(Kept { stored, attempts, body: store.body(id).await? })
    }

    /// Reads a delivery and explains it.
    ///
    /// # Errors
    /// Those of [`Acts::read`] and [`Acts::explain_kept`].
    pub async fn explain(&self, id: Uuid) -> Result<Explanation, Refused> {
        self.explain_kept(self.read(id).await?).await
    }

    /// Explains a delivery. The search for causes runs on a thread for blocking work, is bounded, and is one at a time.
    ///
    /// # Errors
    /// [`Refused::UnknownRoute`]; [`Refused::NoBody`] if its head is not kept, or if its body is not kept in full and its head
    /// alone does not decide.
    pub async fn explain_kept(&self, kept: Kept) -> Result<Explanation, Refused> {
        let Kept { stored, body, .. } = kept;
        if &*stored.delivery.route == NO_ROUTE {
            return Ok(without_route(&stored.delivery.path));
        }
        let route = self.route(&stored.delivery.route)?;
        let details = stored.delivery.details.decode().map_err(|_| Refused::NoBody)?;
        let recorded = Recorded::new(stored.delivery, details, body).ok_or(Refused::NoBody)?;
        let (routes, now) = ((self.routes)(), self.clock.now());
        let one_at_a_time = self.explaining.clone().lock_owned().await;
        let explained = tokio::task::spawn_blocking(move || {
            // Held until it is done, also if the caller has gone.
            let _one_at_a_time = one_at_a_time;
            explain(&route, &routes, &recorded, now)
        });
        let explained = explained.await;
        // A panic has been logged.
        explained.map_err(|_panicked| StoreError::Closed)?
    }
}

fn explain(
    route: &RouteShared,
    routes: &[Arc<RouteShared>],
    recorded: &Recorded,
    now: Instant,
) -> Result<Explanation, Refused> {
    let (info, payload) = (recorded.info(now), recorded.payload());
    let question = Question {
        route: &route.config,
        routes: routes.iter().map(|route| &route.config).collect(),
        head: Some(&recorded.head),
        body: recorded.body.as_ref(),
        received_at: recorded.received_at(),
    };
    let verdict = match judge(route, &info, payload.as_ref(), recorded.received_at()) {
        Verdict::Accepted(proven) => {
            let secret = proven.secret().and_then(|secret| route.config.secret_ids.get(secret));
            Explanation { accepted: true, secret_id: secret.cloned(), ..Explanation::default() }
        }
        Verdict::Challenge => Explanation { accepted: true, ..Explanation::default() },
        Verdict::NeedsBody => return Err(Refused::NoBody),
        Verdict::Refused(_) if recorded.lacks_its_proof(route) => return Err(Refused::NoBody),
        Verdict::Refused(reject) => refused(route, &question, reject),
    };
    let mut notes = question.notes();
    if recorded.body.is_none() {
        notes.push("the body is not kept: only the head was looked at".to_owned());
    }
    let proven = verdict.proven && recorded.body.is_some();
    Ok(Explanation { notes, proven, ..verdict })
}

/// Of a request that matched no route: nothing of it is kept but its path.
fn without_route(path: &str) -> Explanation {
    let reject = Reject::NoRoute;
    Explanation {
        reason: Some(reject.reason()),
        status: Some(reject.status(StatusCode::NOT_FOUND).as_u16()),
        title: reject.facts().title,
        causes: vec![format!("no route had the path {path} and the request's host when it came")],
        ..Explanation::default()
    }
}

fn refused(route: &RouteShared, question: &Question<'_>, reject: Reject) -> Explanation {
    let Why { mut causes, signature } = question.why(reject.reason(), &Effort::thorough());
    let is_of_signature = is_of_signature(reject.reason());
    let prefix = if is_of_signature { "" } else { "the signature is not right either: " };
    causes.extend(signature.causes.iter().map(|cause| format!("{prefix}{cause}")));
    Explanation {
        accepted: false,
        reason: Some(reject.reason()),
        status: Some(reject.status(route.config.reject_status).as_u16()),
        title: reject.facts().title,
        secret_id: None,
        proven: is_of_signature && signature.proven,
        causes,
        notes: Vec::new(),
        signed_at: signature.signed_at,
    }
}
