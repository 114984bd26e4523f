//! What the senders say, held against what the upstreams saw and the gateway counted.

use std::collections::BTreeMap;

use super::ROUTES;
use super::traffic::{Fate, Sent};
use super::upstreams::{Manners, Upstream};
use crate::support::gateway::Metrics;

/// Deliveries by how they ended, as the gateway counts them; and those that it need not have seen.
#[derive(Default)]
struct Tally {
    forwarded: u64,
    upstream_error: u64,
    rejected: BTreeMap<String, u64>,
    unknown: u64,
    /// Came to the upstream twice.
    twice: u64,
}

/// A table.
///
/// # Panics
/// When the accounts differ.
pub fn account(sent: &[Sent], upstreams: &[Upstream], metrics: &Metrics) -> String {
    let mut table = String::new();
    for ((route, manners), upstream) in ROUTES.iter().zip(upstreams) {
        assert_eq!(upstream.complaints(), [""; 0], "{route}");
        let mut book = upstream.book();
        let mut tally = Tally::default();
        for delivery in sent.iter().filter(|delivery| delivery.route == *route) {
            let Sent { number, fate, .. } = delivery;
            let came = book.remove(number).unwrap_or(0);
            let possible = match (fate, manners) {
                (Fate::Refused(_) | Fate::Broken, _) => 0..=0,
                (Fate::Accepted, Manners::Steady | Manners::Slow) => 1..=1,
                (Fate::Accepted, _) => 1..=2,
                (Fate::Unknown, _) => 0..=1,
                (Fate::Lost(_), Manners::Rude) => 0..=2,
                (Fate::Lost(reason), _) => panic!("{route}: {number} is lost: {reason}"),
            };
            assert!(possible.contains(&came), "{route}: {number} is {fate:?} and came {came} times");
            tally.add(fate, came);
        }
        assert!(book.is_empty(), "{route}: nobody sent {:?}", book.keys().take(5).collect::<Vec<_>>());
        tally.agrees_on_resends(route, *manners, metrics);
        if tally.unknown == 0 {
            tally.agrees(route, metrics);
        }
        table += &tally.row(route);
    }
    let mut unmatched = Tally::default();
    sent.iter().filter(|delivery| delivery.route == "none").for_each(|delivery| unmatched.add(&delivery.fate, 0));
    // What vandals send may be no HTTP either.
    let counted = |reason| rejections(metrics, "none").get(reason).copied().unwrap_or(0);
    assert_eq!(unmatched.rejected["no_route"], counted("no_route"));
    assert!(unmatched.rejected["bad_request"] <= counted("bad_request"));
    table + &unmatched.row("none")
}

impl Tally {
    fn add(&mut self, fate: &Fate, came: u32) {
        match fate {
            Fate::Accepted => self.forwarded += 1,
            Fate::Lost(_) => self.upstream_error += 1,
            Fate::Refused(reason) => *self.rejected.entry(reason.clone()).or_default() += 1,
            Fate::Broken | Fate::Unknown => self.unknown += 1,
        }
        self.twice += u64::from(came == 2);
    }

    /// What the gateway sent again came twice; but for rude handlers, which may have closed before they read it.
    fn agrees_on_resends(&self, route: &str, manners: Manners, metrics: &Metrics) {
        let resends = metrics.get("hooklatch_upstream_resends_total", &[("route", route)]) as u64;
        match manners {
            Manners::Steady | Manners::Slow | Manners::Swallowing => assert_eq!(self.twice, resends, "{route}"),
            Manners::Rude => assert!(self.twice <= resends, "{route}: {} came twice, {resends} re-sent", self.twice),
        }
    }

    /// The counters of a route say the same.
    fn agrees(&self, route: &str, metrics: &Metrics) {
        let rejected: u64 = self.rejected.values().sum();
        let outcomes = [("forwarded", self.forwarded), ("rejected", rejected), ("upstream_error", self.upstream_error)];
        for (outcome, count) in outcomes {
            let counted: f64 = series(metrics, "hooklatch_requests_total", route)
                .filter(|(series, _)| series.contains(&format!("outcome=\"{outcome}\"")))
                .map(|(_, value)| value)
                .sum();
            assert_eq!(count, counted as u64, "{route}: {outcome}");
        }
        assert_eq!(self.rejected, rejections(metrics, route), "{route}");
    }

    fn row(&self, route: &str) -> String {
        let Self { forwarded, upstream_error, rejected, unknown, twice } = self;
        format!(
            "{route:<11} forwarded {forwarded}, of these twice {twice}; upstream_error {upstream_error}; \
             broken off {unknown}; rejected {rejected:?}\n"
        )
    }
}

/// Refusals of a route by reason, where there were any.
fn rejections(metrics: &Metrics, route: &str) -> BTreeMap<String, u64> {
    let counted = series(metrics, "hooklatch_rejections_total", route).filter(|(_, value)| *value > 0.0);
    counted
        .filter_map(|(series, value)| {
            let (reason, _) = series.split_once("reason=\"")?.1.split_once('"')?;
            Some((reason.to_owned(), value as u64))
        })
        .collect()
}

/// The series of a family that belong to a route.
fn series(metrics: &Metrics, family: &str, route: &str) -> impl Iterator<Item = (String, f64)> {
    let (family, route) = (format!("{family}{{"), format!("route=\"{route}\""));
    let all = metrics.all().iter().filter(move |(series, _)| series.starts_with(&family) && series.contains(&route));
    all.map(|(series, value)| (series.clone(), *value))
}
