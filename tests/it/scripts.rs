//! The scripts of the repository. What they do, running them shows.

use std::fs;
use std::path::Path;

use crate::support::tools::{succeeds, tool};

#[test]
fn shellcheck_finds_nothing_in_the_scripts() {
    let Some(mut shellcheck) = tool("shellcheck") else { return };
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scripts = fs::read_dir(top.join("scripts")).unwrap().map(|entry| entry.unwrap().path());
    let scripts: Vec<_> = scripts.chain([top.join(".ci/run")]).collect();
    assert!(scripts.len() >= 5, "{scripts:?}");
    assert_eq!(succeeds(shellcheck.arg("--external-sources").args(scripts).current_dir(top)), "");
}
