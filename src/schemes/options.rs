//! What a route chooses within its scheme.

use std::collections::BTreeMap;
use std::time::Duration;

use super::secret::Secret;
use super::spec::Challenge;

/// A route's choices within its scheme. An option that is not set has its safe default.
#[derive(Clone, Debug, Default)]
pub struct SchemeOptions {
    /// Which form of signed content to accept: `auto`, the default, for any, or the name of one.
    pub signed_content: Option<String>,
    /// Whether the body must equal its signed payload. The default is that it must.
    pub match_payload: Option<bool>,
    /// Where the provider believes that it sends its deliveries, for schemes that sign this.
    pub public_url: Option<String>,
    /// How far a signed time may be from the gateway's clock. The default is the scheme's own.
    pub tolerance: Option<Duration>,
    /// The texts that a scheme asks for beside.
    pub parameters: BTreeMap<String, String>,
    /// The secrets that a scheme's challenges ask for beside.
    pub secrets: BTreeMap<String, Secret>,
    /// Whether the scheme's challenges are answered. The default is that they are, as far as the secrets that they are
    /// told by are there; `true` demands those.
    pub challenge: Option<bool>,
}

impl SchemeOptions {
    /// Whether this challenge of the scheme is answered: the route has what it is told by, and does not turn it off.
    pub fn answer(&self, challenge: &Challenge) -> bool {
        self.challenge != Some(false) && challenge.parameters().all(|name| self.secrets.contains_key(name))
    }
}
