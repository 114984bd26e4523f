//! Asks before something is done to more than one delivery.

use std::io::{self, BufRead, IsTerminal, Write};

use super::super::Failure;

/// Asks on the terminal; `yes` answers beforehand. Without a terminal and without `yes` it fails.
pub fn confirm(question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::Failed(format!("{question} Nothing was sent: without a terminal this needs --yes")));
    }
    let mut stderr = io::stderr();
    write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush())?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::Failed("nothing was sent".to_owned())),
    }
}
