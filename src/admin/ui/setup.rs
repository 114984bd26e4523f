//! What to enter at the provider of a route, from its scheme.

use crate::config::{PathPattern, Route};
use crate::schemes::spec::SecretFrom;

/// What to enter, and what to know.
#[derive(Debug)]
pub struct Setup {
    /// The route.
    pub route: String,
    /// The provider.
    pub provider: String,
    /// The URL: the one that the route has as its public URL. Otherwise its host and the way to it may not be known here.
    pub url: String,
    /// Where URL and secret are entered, or the secret is shown; empty if that is not known.
    pub place: String,
    /// Who makes the secret.
    pub secret: String,
    /// Where the signature stands.
    pub signature: String,
    /// How it is made.
    pub algorithm: String,
    /// What it covers.
    pub covers: String,
    /// Where the provider's id of the event stands.
    pub event_id: String,
    /// How long the provider waits.
    pub deadline: String,
    /// When it sends again; empty if that is not known.
    pub retries: String,
    /// Values that the route needs beside the secret.
    pub parameters: Vec<(String, String)>,
    /// Whether the provider asks a question first.
    pub has_challenge: bool,
    /// Peculiarities.
    pub notes: Vec<String>,
    /// The provider's own pages.
    pub documentation: Vec<String>,
}

impl Setup {
    /// That of a route.
    pub fn of(route: &Route) -> Self {
        let scheme = &route.scheme;
        let host = route.host.as_deref().unwrap_or("YOUR-HOST");
        let path = match &route.path {
            PathPattern::Exact(path) => path.clone(),
            PathPattern::Prefix(path) => format!("{path}…"),
        };
        let parameters = scheme.parameters.iter();
        let provider = if scheme.title.is_empty() { scheme.name.clone() } else { scheme.title.clone() };
        Self {
            route: route.name.clone(),
            place: scheme.setup.clone().unwrap_or_default(),
            secret: match scheme.secret_from {
                SecretFrom::User => format!("you make it, and enter it at {provider}"),
                SecretFrom::Provider => format!("{provider} makes it"),
            },
            provider,
            url: route.scheme_options.public_url.clone().unwrap_or_else(|| format!("https://{host}{path}")),
            signature: scheme.signature_in_words().replace('`', ""),
            algorithm: scheme.algorithm_in_words(),
            covers: scheme.covers_in_words().replace('`', ""),
            event_id: scheme.event_id_in_words().replace('`', ""),
            deadline: scheme.deadline_in_words(),
            retries: scheme.retries.clone().unwrap_or_default(),
            parameters: parameters.map(|parameter| (parameter.name.clone(), parameter.description.clone())).collect(),
            has_challenge: scheme.has_challenge(),
            notes: scheme.notes.clone(),
            documentation: scheme.documentation.clone(),
        }
    }
}
