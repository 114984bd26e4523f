//! The commands, one file each, and what they share: arguments, exit statuses, logging.

/// Writes to standard output. An error, such as a full disk or a closed pipe, ends the command without a panic.
macro_rules! out {
    ($($text:tt)*) => { $crate::cli::written(std::io::Write::write_fmt(&mut std::io::stdout(), format_args!($($text)*)))? };
}

/// [`out!`] with a newline at the end.
macro_rules! outln {
    ($($text:tt)*) => {
        $crate::cli::written(std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{}\n", format_args!($($text)*))))?
    };
}

/// Writes a line to stderr. An error is ignored: the command has no other place to report it.
macro_rules! errln {
    ($($text:tt)*) => {
        let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{}\n", format_args!($($text)*)));
    };
}

mod check;
mod completions;
mod conformance;
mod deliveries;
mod demo;
mod discard;
mod explain;
mod health;
mod init;
mod listen;
mod man;
mod notes;
mod pause;
mod recorded;
mod replay;
mod schema;
mod schemes;
mod send;
mod serve;
mod show;
mod sign;
mod store;
mod support;
mod tail;
mod ui;

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

/// The advice for a user who has no configuration yet.
const FIRST_STEPS: &str = "\
Name another file with -c FILE, or begin with this one:

    routes:
      - name: civo
        path: /webhooks/civo
        scheme: civo    # `hooklatch schemes` lists them
        secrets:
          - env: CIVO_WEBHOOK_SECRET
        upstream: http://127.0.0.1:8000/webhooks/civo

`hooklatch check -c FILE` prints every error of a file. `hooklatch demo` needs no file.";

/// The heading of the options that every command has.
const GLOBAL: &str = "Global options";

/// A webhook gateway: forwards deliveries that a provider has signed, byte for byte, and refuses all others
#[derive(Debug, Parser)]
#[command(name = "hooklatch", version = VERSION, max_term_width = 100, after_help = notes::GENERAL)]
pub struct Cli {
    /// Log format [default: text on a terminal, otherwise json]
    #[arg(long, global = true, value_enum, help_heading = GLOBAL)]
    log_format: Option<LogFormat>,
    /// Log level: error, warn, info, debug, trace, or a filter in the syntax of RUST_LOG; overrides RUST_LOG
    #[arg(long, global = true, value_name = "LEVEL", value_parser = support::logging::parse_level, help_heading = GLOBAL)]
    log_level: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    #[command(after_help = notes::SERVE)]
    Serve(ConfigArgs),
    /// Write a first configuration for these schemes, with their secrets, and say what to enter at each provider
    #[command(after_help = notes::INIT)]
    Init(init::Args),
    /// Check a configuration as serve does, without opening a port, and list its routes
    #[command(after_help = notes::CHECK)]
    Check(ConfigArgs),
    /// Run the gateway with an embedded upstream and random secrets, and show what happens to nine deliveries
    #[command(after_help = notes::DEMO)]
    Demo(demo::Args),
    /// Print the header lines that make a body a valid delivery
    #[command(after_help = notes::SIGN)]
    Sign(sign::Args),
    /// Sign a delivery with a route's first secret and send it
    #[command(after_help = notes::SEND)]
    Send(send::Args),
    /// Say whether a route would accept a captured request, or one that a gateway has recorded, and if not, why
    #[command(after_help = notes::EXPLAIN)]
    Explain(explain::Args),
    /// List the deliveries of a running gateway, or those that a search finds, the newest first
    #[command(after_help = notes::DELIVERIES)]
    Deliveries(deliveries::Args),
    /// Print everything about a delivery of a running gateway
    #[command(after_help = notes::SHOW)]
    Show(show::Args),
    /// Print the deliveries of a running gateway as they come, until Ctrl-C
    #[command(after_help = notes::TAIL)]
    Tail(tail::Args),
    /// Send a copy of each delivery that a route lets in to a handler on this machine, until Ctrl-C
    #[command(after_help = notes::LISTEN)]
    Listen(listen::Args),
    /// Send deliveries again; asks before more than one
    #[command(after_help = notes::REPLAY)]
    Replay(replay::Args),
    /// Do not send deliveries that wait or are dead; asks before more than one
    #[command(after_help = notes::DISCARD)]
    Discard(discard::Args),
    /// Overwrite head and body of deliveries, which are not sent any more; asks before more than one
    #[command(after_help = notes::ERASE)]
    Erase(discard::EraseArgs),
    /// Let the queued deliveries of a route wait
    #[command(after_help = notes::PAUSE)]
    Pause(pause::Args),
    /// Send the queued deliveries of a paused route again
    #[command(after_help = notes::RESUME)]
    Resume(pause::Args),
    /// Print the address of a running gateway's page, and open it in a browser if there is one
    #[command(after_help = notes::UI)]
    Ui(ui::Args),
    /// Ask a gateway on this machine whether it takes deliveries; exit status 1 if it does not
    #[command(after_help = notes::HEALTH)]
    Health(health::Args),
    /// Check, copy or repair the database of the store
    #[command(after_help = notes::STORE)]
    Store(store::Args),
    /// List the schemes, search them, or print everything about one
    #[command(after_help = notes::SCHEMES)]
    Schemes(schemes::Args),
    /// Print the JSON Schema of gateway.yaml, for editors
    #[command(after_help = notes::SCHEMA)]
    Schema,
    /// Print a script that completes this command line in a shell
    #[command(after_help = notes::COMPLETIONS)]
    Completions(completions::Args),
    /// Write the manual pages into a folder
    #[command(after_help = notes::MAN)]
    Man(man::Args),
    /// Run deliveries with a known verdict through the gateway, and print the result for each provider
    #[command(after_help = notes::CONFORMANCE)]
    Conformance(conformance::Args),
}

#[derive(Debug, clap::Args)]
struct ConfigArgs {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "gateway.yaml")]
    config: PathBuf,
}

/// Why a command failed. Each kind has an exit status of its own.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// Exit status 1: the command failed while running.
    #[error("{0}")]
    Failed(String),
    /// Exit status 1: the command has printed the reason already.
    #[error("")]
    Told,
    /// Exit status 2: the command line names something that does not exist, or is wrong in another way.
    #[error("{0}")]
    Usage(String),
    /// Exit status 78 (`EX_CONFIG` of sysexits.h): the configuration is missing, unreadable or invalid.
    #[error("{}", describe(.0, .1))]
    Config(PathBuf, LoadError),
    /// Exit status 78: the store that the configuration names belongs to a newer version or to another application.
    #[error("{0}")]
    Unusable(String),
}

impl Cli {
    /// The process's command line. Ends the process if the command line is wrong or asks for help, or if a shell asks for
    /// completions.
    pub fn of_process() -> Self {
        match completions::answer() {
            Ok(true) => std::process::exit(0),
            Ok(false) => Self::try_parse().unwrap_or_else(|error| advised(error).exit()),
            Err(error) => error.exit(),
        }
    }

    /// Runs the command. Prints an error to stderr.
    pub fn run(self) -> ExitCode {
        // The output of these commands says what happens; log lines of the gateway inside would repeat it.
        let default_level = match self.command {
            Command::Demo(_) => "warn",
            Command::Conformance(_) | Command::Explain(_) => "error",
            _ => "info",
        };
        let serves = matches!(self.command, Command::Serve(_));
        let logging = support::logging::start(self.log_format, self.log_level.as_deref(), default_level, serves);
        let result = match self.command {
            Command::Serve(args) => serve::run(&args.config, &logging),
            Command::Init(args) => init::run(&args),
            Command::Check(args) => check::run(&args.config),
            Command::Demo(args) => demo::run(&args),
            Command::Sign(args) => sign::run(&args),
            Command::Send(args) => send::run(&args),
            Command::Explain(args) => explain::run(&args),
            Command::Deliveries(args) => deliveries::run(&args),
            Command::Show(args) => show::run(&args),
            Command::Tail(args) => tail::run(&args),
            Command::Listen(args) => listen::run(&args),
            Command::Replay(args) => replay::run(&args),
            Command::Discard(args) => discard::run(&args),
            Command::Erase(args) => discard::erase(&args),
            Command::Pause(args) => pause::pause(&args),
            Command::Resume(args) => pause::resume(&args),
            Command::Ui(args) => ui::run(&args),
            Command::Health(args) => health::run(&args),
            Command::Store(args) => store::run(&args),
            Command::Schemes(args) => schemes::run(&args),
            Command::Schema => schema::run(),
            Command::Completions(args) => completions::run(&args),
            Command::Man(args) => man::run(&args),
            Command::Conformance(args) => conformance::run(&args),
        };
        // The lines of the log come before the error.
        drop(logging);
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
            Failure::Config(..) | Failure::Unusable(_) => 78,
        })
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Adds a tip to the error of a command line that names a configuration without `-c`.
fn advised(mut error: clap::Error) -> clap::Error {
    if let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidArg).cloned()
        && [".yaml", ".yml"].iter().any(|end| given.ends_with(end))
    {
        let advice = format!("'-c {given}' names a configuration");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![advice.into()]));
    }
    error
}

/// The command's failure if standard output cannot be written. A closed pipe, as in `| head -1`, needs no message.
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
            let lines: String = errors.iter().map(|error| format!("\n  {}", error.with_place())).collect();
            let plural = if errors.len() == 1 { "" } else { "s" };
            format!("{} has {} error{plural}:{lines}", path.display(), errors.len())
        }
    }
}

/// The route of this name.
fn find_route<'a>(config: &'a Config, name: &str) -> Result<&'a config::Route, Failure> {
    config.routes.iter().find(|route| route.name == name).ok_or_else(|| {
        let names: Vec<_> = config.routes.iter().map(|route| route.name.as_str()).collect();
        Failure::Usage(format!("no route is named \"{name}\"; the routes are: {}", names.join(", ")))
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
