//! `process_*`, as Prometheus' libraries name them
//! (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>).
//!
//! The collector of the `prometheus` crate cuts CPU time to whole seconds. An idle gateway takes minutes to use one second, so
//! the rate would be useless. This collector has the kernel's resolution, a hundredth of a second.

use procfs::process::Process;
use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Counter, MetricFamily};

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
        if let (Some(family), Some(seconds)) = (family, cpu_seconds()) {
            for metric in family.mut_metric() {
                let mut counter = Counter::default();
                counter.set_value(seconds);
                metric.set_counter(counter);
            }
        }
        families
    }
}

#[allow(clippy::cast_precision_loss, reason = "ticks of a process's life are far below 2^52")]
fn cpu_seconds() -> Option<f64> {
    let stat = Process::myself().ok()?.stat().ok()?;
    Some((stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_has_parts_of_a_second() {
        // Each reading uses CPU time itself.
        let before = (0..100_000).filter_map(|_| cpu_seconds()).find(|seconds| seconds.fract() > 0.0).unwrap();
        let families = ProcessMetrics::new().collect();
        let family = families.iter().find(|family| family.name() == CPU_SECONDS).unwrap();
        let shown = family.get_metric()[0].get_counter().get_value();
        assert!(before <= shown && shown <= cpu_seconds().unwrap(), "{before} {shown}");
    }
}
