//! Registers metric families, and removes the series that a reload has made obsolete.
//!
//! Every family with labels is made here, so [`Families::retain`] reaches all of them.

use std::collections::{BTreeMap, HashMap};

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// The families of a registry.
#[derive(Default)]
pub(super) struct Families {
    registry: Registry,
    /// Every family with labels.
    labelled: Vec<Box<dyn Labelled>>,
}

/// The labels of a series, by name.
pub(super) type Labels<'a> = BTreeMap<&'a str, &'a str>;

/// Whether a series belongs to the configuration, by the name of its family and its labels.
pub(super) type IsLive<'a> = &'a dyn Fn(&str, &Labels<'_>) -> bool;

/// A family with labels.
trait Labelled: Send + Sync {
    /// Removes the series whose labels are not live.
    fn retain(&self, is_live: IsLive<'_>);
}

impl Families {
    /// Registers a family of counters.
    pub(super) fn counters(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        self.labelled(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    /// Registers a family of histograms.
    pub(super) fn histograms(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> Result<HistogramVec, prometheus::Error> {
        self.labelled(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?)
    }

    /// Registers a family of gauges.
    pub(super) fn gauges(&mut self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, prometheus::Error> {
        self.labelled(GaugeVec::new(Opts::new(name, help), labels)?)
    }

    /// Registers a family of gauges of whole numbers.
    pub(super) fn int_gauges(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, prometheus::Error> {
        self.labelled(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    /// Registers a gauge of whole numbers, without labels.
    pub(super) fn int_gauge(&mut self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.register(IntGauge::new(name, help)?)
    }

    /// Registers a gauge without labels.
    pub(super) fn gauge(&mut self, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
        self.register(Gauge::new(name, help)?)
    }

    /// Registers a collector whose series do not depend on the configuration.
    pub(super) fn register<C: Collector + Clone + 'static>(&mut self, collector: C) -> Result<C, prometheus::Error> {
        self.registry.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    /// The registry of all families.
    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Removes the series of all families whose labels are not live.
    pub(super) fn retain(&self, is_live: impl Fn(&str, &Labels<'_>) -> bool) {
        for family in &self.labelled {
            family.retain(&is_live);
        }
    }

    fn labelled<B>(&mut self, family: MetricVec<B>) -> Result<MetricVec<B>, prometheus::Error>
    where
        B: MetricVecBuilder + Clone + 'static,
    {
        self.labelled.push(Box::new(family.clone()));
        self.register(family)
    }
}

impl<B: MetricVecBuilder> Labelled for MetricVec<B> {
    fn retain(&self, is_live: IsLive<'_>) {
        retain(self, is_live);
    }
}

/// Removes the series of one family whose labels are not live.
pub(super) fn retain<B: MetricVecBuilder>(family: &MetricVec<B>, is_live: IsLive<'_>) {
    for collected in family.collect() {
        for metric in collected.get_metric() {
            let labels: Labels<'_> = metric.get_label().iter().map(|label| (label.name(), label.value())).collect();
            if !is_live(collected.name(), &labels) {
                // An error means that the series has been removed already.
                let _ = family.remove(&labels.into_iter().collect::<HashMap<_, _>>());
            }
        }
    }
}
