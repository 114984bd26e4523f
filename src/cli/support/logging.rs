//! Writes log lines to stderr: text for people, or one JSON object per line for machines.
//!
//! A thread of its own writes them. If it does not keep up, because whatever reads stderr has stalled, lines are dropped and
//! counted; no delivery waits. A line that cannot be written is lost.

use std::io::{self, IsTerminal};
use std::panic;

use clap::ValueEnum;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::fmt;

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
    /// Counts the lines that were dropped.
    pub dropped: ErrorCounter,
    _writing: WorkerGuard,
}

/// Starts logging. A `RUST_LOG` that does not parse is reported on stderr and ignored.
pub fn start(format: Option<LogFormat>, level: Option<&str>, default: &str) -> Logging {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    let variable = std::env::var("RUST_LOG").ok().filter(|value| !value.is_empty());
    let chosen = level.or(variable.as_deref()).unwrap_or(default);
    let filter = filter.parse(chosen).unwrap_or_else(|error| {
        errln!("hooklatch: ignoring RUST_LOG, which is not a valid filter: {error}");
        EnvFilter::new(default)
    });
    let terminal = io::stderr().is_terminal();
    let format = format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let (lines, writing) = NonBlockingBuilder::default()
        .buffered_lines_limit(WAITING)
        .lossy(true)
        .thread_name("log")
        .finish(io::LineWriter::new(io::stderr()));
    let dropped = lines.error_counter();
    // An internal error would be printed to stderr by a macro that panics if stderr cannot be written.
    let subscriber = fmt().log_internal_errors(false);
    let subscriber = subscriber.with_env_filter(filter).with_writer(lines).with_target(false);
    // Fails only if logging has been started before. Then the first one stays.
    let _ = match format {
        LogFormat::Text => subscriber.with_ansi(terminal).try_init(),
        LogFormat::Json => subscriber.json().with_current_span(false).with_span_list(false).try_init(),
    };
    panic::set_hook(Box::new(|info| {
        // The place, not the message: the message may contain bytes from the network.
        let place = info.location().map(ToString::to_string);
        tracing::error!(place, "a bug: the code panicked");
    }));
    Logging { dropped, _writing: writing }
}
