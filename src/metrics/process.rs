//! `process_*`, as Prometheus' libraries name them
//! (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>).
//!
//! The collector of the crate cuts the processor's time to whole seconds; a gateway with little to do takes minutes for
//! one, and a rate of that says nothing. Here it is as fine as the kernel tells it, a hundredth of a second.

use procfs::process::Process;
use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Counter, MetricFamily};

/// Processor time in user and kernel mode.
const CPU_SECONDS: &str = "process_cpu_seconds_total";

/// What the kernel knows of this process.
pub(super) struct ProcessMetrics(ProcessCollector);

impl ProcessMetrics {
    /// Of the process that calls.
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
    fn the_processors_time_is_told_in_parts_of_a_second() {
        // Asking takes time by itself.
        let before = (0..100_000).filter_map(|_| cpu_seconds()).find(|seconds| seconds.fract() > 0.0).unwrap();
        let families = ProcessMetrics::new().collect();
        let family = families.iter().find(|family| family.name() == CPU_SECONDS).unwrap();
        let told = family.get_metric()[0].get_counter().get_value();
        assert!(before <= told && told <= cpu_seconds().unwrap(), "{before} {told}");
    }
}
