//! `process_*`, as Prometheus' libraries name them
//! (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>).
//!
//! The collector of the `prometheus` crate reads /proc, which Linux alone has. It cuts CPU time to whole seconds. An idle gateway
//! takes minutes to use one second, so the rate would be useless. This collector has the resolution of the process's own clock.

use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Counter, MetricFamily};
use rustix::time::{ClockId, clock_gettime};

/// CPU time in user and kernel mode.
const CPU_SECONDS: &str = "process_cpu_seconds_total";

/// The kernel's figures about this process.
pub(super) struct ProcessMetrics(ProcessCollector);

impl ProcessMetrics {
    /// The figures of the calling process.
    pub(super) fn new() -> Self {
        Self(ProcessCollector::for_self())
    }
}

impl Collector for ProcessMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.0.collect();
        let family = families.iter_mut().find(|family| family.name() == CPU_SECONDS);
        for metric in family.into_iter().flat_map(MetricFamily::mut_metric) {
            let mut counter = Counter::default();
            counter.set_value(cpu_seconds());
            metric.set_counter(counter);
        }
        families
    }
}

#[allow(clippy::cast_precision_loss, reason = "the seconds of a process's life are far below 2^52")]
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_has_parts_of_a_second() {
        // Each reading uses CPU time itself.
        let before = (0..100_000).map(|_| cpu_seconds()).find(|seconds| seconds.fract() > 0.0).unwrap();
        let families = ProcessMetrics::new().collect();
        let family = families.iter().find(|family| family.name() == CPU_SECONDS).unwrap();
        let shown = family.get_metric()[0].get_counter().get_value();
        assert!(before <= shown && shown <= cpu_seconds(), "{before} {shown}");
    }
}
