//! `hooklatch check`: checks a configuration as `serve` does and prints one line for each route, which also says whether
//! the route answers challenges, and one for the store. Never prints a secret. Warnings about valid but unwise values go to stderr.

use std::path::Path;

use super::{Failure, load};

pub(super) fn run(path: &Path) -> Result<(), Failure> {
    let config = load(path)?;
    for warning in &config.warnings {
        errln!("warning: {warning}");
    }
    for route in &config.routes {
        let count = route.secret_ids.len();
        let secrets = if count == 1 { "secret" } else { "secrets" };
        let host = route.host.as_deref().unwrap_or_default();
        let challenges = if route.verifier.challenges().is_some() { "  answers challenges" } else { "" };
        let (name, path, scheme, upstream) = (&route.name, &route.path, &route.scheme.name, &route.upstream);
        outln!("{name}  {host}{path}  {scheme}  {count} {secrets}  {upstream}{challenges}");
    }
    if let Some(store) = &config.store {
        outln!("store  {}", store.path.display());
    }
    Ok(())
}
