//! Replaces the running configuration by a newly loaded one, or reports why that is impossible.
//!
//! Refuses to change a key that only a restart can change; [`View`] lists these keys. The new generation is built completely
//! before it replaces the old one, so a failed reload changes nothing but the log and a counter.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use super::generation::Generation;
use crate::clock::Clock;
use crate::config::{self, Config, ConfigError, LoadError, View};
use crate::metrics::Metrics;

/// The difference between two configurations, as names.
#[derive(Debug, Default, PartialEq, Eq)]
struct Difference {
    /// Changed keys outside of the routes.
    keys: Vec<String>,
    /// Routes that only the new configuration has.
    added: Vec<String>,
    /// Routes that only the old configuration has.
    removed: Vec<String>,
    /// Routes in both configurations, each with its changed keys.
    changed: Vec<String>,
    /// Added, removed and replaced secrets, each as `ROUTE/ID` and the change.
    secrets: Vec<String>,
    /// Replaced secrets, as pairs of route and id.
    replaced: Vec<(String, String)>,
}

/// Builds the generation of a loaded configuration.
///
/// # Errors
/// Every error of the configuration.
pub(super) fn prepare(
    running: &Generation,
    loaded: Result<Config, LoadError>,
    metrics: &Metrics,
) -> Result<Arc<Generation>, Vec<ConfigError>> {
    let config = loaded.map_err(|error| failures(&error))?;
    build(running, config, metrics).map(Arc::new)
}

/// Counts and logs that `after` has replaced `before`.
pub(super) fn succeeded(before: &Generation, after: &Generation, metrics: &Metrics, clock: &Clock) {
    let difference = Difference::between(before, after);
    after.drop_other_series(metrics);
    after.show(metrics);
    for (route, secret) in &difference.replaced {
        metrics.secret_replaced(route, secret);
    }
    metrics.reloaded(clock.unix().as_secs_f64());
    difference.log();
}

/// Counts and logs that `running` stays because of `errors`.
pub(super) fn failed(running: &Generation, errors: &[ConfigError], metrics: &Metrics) {
    running.drop_other_series(metrics);
    metrics.reload_failed();
    for ConfigError { path, message, line, route, found } in errors {
        let at = (!path.is_empty()).then_some(path);
        tracing::error!(at, error = message, line, route, found, "error in the configuration");
    }
    tracing::error!(errors = errors.len(), "the configuration was not reloaded: what ran goes on");
}

fn failures(error: &LoadError) -> Vec<ConfigError> {
    match error {
        LoadError::Unreadable { .. } => vec![ConfigError::new("", error.to_string())],
        LoadError::Invalid { errors } => errors.clone(),
    }
}

fn build(running: &Generation, config: Config, metrics: &Metrics) -> Result<Generation, Vec<ConfigError>> {
    let fixed = running.view.changed_at_start_only(&View::of(&config)).into_iter();
    let errors: Vec<_> = fixed.map(|path| ConfigError::new(path, "cannot change without a restart")).collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    let failed = |error: io::Error| vec![ConfigError::new("", error.to_string())];
    let warnings = config.warnings.clone();
    let next = Generation::new(config, Some(running), metrics).map_err(failed)?;
    super::warn_of(&warnings);
    Ok(next)
}

impl Difference {
    fn between(before: &Generation, after: &Generation) -> Self {
        let mut difference = Self { keys: before.view.changed_keys(&after.view), ..Self::default() };
        let (old, new) = (before.by_name(), after.by_name());
        let names: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
        for name in names {
            match (old.get(name), new.get(name)) {
                (Some(old), Some(new)) => {
                    let keys = before.view.changed_keys_of_route(&after.view, name);
                    if !keys.is_empty() {
                        difference.changed.push(format!("{name} ({})", keys.join(", ")));
                    }
                    difference.compare_secrets(name, old, new);
                }
                (None, _) => difference.added.push(name.to_owned()),
                (_, None) => difference.removed.push(name.to_owned()),
            }
        }
        difference
    }

    fn compare_secrets(&mut self, route: &str, old: &config::Route, new: &config::Route) {
        let marks = |route: &config::Route| -> BTreeMap<String, _> {
            route.secret_ids.iter().cloned().zip(route.secret_marks.iter().copied()).collect()
        };
        let (old, new) = (marks(old), marks(new));
        let ids: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for id in ids {
            let what = match (old.get(id), new.get(id)) {
                (Some(old), Some(new)) if old == new => continue,
                (Some(_), Some(_)) => {
                    self.replaced.push((route.to_owned(), id.clone()));
                    "replaced"
                }
                (None, _) => "added",
                (_, None) => "removed",
            };
            self.secrets.push(format!("{route}/{id} {what}"));
        }
    }

    fn log(&self) {
        let list = |items: &[String]| (!items.is_empty()).then(|| items.join(", "));
        tracing::info!(
            routes_added = list(&self.added),
            routes_removed = list(&self.removed),
            routes_changed = list(&self.changed),
            secrets = list(&self.secrets),
            keys = list(&self.keys),
            unchanged = (*self == Self::default()).then_some(true),
            "configuration reloaded"
        );
    }
}
