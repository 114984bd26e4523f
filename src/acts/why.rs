//! Why a route refuses a request, in sentences for its operator. They are not meant for a sender.

use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::request::Parts;

use crate::config::units::display_size;
use crate::config::{PathPattern, Route};
use crate::reject::Reject;
use crate::schemes::diagnose::{Diagnosis, Effort, Suspect, diagnose, diagnose_head};
use crate::schemes::{RequestHead, SignedRequest, VerifyError};

/// The question why a route refuses a request.
pub struct Question<'a> {
    /// The route.
    pub route: &'a Route,
    /// All routes: a delivery may be signed with the secret of another one.
    pub routes: Vec<&'a Route>,
    /// The request's head; `None` if it is not HTTP.
    pub head: Option<&'a Parts>,
    /// The request's body; `None` if it is not known.
    pub body: Option<&'a Bytes>,
    /// When it was received, since 1970-01-01T00:00:00Z.
    pub received_at: Duration,
}

/// Why a request is refused.
pub struct Why {
    /// Causes of a refusal that is not for the signature; empty if nothing is known beside its name.
    pub causes: Vec<String>,
    /// What is wrong with the signature, which may not be what the request is refused for.
    pub signature: Diagnosis,
}

impl Question<'_> {
    /// Why a request is refused for the reason of this name. `effort` bounds the search.
    pub fn why(&self, reason: &str, effort: &Effort) -> Why {
        let causes = match reason {
            reason if reason == Reject::NoRoute.reason() => self.place().into_iter().collect(),
            reason if reason == Reject::MethodNotAllowed.reason() => {
                let methods: Vec<&str> = self.route.methods.iter().map(http::Method::as_str).collect();
                vec![format!("the route takes {}", methods.join(", "))]
            }
            reason if reason == Reject::BodyTooLarge.reason() => {
                let most = display_size(self.route.max_body);
                vec![match self.body {
                    Some(body) => format!("the body has {} bytes, and the route's max_body is {most}", body.len()),
                    None => format!("the route's max_body is {most}"),
                }]
            }
            _ => Vec::new(),
        };
        Why { causes, signature: self.diagnosis(effort) }
    }

    /// How the request's path or host differs from the route's, if it does.
    pub fn place(&self) -> Option<String> {
        let head = self.head?;
        let path = head.uri.path();
        let fits = match &self.route.path {
            PathPattern::Exact(own) => path == own,
            PathPattern::Prefix(own) => path.starts_with(own),
        };
        if !fits {
            return Some(format!("the request's path is {path}, and the route's is {}", self.route.path));
        }
        let own = self.route.host.as_ref()?;
        let host = head.headers.get(HOST).map(|host| String::from_utf8_lossy(host.as_bytes()));
        Some(format!("the request is for the host {}, and the route for {own}", host.unwrap_or_default()))
    }

    /// What is wrong with the signature.
    pub fn diagnosis(&self, effort: &Effort) -> Diagnosis {
        let Some(head) = self.head else { return Diagnosis::default() };
        let others = self.routes.iter().filter(|other| other.name != self.route.name);
        let others: Vec<Suspect<'_>> = others.map(|other| other.suspect()).collect();
        let head = RequestHead::of(head);
        let Some(body) = self.body else { return diagnose_head(self.route.suspect(), head, self.received_at) };
        let body = [body.clone()];
        let request = SignedRequest { head, body: &body };
        diagnose(self.route.suspect(), &others, &request, self.received_at, effort)
    }

    /// What the verdict does not cover.
    pub fn notes(&self) -> Vec<String> {
        let not_enforced = (!self.route.enforce).then_some(
            "enforce is false on this route: what is refused here is forwarded all the same, marked \
             Hooklatch-Verified: false",
        );
        not_enforced.into_iter().map(str::to_owned).collect()
    }
}

/// Whether a request that is refused for the reason of this name is refused for its signature.
pub fn is_of_signature(reason: &str) -> bool {
    serde_json::from_value::<VerifyError>(reason.into()).is_ok()
}
