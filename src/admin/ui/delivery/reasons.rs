//! Why a delivery was refused, in the words of `hooklatch explain`.

use std::time::Duration;

use super::parts::is_unread;
use crate::acts::Refused;
use crate::acts::explain::{Explanation, Kept};
use crate::admin::AdminContext;
use crate::admin::api::detail::Found;
use crate::admin::problem::Problem;
use crate::admin::ui::view::{Time, shown};
use crate::routing::table::RouteShared;
use crate::store::{Shown, State};

/// How long a page waits for the causes of a refusal, unless a person has asked for them.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// Why it was refused.
pub enum Why {
    /// It was not verified, and the check was not asked for.
    NotAsked,
    /// The verdict of now.
    Explained(Box<Explained>),
    /// It takes long to find out.
    Long,
    /// What would be looked at is not kept, or was not even read.
    NotKept { unread: bool },
    /// It cannot be found out, for this reason.
    Not(String),
}

pub struct Explained {
    pub is_accepted: bool,
    /// The refusal of now in a sentence; empty if there is none.
    pub title: &'static str,
    pub heading: String,
    pub is_proven: bool,
    pub causes: Vec<String>,
    pub notes: Vec<String>,
    pub signed_at: Option<Time>,
}

/// Finds it out: for a refused delivery, and for any if a person has `asked`.
///
/// `kept` is the delivery as it was read, and `found` what may be shown of it.
///
/// # Errors
/// 503.
pub async fn why(context: &AdminContext, kept: Kept, found: &Found, asked: bool) -> Result<Why, Problem> {
    let is_refused = found.stored.shown == Shown::Settled(State::Refused);
    if !is_refused && !asked {
        return Ok(Why::NotAsked);
    }
    let explaining = context.acts.explain_kept(kept);
    let explained = match asked {
        true => explaining.await,
        false => match tokio::time::timeout(PATIENCE, explaining).await {
            Ok(explained) => explained,
            Err(_) => return Ok(Why::Long),
        },
    };
    match explained {
        Ok(explanation) => Ok(Why::Explained(Box::new(Explained::of(explanation)))),
        Err(Refused::NoBody) => Ok(Why::NotKept { unread: is_unread(found) }),
        Err(refused @ (Refused::UnknownRoute | Refused::NotVerified)) => Ok(Why::Not(refused.to_string())),
        Err(refused) => Err(refused.into()),
    }
}

impl Why {
    /// Whether there is something to say.
    pub fn was_asked(&self) -> bool {
        !matches!(self, Self::NotAsked)
    }

    /// The route of which a capture would help: its bodies are not kept, or it refuses by the head, before it reads one.
    pub fn capture(&self, found: &Found, route: Option<&RouteShared>) -> Option<String> {
        let would_help = match self {
            Self::NotKept { .. } => true,
            Self::Explained(explained) => !explained.is_accepted && is_unread(found),
            Self::NotAsked | Self::Long | Self::Not(_) => false,
        };
        route.filter(|_| would_help).map(|route| route.config.name.clone())
    }

    /// Whether it says more than the name of the refusal.
    pub fn has_causes(&self) -> bool {
        matches!(self, Self::Explained(explained) if !explained.causes.is_empty())
    }
}

impl Explained {
    fn of(explanation: Explanation) -> Self {
        let Explanation { accepted, reason, status, title, secret_id, proven, causes, notes, signed_at } = explanation;
        let heading = match (accepted, secret_id) {
            (true, Some(secret)) => format!("It verifies now, with the secret {}.", shown(&secret)),
            (true, None) => "It would be let in now.".to_owned(),
            (false, _) => {
                format!(
                    "{}: {title}",
                    [reason.map(str::to_owned), status.map(|status| format!("({status})"))]
                        .into_iter()
                        .flatten()
                        .collect::<Vec<_>>()
                        .join(" ")
                )
            }
        };
        let signed_at = signed_at.and_then(|seconds| i64::try_from(seconds).ok()?.checked_mul(1000)).map(Time::of);
        Self {
            is_accepted: accepted,
            title,
            heading,
            is_proven: proven,
            causes: causes.iter().map(|cause| shown(cause)).collect(),
            notes: notes.iter().map(|note| shown(note)).collect(),
            signed_at,
        }
    }
}
