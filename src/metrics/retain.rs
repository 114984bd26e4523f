//! Drops the series of what a reload took out of the configuration; all others keep their values.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};

use super::{Metrics, NO_ROUTE, Outcome, RouteKind};

/// The label values that a route's configuration makes possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteLabels<'a> {
    /// Its scheme's name.
    pub scheme: &'a str,
    /// The ids of its secrets.
    pub secrets: &'a [String],
    /// The reasons for which it can refuse.
    pub reasons: Vec<&'static str>,
    /// What it does beside forwarding.
    pub kind: RouteKind,
}

impl Metrics {
    /// Drops every series that none of `routes`, by name, has any longer.
    pub fn retain(&self, routes: &BTreeMap<&str, RouteLabels<'_>>) {
        let schemes: BTreeSet<&str> = routes.values().map(|route| route.scheme).collect();
        let live = |labels: &BTreeMap<&str, &str>| match labels.get("route") {
            Some(&NO_ROUTE) => true,
            Some(name) => routes.get(name).is_some_and(|route| {
                let has =
                    |label, possible: &dyn Fn(&str) -> bool| labels.get(label).is_none_or(|value| possible(value));
                let outcome = |name: &str| Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == name);
                has("scheme", &|scheme| scheme == route.scheme)
                    && has("outcome", &|name| outcome(name).is_some_and(|outcome| route.kind.allows(outcome)))
                    && has("secret", &|secret| route.secrets.iter().any(|id| id == secret))
                    && has("reason", &|reason| route.reasons.contains(&reason))
            }),
            None => labels.get("scheme").is_none_or(|scheme| schemes.contains(scheme)),
        };
        retain(&self.requests, live);
        retain(&self.rejections, live);
        retain(&self.request_duration, live);
        retain(&self.verification_duration, live);
        retain(&self.body_bytes, live);
        retain(&self.upstream_responses, live);
        retain(&self.upstream_resends, live);
        retain(&self.upstream_duration, live);
        retain(&self.secret_last_match, live);
        let has_queue = |labels: &BTreeMap<&str, &str>| {
            labels.get("route").and_then(|name| routes.get(name)).is_some_and(|route| route.kind.queue)
        };
        self.queue.retain(|labels| live(labels) && has_queue(labels));
    }
}

/// Drops the series of one family whose labels are not live.
pub(super) fn retain<B: MetricVecBuilder>(family: &MetricVec<B>, live: impl Fn(&BTreeMap<&str, &str>) -> bool) {
    for collected in family.collect() {
        for metric in collected.get_metric() {
            let labels: BTreeMap<&str, &str> =
                metric.get_label().iter().map(|label| (label.name(), label.value())).collect();
            if !live(&labels) {
                // An error means that it has gone already.
                let _ = family.remove(&labels.into_iter().collect::<HashMap<_, _>>());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reject::Outcome;
    use crate::reject::Reject;
    use crate::schemes::VerifyError;

    const REASONS: [Reject; 2] = [Reject::BadRequest, Reject::Signature(VerifyError::MissingSignature)];

    fn labels<'a>(scheme: &'a str, secrets: &'a [String], reasons: &[Reject]) -> RouteLabels<'a> {
        let reasons = reasons.iter().map(|reject| reject.reason()).collect();
        RouteLabels { scheme, secrets, reasons, kind: RouteKind::default() }
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
