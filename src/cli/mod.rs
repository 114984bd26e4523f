//! The commands, one file each, and what they share: arguments, exit statuses, logging.

/// Writes to standard output. It may be a full disk or a closed pipe: an error ends the command, without a panic.
macro_rules! out {
    ($($text:tt)*) => { $crate::cli::written(std::io::Write::write_fmt(&mut std::io::stdout(), format_args!($($text)*)))? };
}

/// [`out!`] with a line's end.
macro_rules! outln {
    ($($text:tt)*) => {
        $crate::cli::written(std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{}\n", format_args!($($text)*))))?
    };
}

/// A line on stderr. If nobody reads it, there is nobody to tell.
macro_rules! errln {
    ($($text:tt)*) => {
        let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{}\n", format_args!($($text)*)));
    };
}

mod check;
mod completions;
mod conformance;
mod demo;
mod explain;
mod health;
mod man;
mod schema;
mod schemes;
mod send;
mod serve;
mod sign;
mod support;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{Parser, Subcommand};

pub use support::logging::LogFormat;

use crate::config::{self, Config, LoadError, next_step};

/// What `--version` prints after the name.
const VERSION: &str = match crate::REVISION.as_bytes() {
    b"unknown" => concat!(env!("CARGO_PKG_VERSION"), " (revision unknown)"),
    _ => concat!(env!("CARGO_PKG_VERSION"), " (", env!("HOOKLATCH_REVISION"), ")"),
};

/// What helps those who have no configuration yet.
const FIRST_STEPS: &str = "\
-c FILE names another file. To begin one:

    routes:
      - name: civo
        path: /webhooks/civo
        scheme: civo    # `hooklatch schemes` lists them
        secrets:
          - env: CIVO_WEBHOOK_SECRET
        upstream: http://127.0.0.1:8000/webhooks/civo

`hooklatch check -c FILE` tells what is wrong with a file, and `hooklatch demo` needs none.";

/// A webhook gateway: lets in what a provider signed, forwards it byte for byte, refuses the rest.
#[derive(Debug, Parser)]
#[command(name = "hooklatch", version = VERSION, max_term_width = 100)]
pub struct Cli {
    /// How log lines on stderr look; without it: text on a terminal, else json
    #[arg(long, global = true, value_enum)]
    log_format: Option<LogFormat>,
    /// What is logged: error, warn, info, debug, trace, or a filter like RUST_LOG's, which it overrides
    #[arg(long, global = true, value_name = "LEVEL", value_parser = support::logging::parse_level)]
    log_level: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    Serve(ConfigArgs),
    /// Load and check the configuration as serve does, bind nothing, and list the routes
    Check(ConfigArgs),
    /// Run the gateway with an embedded upstream and random secrets, and show what it does to nine deliveries
    Demo(demo::Args),
    /// Print the header lines that make a body a valid delivery
    Sign(sign::Args),
    /// Sign a delivery with a route's first secret and send it
    Send(send::Args),
    /// Say whether a route would take a captured request and, if not, why
    Explain(explain::Args),
    /// Ask a gateway that runs on this machine whether it takes deliveries: exit status 0, or 1 if it does not
    Health(health::Args),
    /// List the schemes, or print all facts of one
    Schemes(schemes::Args),
    /// Print the JSON Schema of gateway.yaml, for editors
    Schema,
    /// Print a script that completes this command line in a shell
    Completions(completions::Args),
    /// Write the manual pages into a folder
    Man(man::Args),
    /// Run the deliveries with a known verdict through the gateway, and print how each provider's went
    Conformance(conformance::Args),
}

#[derive(Debug, clap::Args)]
struct ConfigArgs {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "gateway.yaml")]
    config: PathBuf,
}

/// Why a command did not do what it was asked to. The exit status tells them apart.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// 1: it failed while running.
    #[error("{0}")]
    Failed(String),
    /// 1: it has said why already.
    #[error("")]
    Told,
    /// 2: it was asked for something that is not there.
    #[error("{0}")]
    Usage(String),
    /// 78 (`EX_CONFIG` of sysexits.h): the configuration is missing, unreadable or invalid.
    #[error("{}", describe(.0, .1))]
    Config(PathBuf, LoadError),
}

impl Cli {
    /// What the process was started with. Ends the process if that is wrong or asks for help.
    pub fn of_process() -> Self {
        Self::try_parse().unwrap_or_else(|error| advised(error).exit())
    }

    /// Runs the command; what goes wrong is told on stderr.
    pub fn run(self) -> ExitCode {
        // What these print tells what happens; the gateway within has nothing to add.
        let default_level = match self.command {
            Command::Demo(_) => "warn",
            Command::Conformance(_) | Command::Explain(_) => "error",
            _ => "info",
        };
        support::logging::start(self.log_format, self.log_level.as_deref(), default_level);
        let result = match self.command {
            Command::Serve(args) => serve::run(&args.config),
            Command::Check(args) => check::run(&args.config),
            Command::Demo(args) => demo::run(&args),
            Command::Sign(args) => sign::run(&args),
            Command::Send(args) => send::run(&args),
            Command::Explain(args) => explain::run(&args),
            Command::Health(args) => health::run(&args),
            Command::Schemes(args) => schemes::run(&args),
            Command::Schema => schema::run(),
            Command::Completions(args) => completions::run(&args),
            Command::Man(args) => man::run(&args),
            Command::Conformance(args) => conformance::run(&args),
        };
        let failure = match result {
            Ok(()) => return ExitCode::SUCCESS,
            Err(failure) => failure,
        };
        if !matches!(failure, Failure::Told) {
            errln!("hooklatch: {failure}");
        }
        ExitCode::from(match failure {
            Failure::Failed(_) | Failure::Told => 1,
            Failure::Usage(_) => 2,
            Failure::Config(..) => 78,
        })
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Says how a configuration is named to whoever has named it without `-c`.
fn advised(mut error: clap::Error) -> clap::Error {
    if let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidArg).cloned()
        && [".yaml", ".yml"].iter().any(|end| given.ends_with(end))
    {
        let advice = format!("'-c {given}' names a configuration");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![advice.into()]));
    }
    error
}

/// An error of standard output as the command's. A reader that has gone away, as in `| head -1`, needs no words.
fn written(result: io::Result<()>) -> Result<(), Failure> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::Told,
        _ => Failure::Failed(format!("cannot write to standard output: {error}")),
    })
}

fn load(path: &Path) -> Result<Config, Failure> {
    config::load(path).map_err(|error| failure(path, error))
}

fn failure(path: &Path, error: LoadError) -> Failure {
    Failure::Config(path.to_owned(), error)
}

fn describe(path: &Path, error: &LoadError) -> String {
    match error {
        LoadError::Unreadable { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            format!("cannot read {}: there is no such file\n\n{FIRST_STEPS}", path.display())
        }
        LoadError::Unreadable { .. } => error.to_string(),
        LoadError::Invalid { errors } => {
            let lines: String = errors.iter().map(|error| format!("\n  {error}")).collect();
            let plural = if errors.len() == 1 { "" } else { "s" };
            format!("{} has {} error{plural}:{lines}", path.display(), errors.len())
        }
    }
}

/// The route of this name.
fn find_route<'a>(config: &'a Config, name: &str) -> Result<&'a config::Route, Failure> {
    config.routes.iter().find(|route| route.name == name).ok_or_else(|| {
        let names: Vec<_> = config.routes.iter().map(|route| route.name.as_str()).collect();
        Failure::Usage(format!("there is no route \"{name}\"; there is: {}", names.join(", ")))
    })
}

/// A body from a file, or from standard input.
fn read_body(path: Option<&Path>) -> Result<Vec<u8>, Failure> {
    match path {
        Some(path) => std::fs::read(path)
            .map_err(|error| Failure::Failed(format!("cannot read {}: {error}{}", path.display(), next_step(&error)))),
        None => {
            let mut body = Vec::new();
            io::Read::read_to_end(&mut io::stdin(), &mut body)?;
            Ok(body)
        }
    }
}
