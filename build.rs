//! Tells the build which commit it is made of, for `hooklatch_build_info` and `--version`, and which scheme files there
//! are: adding one to the catalogue is all that a new provider takes.

use std::fs;
use std::path::Path;
use std::process::Command;

const CATALOGUE: &str = "src/schemes/catalogue";
const VECTORS: &str = "tests/vectors";

fn main() {
    println!("cargo::rerun-if-env-changed=HOOKLATCH_REVISION");
    // Of a checkout or a linked worktree. A file that is not there would have everything built anew each time.
    if let Some(log) = git(&["--git-path", "logs/HEAD"]).filter(|log| Path::new(log).is_file()) {
        println!("cargo::rerun-if-changed={log}");
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={CATALOGUE}");
    println!("cargo::rerun-if-changed={VECTORS}");
    let given = std::env::var("HOOKLATCH_REVISION").ok().filter(|revision| !revision.is_empty());
    let revision = given.or_else(checked_out).or_else(packaged).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=HOOKLATCH_REVISION={revision}");
    list_schemes();
}

/// The commit of this checkout; none where the sources were unpacked within somebody else's.
fn checked_out() -> Option<String> {
    let top = fs::canonicalize(git(&["--show-toplevel"])?).ok()?;
    (top == fs::canonicalize(std::env::var_os("CARGO_MANIFEST_DIR")?).ok()?).then(|| git(&["--short=12", "HEAD"]))?
}

/// The commit that `cargo package` notes down in what it packs.
fn packaged() -> Option<String> {
    let noted = fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let (_, hash) = noted.split_once("\"sha1\": \"")?;
    hash.get(..12).map(ToOwned::to_owned)
}

/// What `git rev-parse` says, if this is a checkout and git is there.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("rev-parse").args(arguments).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !said.is_empty()).then_some(said)
}

/// Writes the table that `schemes/catalogue.rs` includes: a line for each scheme file, by name.
fn list_schemes() {
    let root = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the package is");
    let files = fs::read_dir(Path::new(&root).join(CATALOGUE)).expect("the catalogue is part of the package");
    let mut names: Vec<String> = files
        .filter_map(|file| file.ok()?.file_name().into_string().ok()?.strip_suffix(".yaml").map(ToOwned::to_owned))
        .collect();
    names.sort_unstable();
    let mut table = format!("static ENTRIES: [Entry; {}] = [\n", names.len());
    for name in &names {
        let yaml = Path::new(&root).join(CATALOGUE).join(format!("{name}.yaml"));
        let vectors = Path::new(&root).join(VECTORS).join(format!("{name}.json"));
        let vectors = if vectors.is_file() { format!("include_str!({vectors:?})") } else { "\"[]\"".to_owned() };
        table.push_str(&format!("    Entry::new({name:?}, include_str!({yaml:?}), {vectors}),\n"));
    }
    table.push_str("];\n");
    let out = std::env::var("OUT_DIR").expect("cargo says where output goes");
    fs::write(Path::new(&out).join("catalogue.rs"), table).expect("the output folder takes a file");
}
