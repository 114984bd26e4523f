//! From a scheme's words to the ways in which a delivery may be signed: usually one. Where a provider has several, each
//! entry of `ways` takes the words at the top of the file and replaces some of them.

use super::faults::{SpecError, fault};
use super::scheme::Spec;
use super::way::{Override, Way};

impl Spec {
    /// The ways, complete.
    pub(super) fn resolve(&self) -> Result<Vec<Way>, SpecError> {
        let own = Override {
            signature: self.signature.clone(),
            algorithm: self.algorithm.clone(),
            secret: self.secret.clone(),
            timestamp: self.timestamp.clone(),
            forms: self.forms.clone(),
            event_id: self.event_id.as_ref().map(|fact| fact.place.clone()),
        };
        if self.unsupported.is_some() {
            let silent = own.signature.is_none() && own.algorithm.is_none() && own.secret.is_none();
            let silent = silent && own.timestamp.is_none() && own.forms.is_none() && self.overrides.is_empty();
            return match silent {
                true => Ok(Vec::new()),
                false => Err(fault("unsupported", "a scheme that cannot be verified has no words about signatures")),
            };
        }
        if self.overrides.is_empty() {
            return Ok(vec![own.complete(&Override::NONE, "")?]);
        }
        let ways = self.overrides.iter().enumerate();
        ways.map(|(position, way)| way.complete(&own, &format!("ways[{position}]."))).collect()
    }
}
