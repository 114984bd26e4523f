//! The table that docs/performance.md has: a line a measure, a column a gateway, printed as it fills.

/// What HAProxy's column is headed with; the others are compared with it.
const PEERS: [&str; 4] = ["haproxy", "hooklatch", "nginx+njs", "node"];
const OURS: &str = "hooklatch";

/// What a measure counts in, and which way is better.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Microseconds.
    Microseconds,
    /// Milliseconds.
    Milliseconds,
    /// Thousands a second: the only measure for which more is better.
    ThousandsASecond,
    /// Thousands of instructions.
    Thousands,
    /// KiB.
    Kibibytes,
    /// MiB.
    Mebibytes,
    /// A ratio by itself.
    Times,
}

/// One gateway's samples, one a round, in the order of the rounds.
pub type Samples = (&'static str, Vec<f64>);

/// The lines so far.
#[derive(Default)]
pub struct Table {
    lost: Vec<String>,
}

impl Table {
    /// Prints the head.
    pub fn new() -> Self {
        line("", &PEERS.map(str::to_owned));
        line("---", &PEERS.map(|_| "---".to_owned()));
        Self::default()
    }

    /// A line: each gateway's median, and its ratio to HAProxy's with the lowest and the highest of the rounds.
    pub fn row(&mut self, measure: &str, unit: Unit, samples: &[Samples]) {
        let first = samples.iter().find(|(name, _)| *name == PEERS[0]).map(|(_, values)| values);
        let cell = |name: &str| {
            let Some((_, values)) = samples.iter().find(|(other, _)| *other == name) else { return "–".to_owned() };
            let (low, median, high) = spread(values.clone());
            match first {
                Some(first) if name != PEERS[0] && unit != Unit::Times => {
                    let ratios = values.iter().zip(first).map(|(own, first)| own / first).collect();
                    format!("{}; {}", unit.show(median), with_spread(spread(ratios)))
                }
                Some(_) if unit != Unit::Times => unit.show(median),
                _ if unit == Unit::Times => with_spread((low, median, high)),
                _ => format!("{} ({}–{})", unit.show(median), unit.show(low), unit.show(high)),
            }
        };
        line(measure, &PEERS.map(cell));
        self.note_losses(measure, unit, samples);
    }

    /// A line without figures.
    pub fn absent(&mut self, measure: &str, why: &str) {
        line(measure, &PEERS.map(|name| if name == OURS { why } else { "–" }.to_owned()));
    }

    /// Says in which measures a peer is better.
    pub fn end(self) {
        match self.lost.as_slice() {
            [] => println!("\nNo peer is better in any of these measures."),
            lost => println!("\nWhere a peer is better than hooklatch: {}.", lost.join("; ")),
        }
    }

    fn note_losses(&mut self, measure: &str, unit: Unit, samples: &[Samples]) {
        if unit == Unit::Times {
            return;
        }
        let median = |values: &Vec<f64>| spread(values.clone()).1;
        let Some(ours) = samples.iter().find(|(name, _)| *name == OURS).map(|(_, values)| median(values)) else {
            return;
        };
        let better = |theirs: f64| if unit == Unit::ThousandsASecond { theirs > ours } else { theirs < ours };
        let winners: Vec<_> =
            samples.iter().filter(|(_, values)| better(median(values))).map(|(name, _)| *name).collect();
        if !winners.is_empty() {
            self.lost.push(format!("{measure} ({})", winners.join(", ")));
        }
    }
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Microseconds => format!("{value:.1} µs"),
            Self::Milliseconds => format!("{value:.0} ms"),
            Self::ThousandsASecond => format!("{value:.1} k/s"),
            Self::Thousands => format!("{value:.1} k"),
            Self::Kibibytes => format!("{value:.1} KiB"),
            Self::Mebibytes => format!("{value:.1} MiB"),
            Self::Times => format!("{value:.2}"),
        }
    }
}

fn line(measure: &str, cells: &[String; 4]) {
    let [haproxy, ours, nginx, node] = cells;
    println!("| {measure:<46} | {haproxy:<16} | {ours:<28} | {nginx:<28} | {node:<28} |");
}

pub fn with_spread((low, median, high): (f64, f64, f64)) -> String {
    if low == high { format!("{median:.2}") } else { format!("{median:.2} ({low:.2}–{high:.2})") }
}

/// hooklatch's median.
pub fn own_median(samples: &[Samples]) -> Option<f64> {
    samples.iter().find(|(name, _)| *name == OURS).and_then(|(_, values)| median(values))
}

/// The value in the middle; `None` without values.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// Lowest, median, highest.
pub fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_unstable_by(f64::total_cmp);
    (values[0], values[values.len() / 2], values[values.len() - 1])
}
