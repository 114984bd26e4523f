//! `hooklatch schemes [NAME]`: the built-in schemes, or all facts of one in the language that they are written in.

use super::Failure;
use crate::config;
use crate::schemes;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A scheme's name; without it: a line for each scheme
    name: Option<String>,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    match &args.name {
        Some(name) => {
            out!("{}", schemes::source(name).ok_or_else(|| unknown(name))?);
        }
        None => {
            for spec in schemes::names().filter_map(schemes::find) {
                let reason = spec.unsupported.as_deref().map(|reason| format!(" (cannot be verified: {reason})"));
                outln!("{:<24} {}{}", spec.name, spec.title, reason.unwrap_or_default());
            }
        }
    }
    Ok(())
}

/// That there is no such scheme, and which may have been meant.
pub(super) fn unknown(name: &str) -> Failure {
    let names: Vec<&str> = schemes::names().collect();
    let hint = config::suggestion(name, &names);
    Failure::Usage(format!("there is no scheme \"{name}\": `hooklatch schemes` lists all schemes{hint}"))
}
