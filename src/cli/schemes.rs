//! `hooklatch schemes [NAME]`: lists the built-in schemes, prints the file of one, or searches them.

use clap_complete::ArgValueCandidates;

use super::{Failure, completions};
use crate::config;
use crate::schemes::{self, Spec};

/// As many schemes are named that a word may mean, at most.
const FEW: usize = 3;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A scheme's name, or a word to search for in names, titles and documentation hosts [default: list all]
    #[arg(add = ArgValueCandidates::new(completions::schemes))]
    name: Option<String>,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    match &args.name {
        Some(name) => match schemes::source(name) {
            Some(source) => out!("{source}"),
            None => {
                let found: Vec<&Spec> = all().filter(|spec| mentions(spec, &name.to_lowercase())).collect();
                if found.is_empty() {
                    return Err(unknown(name));
                }
                list(found)?;
            }
        },
        None => list(all())?,
    }
    Ok(())
}

fn all() -> impl Iterator<Item = &'static Spec> {
    schemes::names().filter_map(schemes::find).map(AsRef::as_ref)
}

/// Prints a line for each scheme.
fn list(specs: impl IntoIterator<Item = &'static Spec>) -> Result<(), Failure> {
    for spec in specs {
        let reason = spec.unsupported.as_deref().map(|reason| format!(" (cannot be verified: {reason})"));
        outln!("{:<24} {}{}", spec.name, spec.title, reason.unwrap_or_default());
    }
    Ok(())
}

/// Whether a lower-case word is part of a scheme's name, its title, or the host of its documentation.
fn mentions(spec: &Spec, word: &str) -> bool {
    let host = |url: &String| url.split('/').nth(2).is_some_and(|host| host.contains(word));
    spec.name.contains(word) || spec.title.to_lowercase().contains(word) || spec.documentation.iter().any(host)
}

/// The failure for a name that no scheme has, with the few schemes that a search for it finds, or else with similar names.
pub(super) fn unknown(name: &str) -> Failure {
    let word = name.to_lowercase();
    let found: Vec<String> =
        all().filter(|spec| mentions(spec, &word)).map(|spec| format!("\"{}\"", spec.name)).collect();
    let hint = match found.len() {
        1..=FEW => format!("; did you mean {}?", found.join(" or ")),
        _ => config::suggestion(name, &schemes::names().collect::<Vec<_>>()),
    };
    Failure::Usage(format!("unknown scheme \"{name}\": `hooklatch schemes` lists all{hint}"))
}
