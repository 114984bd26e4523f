//! Tells the build which commit it is made of, for `hooklatch_build_info` and `--version`.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=HOOKLATCH_REVISION");
    println!("cargo::rerun-if-changed=.git/logs/HEAD");
    let given = std::env::var("HOOKLATCH_REVISION").ok().filter(|revision| !revision.is_empty());
    let revision = given.or_else(git_revision).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=HOOKLATCH_REVISION={revision}");
}

fn git_revision() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    let revision = String::from_utf8(output.stdout).ok()?;
    (output.status.success()).then(|| revision.trim().to_owned()).filter(|revision| !revision.is_empty())
}
