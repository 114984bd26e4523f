//! Writes log lines to stderr: text for people, or one JSON object per line for machines. `serve` on a terminal writes what
//! becomes of each delivery to stdout instead, in [short lines](super::watched), whatever the level of the log.
//!
//! A thread of its own writes them. If it does not keep up, because whatever reads stderr has stalled, lines are dropped and
//! counted; no delivery waits. A line that cannot be written is lost, and counted as well.

use std::io::{self, IsTerminal};
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::ValueEnum;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, LevelFilter, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{fmt, registry};

use super::watched::{DELIVERIES, ShortLines};

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// For machines, one object per line
    Json,
}

/// Checks a level or filter.
pub fn parse_level(text: &str) -> Result<String, String> {
    EnvFilter::builder().parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// The lines that wait to be written, at most. The longest have some 10 KB.
const WAITING: usize = 4096;

/// Logging, as long as the process runs. When it is dropped, the lines that wait are written, within about a second.
pub struct Logging {
    /// Whether deliveries are shown on stdout.
    pub shows_deliveries: bool,
    dropped: Vec<ErrorCounter>,
    failed: Arc<AtomicU64>,
    _writing: Vec<WorkerGuard>,
}

impl Logging {
    /// Counts the lines that were dropped.
    pub fn dropped(&self) -> impl Fn() -> u64 + 'static {
        let (counters, failed) = (self.dropped.clone(), self.failed.clone());
        move || {
            let dropped: u64 = counters.iter().map(|counter| counter.dropped_lines() as u64).sum();
            dropped + failed.load(Ordering::Relaxed)
        }
    }

    /// Where the lines for a stream go: to a thread that writes them.
    fn writer(&mut self, name: &str, stream: impl io::Write + Send + 'static) -> NonBlocking {
        let lines = NonBlockingBuilder::default().buffered_lines_limit(WAITING).lossy(true).thread_name(name);
        let (lines, writing) = lines.finish(io::LineWriter::new(Counted { stream, failed: self.failed.clone() }));
        self.dropped.push(lines.error_counter());
        self._writing.push(writing);
        lines
    }
}

/// A stream that counts the lines that it cannot write, and goes on with the next ones.
struct Counted<W> {
    stream: W,
    failed: Arc<AtomicU64>,
}

impl<W: io::Write> io::Write for Counted<W> {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        match self.stream.write(lines) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                let count = memchr::memchr_iter(b'\n', lines).count();
                self.failed.fetch_add(count as u64, Ordering::Relaxed);
                Ok(lines.len())
            }
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Starts logging. A `RUST_LOG` that does not parse is reported on stderr and ignored. `serves` says that deliveries may be
/// shown: they are if stdout is a terminal and no format is asked for.
pub fn start(format: Option<LogFormat>, level: Option<&str>, default: &str, serves: bool) -> Logging {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    let variable = std::env::var("RUST_LOG").ok().filter(|value| !value.is_empty());
    let chosen = level.or(variable.as_deref()).unwrap_or(default);
    let filter = filter.parse(chosen).unwrap_or_else(|error| {
        errln!("hooklatch: ignoring RUST_LOG, which is not a valid filter: {error}");
        EnvFilter::new(default)
    });
    let shows_deliveries = serves && format.is_none() && io::stdout().is_terminal();
    let terminal = io::stderr().is_terminal();
    let format = format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let mut logging = Logging { shows_deliveries, dropped: Vec::new(), failed: Arc::default(), _writing: Vec::new() };
    // An internal error would be printed to stderr by a macro that panics if stderr cannot be written.
    let lines =
        fmt::layer().log_internal_errors(false).with_target(false).with_writer(logging.writer("log", io::stderr()));
    // What the same terminal shows already.
    let is_shown = shows_deliveries && terminal;
    let others = filter.and(filter_fn(move |event| !is_shown || event.target() != DELIVERIES));
    // They are no lines of the log: its level does not count. `access_log: none` turns them off.
    let short = shows_deliveries.then(|| {
        let lines = fmt::layer().log_internal_errors(false).event_format(ShortLines);
        let lines = lines.with_writer(logging.writer("deliveries", io::stdout()));
        let deliveries = filter_fn(|event| event.target() == DELIVERIES);
        lines.with_filter(deliveries.with_max_level_hint(LevelFilter::INFO))
    });
    let all = registry().with(short);
    // Fails only if logging has been started before. Then the first one stays.
    let _ = match format {
        LogFormat::Text => all.with(lines.with_ansi(terminal).with_filter(others)).try_init(),
        LogFormat::Json => {
            all.with(lines.json().with_current_span(false).with_span_list(false).with_filter(others)).try_init()
        }
    };
    panic::set_hook(Box::new(|info| {
        // The place, not the message: the message may contain bytes from the network.
        let place = info.location().map(ToString::to_string);
        tracing::error!(place, "a bug: the code panicked");
    }));
    logging
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// Fails as a full disk does.
    struct Full;

    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_once_each() {
        let failed = Arc::<AtomicU64>::default();
        let mut lines = io::LineWriter::new(Counted { stream: Full, failed: failed.clone() });
        for line in ["one\n", "two\nthree\n", "four", "\n"] {
            lines.write_all(line.as_bytes()).unwrap();
        }
        lines.flush().unwrap();
        assert_eq!(failed.load(Ordering::Relaxed), 4);
    }
}
