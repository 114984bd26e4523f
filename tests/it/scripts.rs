//! The scripts of the repository, and what GitHub reads under `.github`. What scripts do, running them shows.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::tools::{have, succeeds, tool};

#[test]
fn shellcheck_finds_nothing_in_the_scripts() {
    let Some(mut shellcheck) = tool("shellcheck") else { return };
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scripts = fs::read_dir(top.join("scripts")).unwrap().map(|entry| entry.unwrap().path());
    let is_shell = |path: &PathBuf| path.extension().is_none_or(|extension| extension == "sh");
    let scripts: Vec<_> = scripts.filter(is_shell).chain([top.join(".ci/run")]).collect();
    assert!(scripts.len() >= 5, "{scripts:?}");
    assert_eq!(succeeds(shellcheck.arg("--external-sources").args(scripts).current_dir(top)), "");
}

#[test]
fn workflows_issue_forms_and_dependabot_are_of_githubs_schemas() {
    if !have(&["check-jsonschema"]) {
        return;
    }
    let github = Path::new(env!("CARGO_MANIFEST_DIR")).join(".github");
    let files = |folder: &str| fs::read_dir(github.join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let (config, forms): (Vec<_>, Vec<_>) = files("ISSUE_TEMPLATE").partition(|file| file.ends_with("config.yml"));
    let workflows: Vec<_> = files("workflows").collect();
    assert!(workflows.len() >= 3 && forms.len() >= 2, "{workflows:?} {forms:?}");
    for (schema, files) in [
        ("vendor.github-workflows", &workflows),
        ("custom.github-workflows-require-timeout", &workflows),
        ("vendor.github-issue-forms", &forms),
        ("vendor.github-issue-config", &config),
        ("vendor.dependabot", &vec![github.join("dependabot.yml")]),
    ] {
        let mut validate = tool("check-jsonschema").unwrap();
        succeeds(validate.args(["--builtin-schema", schema]).args(files));
    }
}
