//! `hooklatch init`: a first configuration, which `check` takes as it stands.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use hooklatch::schemes;

use crate::support::process::BINARY;

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).current_dir(folder).env_remove("RUST_LOG").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names
}

#[test]
fn the_configuration_loads_and_secrets_are_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let done = run(folder.path(), &["init", "civo", "stripe", "icr"]);
    assert_eq!((done.status.code(), text(&done.stderr).as_str()), (Some(0), ""));
    assert_eq!(names(folder.path()), ["gateway.yaml", "secrets"]);
    let secrets = folder.path().join("secrets");
    assert_eq!(names(&secrets), ["civo", "icr", "stripe"]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&secrets), 0o700);
    let said = text(&done.stdout);
    let yaml = fs::read_to_string(folder.path().join("gateway.yaml")).unwrap();
    let mut all = Vec::new();
    for name in names(&secrets) {
        assert_eq!(mode(&secrets.join(&name)), 0o600, "{name}");
        let secret = fs::read_to_string(secrets.join(&name)).unwrap();
        assert!(secret.trim().len() >= 32 && !said.contains(secret.trim()) && !yaml.contains(secret.trim()), "{name}");
        all.push(secret);
    }
    all.dedup();
    assert_eq!(all.len(), 3, "each is another");
    for part in [
        "https://hooks.example.com/webhooks/civo",
        "secrets/civo",
        "Settings, Webhooks",
        "Stripe makes it",
        "hooklatch serve\n",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let checked = run(folder.path(), &["check"]);
    assert_eq!((checked.status.code(), text(&checked.stdout).lines().count()), (Some(0), 3));
    // The secret that the provider makes is not there yet, and that is said.
    let warnings = text(&checked.stderr);
    assert_eq!(warnings.lines().count(), 1, "{warnings}");
    assert!(warnings.starts_with("warning: routes[1].secrets[0].file: the secret is the placeholder"), "{warnings}");
    fs::write(secrets.join("stripe"), "whsec_5f2b9c1d0a7e4836b1c2d3e4f5a60718\n").unwrap();
    assert_eq!(text(&run(folder.path(), &["check"]).stderr), "");
}

#[test]
fn every_scheme_says_where_its_url_and_its_secret_are_entered() {
    let folder = tempfile::tempdir().unwrap();
    let all = schemes::names().filter_map(schemes::find).filter(|spec| spec.unsupported.is_none());
    let names: Vec<&str> = std::iter::once("init").chain(all.map(|spec| spec.name.as_str())).collect();
    let done = run(folder.path(), &names);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let said = text(&done.stdout);
    let beginning = |word: &str| said.lines().filter(|line| line.starts_with(word)).count();
    assert_eq!(
        (beginning("  URL "), beginning("  where "), beginning("  see ")),
        (names.len() - 1, names.len() - 1, names.len() - 1)
    );
}

#[test]
fn in_the_folder_that_a_package_has_made_secrets_are_for_its_group_too() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = folder.path().join("secrets");
    fs::create_dir(&secrets).unwrap();
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    set(&secrets, 0o2750);
    let there = secrets.join("stripe");
    fs::write(&there, "whsec_5f2b9c1d0a7e4836b1c2d3e4f5a60718\n").unwrap();
    set(&there, 0o644);
    let done = run(folder.path(), &["init", "civo", "stripe"]);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert_eq!(fs::metadata(secrets.join("civo")).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(text(&done.stderr).contains("(mode 0644): chmod 640 secrets/stripe"), "{done:?}");
    set(&there, 0o640);
    fs::remove_file(folder.path().join("gateway.yaml")).unwrap();
    assert!(!text(&run(folder.path(), &["init", "civo", "stripe"]).stderr).contains("other users"));
}

#[test]
fn each_scheme_gets_a_configuration_that_loads() {
    let folder = tempfile::tempdir().unwrap();
    let all = schemes::names().filter_map(schemes::find).filter(|spec| spec.unsupported.is_none());
    let all: Vec<&str> = all.map(|spec| spec.name.as_str()).collect();
    let done = run(folder.path(), &[&["init", "-c", "all.yaml"], &all[..]].concat());
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert!(text(&done.stdout).contains("hooklatch serve -c all.yaml\n"), "{done:?}");
    let checked = run(folder.path(), &["check", "-c", "all.yaml"]);
    assert_eq!((checked.status.code(), text(&checked.stdout).lines().count()), (Some(0), all.len()), "{checked:?}");
}

#[test]
fn nothing_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.yaml");
    fs::write(&file, "mine\n").unwrap();
    let done = run(folder.path(), &["init", "civo"]);
    assert_eq!((done.status.code(), done.stdout.is_empty()), (Some(1), true));
    assert!(text(&done.stderr).contains("gateway.yaml exists"), "{done:?}");
    assert_eq!(
        (fs::read_to_string(&file).unwrap().as_str(), names(folder.path())),
        ("mine\n", vec!["gateway.yaml".to_owned()])
    );

    fs::create_dir(folder.path().join("secrets")).unwrap();
    let secret = folder.path().join("secrets/civo");
    fs::write(&secret, "0123456789abcdef-mine").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let done = run(folder.path(), &["init", "civo", "-c", "other.yaml"]);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert!(text(&done.stderr).contains("secrets/civo exists"), "{done:?}");
    assert!(!text(&done.stderr).contains("warning"), "{done:?}");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let done = run(folder.path(), &["init", "civo", "-c", "third.yaml"]);
    assert!(text(&done.stderr).contains("can get at secrets/civo (mode 0644): chmod 600 secrets/civo"), "{done:?}");
    assert_eq!(fs::read_to_string(&secret).unwrap(), "0123456789abcdef-mine");
}

#[test]
fn a_scheme_that_cannot_be_used_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, says) in [
        (&["init", "githb"][..], "did you mean \"github\"?"),
        (&["init", "civo", "civo"], "civo is named twice"),
        (&["init", "aws-sns"], "cannot be verified"),
        (&["init"], "SCHEME"),
    ] {
        let done = run(folder.path(), arguments);
        assert_eq!((done.status.code(), text(&done.stderr).contains(says)), (Some(2), true), "{done:?}");
    }
    assert!(names(folder.path()).is_empty());
    // A secret of before that is no secret: the file that does not load goes again.
    fs::create_dir(folder.path().join("secrets")).unwrap();
    fs::write(folder.path().join("secrets/civo"), "").unwrap();
    let done = run(folder.path(), &["init", "civo"]);
    assert_eq!(done.status.code(), Some(78), "{done:?}");
    assert_eq!(names(folder.path()), ["secrets"]);
    // The secrets that were made before go as well, and nothing that was there.
    let done = run(folder.path(), &["init", "github", "stripe", "civo"]);
    assert_eq!(done.status.code(), Some(78), "{done:?}");
    assert_eq!(
        (names(folder.path()), names(&folder.path().join("secrets"))),
        (vec!["secrets".to_owned()], vec!["civo".to_owned()])
    );
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("secrets"), "no folder").unwrap();
    let done = run(other.path(), &["init", "github"]);
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    assert_eq!(names(other.path()), ["secrets"]);
}
