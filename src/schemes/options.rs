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
    /// Where the provider believes that it sends its deliveries, for schemes that sign this. One with a user name or a
    /// password is a secret: `public_url` of [`secrets`](Self::secrets).
    pub public_url: Option<String>,
    /// How far a signed time may be from the gateway's clock. The default is the scheme's own.
    pub tolerance: Option<Duration>,
    /// The most bytes of a body without its compression, for schemes that sign it so. The default is 1 MiB.
    pub max_uncompressed: Option<usize>,
    /// The texts that a scheme asks for beside.
    pub parameters: BTreeMap<String, String>,
    /// The secrets that a scheme's challenges ask for beside; and the public URL, if it is a secret.
    pub secrets: BTreeMap<String, Secret>,
    /// Whether the scheme's challenges are answered. The default is that they are, as far as the secrets that they are
    /// told by are there; `true` demands those.
    pub challenge: Option<bool>,
}

/// The name of the public URL among an options' secrets.
pub(super) const PUBLIC_URL: &str = "public_url";

impl SchemeOptions {
    /// The public URL, with its password if it has one.
    pub(super) fn public_url(&self) -> Option<&str> {
        let secret = self.secrets.get(PUBLIC_URL).map(|url| std::str::from_utf8(url.expose()).unwrap_or_default());
        secret.or(self.public_url.as_deref())
    }

    /// Whether this challenge of the scheme is answered: the route has what it is told by, and does not turn it off.
    pub fn answer(&self, challenge: &Challenge) -> bool {
        self.challenge != Some(false) && challenge.parameters().all(|name| self.secrets.contains_key(name))
    }
}
