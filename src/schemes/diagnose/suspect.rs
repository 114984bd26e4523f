//! A route that a delivery is compared with.

use std::time::Duration;

use crate::schemes::error::VerifyError;
use crate::schemes::options::SchemeOptions;
use crate::schemes::request::{RequestHead, SignedRequest};
use crate::schemes::secret::Secret;
use crate::schemes::spec::Spec;
use crate::schemes::verifier::Verifier;

/// The parts of a route that signatures depend on.
#[derive(Clone, Copy, Debug)]
pub struct Suspect<'a> {
    /// Its name.
    pub route: &'a str,
    /// Its scheme.
    pub spec: &'a Spec,
    /// Its scheme's options.
    pub options: &'a SchemeOptions,
    /// Its secrets.
    pub secrets: &'a [Secret],
    /// The labels of the secrets, in the same order.
    pub ids: &'a [String],
}

impl Suspect<'_> {
    /// The gateway's own verdict, with another tolerance if one is given.
    pub(super) fn judge(
        &self,
        request: &SignedRequest<'_>,
        now: Duration,
        tolerance: Option<Duration>,
    ) -> Result<(), VerifyError> {
        let verifier = self.verifier(tolerance)?;
        let claim = verifier.inspect(request.head, now)?;
        verifier.verify(&claim, request, now).map(|_| ())
    }

    /// The same of a head alone.
    pub(super) fn inspect(
        &self,
        head: RequestHead<'_>,
        now: Duration,
        tolerance: Option<Duration>,
    ) -> Result<(), VerifyError> {
        self.verifier(tolerance)?.inspect(head, now).map(|_| ())
    }

    fn verifier(&self, tolerance: Option<Duration>) -> Result<Verifier, VerifyError> {
        let options = SchemeOptions { tolerance: tolerance.or(self.options.tolerance), ..self.options.clone() };
        // Cannot fail for a route that has been loaded.
        self.spec.compile(&options, self.secrets).map_err(|_| VerifyError::SignatureMismatch)
    }
}
