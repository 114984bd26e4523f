//! What a histogram of times has counted, so that the difference of two looks at it has percentiles.

use prometheus::Histogram;
use prometheus::core::Metric as _;

use super::deliveries::REQUEST_SECONDS;

/// How many times were at most as long as each bound of [`REQUEST_SECONDS`], and how many there were in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    within: [u64; REQUEST_SECONDS.len()],
    all: u64,
}

impl Times {
    /// Those of a histogram with these bounds.
    pub(super) fn of(histogram: &Histogram) -> Self {
        let metric = histogram.metric();
        let counted = metric.get_histogram();
        let mut within = [0; REQUEST_SECONDS.len()];
        for (count, bucket) in within.iter_mut().zip(counted.get_bucket()) {
            *count = bucket.cumulative_count();
        }
        Self { within, all: counted.get_sample_count() }
    }

    /// What was counted since another look. A histogram that began anew meanwhile counts from its beginning.
    pub fn since(&self, before: &Self) -> Self {
        if self.all < before.all {
            return *self;
        }
        let mut since = *self;
        since.all -= before.all;
        for (count, before) in since.within.iter_mut().zip(before.within) {
            *count = count.saturating_sub(before);
        }
        since
    }

    /// The time in seconds within which this part of them were, from 0 to 1: an estimate between two bounds, as Prometheus
    /// makes it. Of times beyond the last bound, that bound. `None` if there were none.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        if self.all == 0 {
            return None;
        }
        let wanted = part * self.all as f64;
        let (mut bound_below, mut count_below) = (0.0, 0);
        for (bound, count) in REQUEST_SECONDS.into_iter().zip(self.within) {
            if count as f64 >= wanted && count > count_below {
                let within = (wanted - count_below as f64) / (count - count_below) as f64;
                return Some(bound_below + (bound - bound_below) * within.clamp(0.0, 1.0));
            }
            (bound_below, count_below) = (bound, count);
        }
        Some(bound_below)
    }
}

#[cfg(test)]
mod tests {
    use prometheus::HistogramOpts;

    use super::*;

    fn histogram() -> Histogram {
        Histogram::with_opts(HistogramOpts::new("times", "Times.").buckets(REQUEST_SECONDS.to_vec())).unwrap()
    }

    fn millis(times: &Times, part: f64) -> f64 {
        (times.quantile(part).unwrap() * 1000.0).round()
    }

    #[test]
    fn percentiles_are_within_the_bounds_of_what_was_counted() {
        let histogram = histogram();
        assert_eq!(Times::of(&histogram).quantile(0.5), None);
        for _ in 0..90 {
            histogram.observe(0.030);
        }
        for _ in 0..10 {
            histogram.observe(0.400);
        }
        let times = Times::of(&histogram);
        // Of the 90 between 25 and 50 ms, the 50th; of the 10 between 250 and 500 ms, the fifth.
        assert_eq!((millis(&times, 0.5), millis(&times, 0.95)), (39.0, 375.0));
        assert_eq!((millis(&times, 0.0), millis(&times, 1.0)), (25.0, 500.0));
        histogram.observe(99.0);
        assert_eq!(Times::of(&histogram).quantile(1.0), Some(10.0), "longer than can be told");
    }

    #[test]
    fn what_came_before_does_not_count() {
        let times = histogram();
        times.observe(9.0);
        let before = Times::of(&times);
        times.observe(0.001);
        let since = Times::of(&times).since(&before);
        assert!(since.quantile(1.0).unwrap() <= 0.001, "{since:?}");
        assert_eq!(Times::of(&times).since(&Times::of(&times)).quantile(0.5), None);
        let anew = histogram();
        assert_eq!(Times::of(&anew).since(&before), Times::of(&anew), "a route that went and came back");
    }
}
