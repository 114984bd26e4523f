//! Removes the series of routes, schemes and secrets that a reload has taken out of the configuration. All other series
//! keep their values.

use std::collections::{BTreeMap, BTreeSet};

use super::deliveries::DUPLICATES;
use super::families::Labels;
use super::queue::QUEUE_PREFIX;
use super::{Metrics, NO_ROUTE, RouteKind};
use crate::reject::Outcome;

/// The label values that a route's configuration makes possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteLabels<'a> {
    /// The name of the route's scheme.
    pub scheme: &'a str,
    /// The ids of the route's secrets.
    pub secrets: &'a [String],
    /// The reasons for which the route can refuse a delivery.
    pub reasons: Vec<&'static str>,
    /// What the route does beside forwarding.
    pub kind: RouteKind,
    /// The route's upstreams, if it has several.
    pub upstreams: Vec<String>,
}

impl Metrics {
    /// Removes every series whose labels do not belong to one of `routes`, by name.
    pub fn retain(&self, routes: &BTreeMap<&str, RouteLabels<'_>>) {
        let schemes: BTreeSet<&str> = routes.values().map(|route| route.scheme).collect();
        self.families.retain(|family, labels| match labels.get("route") {
            Some(&NO_ROUTE) => true,
            Some(name) => {
                let has = |route: &RouteLabels<'_>| {
                    route.has(labels)
                        && (route.kind.queue || !family.starts_with(QUEUE_PREFIX))
                        && (route.kind.dedupe || family != DUPLICATES)
                };
                routes.get(name).is_some_and(has)
            }
            None => labels.get("scheme").is_none_or(|scheme| schemes.contains(scheme)),
        });
    }
}

impl RouteLabels<'_> {
    /// Whether a series with these labels belongs to the route. Labels of other names may have any value.
    fn has(&self, labels: &Labels<'_>) -> bool {
        labels.iter().all(|(label, value)| match *label {
            "scheme" => *value == self.scheme,
            "secret" => self.secrets.iter().any(|id| id == value),
            "upstream" => self.upstreams.iter().any(|upstream| upstream == value),
            "reason" => self.reasons.contains(value),
            "outcome" => {
                let mut possible = Outcome::ALL.into_iter().filter(|outcome| self.kind.allows(*outcome));
                possible.any(|outcome| outcome.as_str() == *value)
            }
            _ => true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reject::Reject;
    use crate::schemes::VerifyError;

    const REASONS: [Reject; 2] = [Reject::BadRequest, Reject::Signature(VerifyError::MissingSignature)];

    fn labels<'a>(scheme: &'a str, secrets: &'a [String], reasons: &[Reject]) -> RouteLabels<'a> {
        let reasons = reasons.iter().map(|reject| reject.reason()).collect();
        RouteLabels { scheme, secrets, reasons, kind: RouteKind::default(), upstreams: Vec::new() }
    }

    fn series(metrics: &Metrics) -> Vec<String> {
        let text = String::from_utf8(metrics.encode().unwrap()).unwrap();
        text.lines().filter(|line| line.starts_with("hooklatch_")).map(str::to_owned).collect()
    }

    #[test]
    fn what_stays_keeps_its_value_and_what_went_is_gone() {
        let metrics = Metrics::new(0.0).unwrap();
        let ids = ["a".to_owned(), "b".to_owned()];
        let stays = metrics.route("stays", "civo", &ids, &REASONS, RouteKind::default());
        metrics.route("goes", "icr", &ids, &REASONS, RouteKind::default());
        metrics.unmatched();
        stays.observe.delivery(Outcome::Forwarded, 0.1);

        metrics.retain(&BTreeMap::from([("stays", labels("civo", &ids, &REASONS))]));

        let series = series(&metrics);
        assert!(!series.iter().any(|line| line.contains("goes") || line.contains("icr")), "{series:#?}");
        let kept = r#"hooklatch_requests_total{outcome="forwarded",route="stays",scheme="civo"} 1"#;
        assert!(series.iter().any(|line| line == kept), "{series:#?}");
        assert!(series.iter().any(|line| line.contains(r#"route="none""#)));
        stays.observe.delivery(Outcome::Forwarded, 0.1);
        assert!(super::tests::series(&metrics).iter().any(|line| line.ends_with("scheme=\"civo\"} 2")));
    }

    #[test]
    fn a_route_that_changes_loses_what_it_no_longer_has() {
        let metrics = Metrics::new(0.0).unwrap();
        let ids = ["a".to_owned(), "b".to_owned()];
        metrics.route("r", "icr", &ids, &REASONS, RouteKind { challenges: true, ..RouteKind::default() });
        metrics.route("r", "civo", &ids[..1], &REASONS[..1], RouteKind::default());

        metrics.retain(&BTreeMap::from([("r", labels("civo", &ids[..1], &REASONS[..1]))]));

        let series = series(&metrics);
        for gone in ["icr", r#"secret="b""#, "missing_signature", r#"outcome="challenge""#] {
            assert!(!series.iter().any(|line| line.contains(gone)), "{gone}: {series:#?}");
        }
        for stays in [r#"secret="a""#, r#"reason="bad_request""#, "hooklatch_upstream_resends_total"] {
            assert!(series.iter().any(|line| line.contains(stays)), "{stays}: {series:#?}");
        }
    }
}
