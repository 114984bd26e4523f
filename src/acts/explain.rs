//! Whether the gateway would accept a recorded delivery, and if not, why: by the secrets of now and the time of receipt.

use uuid::Uuid;

use super::{Acts, Refused};

/// The gateway's verdict on a delivery, and the reasons behind it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Explanation {
    /// Whether the route would accept it.
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

impl Acts {
    /// Explains a delivery. The search for causes runs on a thread for blocking work, and is bounded.
    ///
    /// # Errors
    /// [`Refused::NotFound`], [`Refused::Gone`], [`Refused::UnknownRoute`]; [`Refused::NoBody`] if its head or body is not
    /// kept in full; [`Refused::Store`].
    pub async fn explain(&self, id: Uuid) -> Result<Explanation, Refused> {
        let found = self.queue.store.get(id).await?;
        if found.is_none() {
            return Err(self.missing(id));
        }
        Err(Refused::NoBody)
    }
}
