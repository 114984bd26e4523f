//! Rules about the sources that the compiler does not check: who may import whom, what only one file may do, how long
//! a file may grow. ARCHITECTURE.md gives the reasons; its module map is held against [`ROOMS`] here.
//!
//! The checks read the sources as text. Comments, the contents of strings and `#[cfg(test)]` items are taken off first;
//! `use` trees are expanded, and paths in the code count as imports too. The tests of the second half show each check
//! samples that it must refuse.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on should stop")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rust::{begins, clean, paths, resolve, tokens, without_tests};

#[path = "architecture/circles.rs"]
mod circles;
#[path = "architecture/rust.rs"]
mod rust;

/// The rooms of the house, from the top down, and what each may import of the rooms below it.
const ROOMS: &[(&str, &str)] = &[
    ("cli", "acts app clock config crypto http1 lock net reject schemes store text upstream"),
    ("app", "acts admin clock config gateway http1 metrics net observe queue record routing server store upstream"),
    ("admin", "acts clock config lock metrics net priority queue record reject routing schemes search store text"),
    ("acts", "clock config delivery gateway http1 lock metrics queue record reject routing schemes store upstream"),
    ("server", "clock config delivery gateway http1 lock metrics net observe record reject"),
    ("gateway", "clock config delivery http1 metrics observe queue record reject routing schemes store upstream"),
    ("search", "config record schemes store"),
    ("queue", "clock config http1 lock metrics observe record routing store upstream"),
    ("record", "clock config delivery http1 metrics reject routing schemes store upstream"),
    ("observe", "clock config delivery lock metrics net reject routing upstream"),
    ("delivery", "config http1 metrics reject routing schemes upstream"),
    ("routing", "config http1 lock metrics reject schemes upstream"),
    ("upstream", "clock config http1 lock metrics net"),
    ("http1", "clock net"),
    ("net", "config crypto"),
    ("metrics", "config reject"),
    ("config", "crypto schemes store"),
    ("reject", "schemes"),
    ("schemes", "crypto"),
    ("store", "clock crypto lock priority"),
    ("crypto", ""),
    ("clock", ""),
    ("lock", ""),
    ("priority", ""),
    ("text", ""),
];

/// Modules and what of other crates they must not use: `schemes` is pure, `config` touches no network.
const FORBIDDEN: &[(&str, &str)] = &[
    (
        "schemes",
        "tokio hyper hyper_util tower tower_http tracing prometheus rustls socket2 clap \
         std::time::Instant std::time::SystemTime std::env std::fs std::io std::net std::process std::thread",
    ),
    ("config", "tokio hyper hyper_util tower tower_http tracing prometheus clap"),
    ("admin", "clap std::env std::fs std::process"),
    ("server", "clap std::env std::fs std::process"),
    ("gateway", "clap std::env std::fs std::process"),
    ("search", "tokio hyper clap std::env std::fs std::io std::process std::thread"),
    ("queue", "clap std::env std::fs std::process"),
    ("record", "tokio clap std::env std::fs std::process"),
    ("observe", "clap std::env std::fs std::process"),
    ("delivery", "clap std::env std::fs std::process"),
    ("routing", "clap std::env std::fs std::process"),
    ("upstream", "clap std::env std::fs std::process"),
    ("http1", "clap prometheus std::env std::fs std::process"),
    ("net", "clap hyper std::env std::fs std::process"),
    ("metrics", "tokio hyper tower clap"),
];

/// The longest file, in lines.
const MAX_LINES: usize = 500;

/// A source file without what does not count: comments, the contents of strings, tests.
struct Source {
    module: Vec<String>,
    code: String,
}

// --- The rules -------------------------------------------------------------------------------------------------------

#[test]
fn a_module_imports_only_what_the_map_allows() {
    let wrong: Vec<String> = sources().iter().flat_map(|source| wrong_imports(source, ROOMS)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_rooms_stand_in_an_order_in_which_each_knows_only_those_below() {
    for (at, (room, allowed)) in ROOMS.iter().enumerate() {
        for below in allowed.split_whitespace() {
            assert!(
                ROOMS[at + 1..].iter().any(|(known, _)| *known == below),
                "{room} knows {below}, which is not below"
            );
        }
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let sources = sources();
    let modules: Vec<_> = sources.iter().map(|source| (&source.module, source.code.as_str())).collect();
    let circles = circles::circles(&modules);
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn a_module_uses_no_crate_that_it_must_do_without() {
    let wrong: Vec<String> = sources().iter().flat_map(|source| forbidden_uses(source, FORBIDDEN)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_map_is_that_of_architecture_md() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let documented: Vec<(String, BTreeSet<String>)> = text
        .lines()
        .skip_while(|line| !line.starts_with("| Module |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
            (spans(cells[0]).next().unwrap(), spans(cells[2]).collect())
        })
        .collect();
    let enforced: Vec<(String, BTreeSet<String>)> = ROOMS
        .iter()
        .map(|(module, allowed)| ((*module).to_owned(), allowed.split_whitespace().map(str::to_owned).collect()))
        .collect();
    assert_eq!(documented, enforced);
}

#[test]
fn every_module_is_in_the_documentation_of_its_parent() {
    let known: BTreeSet<&str> = ROOMS.iter().map(|(room, _)| *room).collect();
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let rooms: BTreeSet<&str> = public_modules(&lib).into_iter().collect();
    assert_eq!(rooms, known, "src/lib.rs and the map");
    // `config` and `schemes` document their public surface, not their files.
    let is_described = |file: &PathBuf| {
        (file.ends_with("mod.rs") || file.ends_with("lib.rs"))
            && !file.ends_with("schemes/mod.rs")
            && !file.ends_with("config/mod.rs")
    };
    for file in files(&root().join("src")).into_iter().filter(is_described) {
        let text = fs::read_to_string(&file).unwrap();
        for module in public_modules(&text) {
            let listed = text.lines().any(|line| line.starts_with("//!") && line.contains(&format!("[`{module}`]")));
            assert!(listed, "the documentation of {} does not name {module}", file.display());
        }
    }
}

#[test]
fn only_the_clock_reads_the_clock() {
    let readers: Vec<String> = sources()
        .iter()
        .filter(|source| reads_the_clock(&source.code))
        .map(|source| source.module.join("::"))
        .collect();
    assert_eq!(readers, ["clock"]);
}

#[test]
fn only_the_verifying_stage_makes_what_may_be_forwarded() {
    for source in sources() {
        let expected = usize::from(source.module == ["gateway", "verify"]);
        assert_eq!(constructions(&source.code, "Verified"), expected, "{}", source.module.join("::"));
        // Of a delivery on its way, and of a recorded one.
        assert_eq!(constructions(&source.code, "Proven"), 2 * expected, "{}", source.module.join("::"));
    }
    let verify = fs::read_to_string(root().join("src/gateway/verify.rs")).unwrap();
    for begin in ["pub struct Verified {", "pub struct Proven<'a> {"] {
        let fields = verify.split_once(begin).and_then(|(_, rest)| rest.split_once('}')).unwrap().0;
        assert!(!fields.contains("pub"), "a public field would let others make one:{fields}");
    }
}

#[test]
fn nothing_outside_of_tests_unwraps() {
    let unwrapping: Vec<String> =
        sources().iter().filter(|source| unwraps(&source.code)).map(|source| source.module.join("::")).collect();
    assert!(unwrapping.is_empty(), "{unwrapping:?}");
}

#[test]
fn main_is_thin() {
    let main = fs::read_to_string(root().join("src/main.rs")).unwrap();
    assert!(main.lines().count() < 100);
    let used: Vec<_> = paths(&clean(&main)).into_iter().filter(|path| path[0] == "hooklatch").collect();
    assert!(used.iter().all(|path| path[1] == "cli"), "{used:?}");
}

#[test]
fn no_file_outgrows_five_hundred_lines() {
    let extensions = ["rs", "yaml", "js", "mjs", "py"];
    let is_source = |path: &PathBuf| path.extension().is_some_and(|end| extensions.iter().any(|known| end == *known));
    let files: Vec<PathBuf> = ["src", "tests"].iter().flat_map(|folder| files(&root().join(folder))).collect();
    let sources: Vec<PathBuf> = files.into_iter().filter(is_source).collect();
    assert!(sources.len() > 50, "only {} files found", sources.len());
    for file in sources {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines", file.display());
    }
}

// --- The checks can fail ---------------------------------------------------------------------------------------------

fn sample(module: &str, code: &str) -> Source {
    Source { module: module.split("::").map(str::to_owned).collect(), code: without_tests(&clean(code)) }
}

#[test]
fn an_import_is_seen_however_it_is_written() {
    for code in [
        "use crate::cli;",
        "use crate::cli::Cli;",
        "pub use crate::cli::*;",
        "use crate::{clock::Clock, config::{self, Config}, cli::{outgoing::{post, Reply}}};",
        "use crate::{\n    clock::Clock,\n    cli as other,\n};",
        "use super::super::cli::Cli;",
        "use super::super::{cli, config};",
        "fn f() { crate::cli::run() }",
        "fn f(x: &super::super::cli::Cli) {}",
        "use /* sly */ crate :: cli;",
    ] {
        let wrong = wrong_imports(&sample("gateway::forward", code), ROOMS);
        assert!(!wrong.is_empty(), "{code}");
        assert!(wrong.iter().all(|wrong| wrong.starts_with("gateway::forward imports cli")), "{code}: {wrong:?}");
    }
}

#[test]
fn a_room_above_is_refused_and_one_below_is_not() {
    for code in ["use crate::gateway::verify;", "use crate::gateway;", "fn f() { crate::gateway::run() }"] {
        assert_eq!(wrong_imports(&sample("metrics", code), ROOMS).len(), 1, "{code}");
    }
    assert!(wrong_imports(&sample("metrics", "use crate::reject::{Fault, Reject};"), ROOMS).is_empty());
}

#[test]
fn a_path_within_the_room_is_allowed_and_one_that_leaves_it_counts() {
    assert!(wrong_imports(&sample("upstream::pool", "use super::target::target;"), ROOMS).is_empty());
    assert!(wrong_imports(&sample("schemes::payload::equal", "use super::super::spec::Spec;"), ROOMS).is_empty());
    assert_eq!(wrong_imports(&sample("upstream::pool", "use super::super::gateway::verify;"), ROOMS).len(), 1);
}

#[test]
fn a_circle_is_seen_however_it_is_closed() {
    let module = |path: &str| -> Vec<String> { path.split("::").map(str::to_owned).collect() };
    let found = |files: &[(&str, &str)]| -> Vec<usize> {
        let files: Vec<_> = files.iter().map(|(path, code)| (module(path), *code)).collect();
        let files: Vec<_> = files.iter().map(|(path, code)| (path, *code)).collect();
        circles::circles(&files).iter().map(Vec::len).collect()
    };
    assert_eq!(
        found(&[("a::b", "use super::c::C;"), ("a::c", "use crate::d;"), ("d", "fn f() { crate::a::b::g() }")]),
        [3]
    );
    assert_eq!(found(&[("a", "use b::B;"), ("a::b", "use super::A;")]), [0; 0], "a parent and its child");
    assert_eq!(found(&[("a", "mod b; pub use b::B;"), ("a::b", "use super::A;"), ("c", "use crate::a::B;")]), [0; 0]);
    assert_eq!(
        found(&[("a", "pub use b::B;"), ("a::b", "use crate::c::C;"), ("c", "use crate::a::B;")]),
        [2],
        "by a re-export"
    );
    assert_eq!(found(&[("a", "use crate::b::B;"), ("b", "use crate::a::A;"), ("c", "use crate::a::A;")]), [2]);
}

#[test]
fn a_module_that_the_map_does_not_have_is_refused() {
    assert_eq!(wrong_imports(&sample("cellar::queue", ""), ROOMS), ["cellar::queue is not in the map"]);
}

#[test]
fn what_is_only_said_does_not_count() {
    for code in [
        "// use crate::cli;\n//! see [`crate::cli`]\n/* use crate::cli; /* nested */ still */",
        "const S: &str = \"use crate::cli; \\\" crate::cli\";",
        "const S: &str = r#\"crate::cli \" \"#;",
        "#[cfg(test)]\nmod tests {\n    use crate::cli;\n    fn f() { g(\"}\") }\n}",
        "const C: [char; 2] = ['\"', '\\''];\nfn f<'a>(x: &'a str) {}",
    ] {
        assert!(wrong_imports(&sample("schemes", code), ROOMS).is_empty(), "{code}");
    }
    let after_a_quote = sample("schemes", "const C: char = '\"'; use crate::cli; const D: char = '\"';");
    assert_eq!(wrong_imports(&after_a_quote, ROOMS).len(), 1);
    let after_tests = sample("schemes", "#[cfg(test)]\nmod tests;\nuse crate::cli;");
    assert_eq!(wrong_imports(&after_tests, ROOMS).len(), 1);
}

#[test]
fn a_forbidden_crate_is_seen_however_it_is_written() {
    for code in [
        "use tokio::time;",
        "use std::{fmt, time::{Duration, Instant}};",
        "use std::time;",
        "use std::time::*;",
        "fn f() { tracing::info!(); }",
        "fn f(at: std::time::SystemTime) {}",
        "fn f() { std::fs::read(path) }",
    ] {
        assert_eq!(forbidden_uses(&sample("schemes::mac", code), FORBIDDEN).len(), 1, "{code}");
    }
    assert!(
        forbidden_uses(&sample("schemes::mac", "use std::time::Duration; use bytes::Bytes;"), FORBIDDEN).is_empty()
    );
}

#[test]
fn reading_the_clock_unwrapping_and_making_a_verified_delivery_are_seen() {
    assert!(reads_the_clock("let now = Instant::now();"));
    assert!(reads_the_clock("x.map_or_else(std::time::SystemTime::now, f)"));
    assert!(!reads_the_clock("let now = clock.now();"));
    assert!(unwraps("x\n    .unwrap()"));
    assert!(!unwraps("x.unwrap_or_default()"));
    assert_eq!(constructions("pub struct Verified { x: u8 } impl Verified { }", "Verified"), 0);
    assert_eq!(constructions("f(Verified { x: 1 }, super::Verified{ x })", "Verified"), 2);
}

// --- The checks ------------------------------------------------------------------------------------------------------

/// What a source imports of this crate without being allowed to.
fn wrong_imports(source: &Source, rules: &[(&str, &str)]) -> Vec<String> {
    let module = source.module.join("::");
    let Some((own, allowed)) = rules.iter().find(|(key, _)| begins(&source.module, key)) else {
        return vec![format!("{module} is not in the map")];
    };
    let tops: BTreeSet<&str> = rules.iter().filter_map(|(key, _)| key.split("::").next()).collect();
    let imported: BTreeSet<Vec<String>> =
        paths(&source.code).iter().filter_map(|path| resolve(path, &source.module)).collect();
    imported
        .iter()
        .filter(|path| path.first().is_some_and(|top| tops.contains(top.as_str())))
        .filter(|path| !begins(path, own) && !allowed.split_whitespace().any(|entry| begins(path, entry)))
        .map(|path| format!("{module} imports {}", path.join("::")))
        .collect()
}

/// What a source uses of other crates although it must not.
fn forbidden_uses(source: &Source, rules: &[(&str, &str)]) -> Vec<String> {
    let forbidden: Vec<&str> = rules
        .iter()
        .filter(|(module, _)| begins(&source.module, module))
        .flat_map(|(_, forbidden)| forbidden.split_whitespace())
        .collect();
    let used: BTreeSet<Vec<String>> = paths(&source.code).into_iter().collect();
    used.iter()
        .filter(|path| {
            forbidden.iter().any(|entry| entry.split("::").zip(path.iter()).all(|(a, b)| a == b || b == "*"))
        })
        .map(|path| format!("{} uses {}", source.module.join("::"), path.join("::")))
        .collect()
}

fn reads_the_clock(code: &str) -> bool {
    let clocks = ["Instant", "SystemTime"];
    paths(code).iter().any(|path| path.windows(2).any(|pair| clocks.contains(&pair[0].as_str()) && pair[1] == "now"))
}

fn unwraps(code: &str) -> bool {
    code.contains(".unwrap()")
}

/// How often a struct literal of this name stands in the code.
fn constructions(code: &str, name: &str) -> usize {
    let tokens = tokens(code);
    let literal = |at: &usize| {
        let before = at.checked_sub(1).and_then(|at| tokens.get(at)).copied();
        tokens[*at] == name && tokens.get(at + 1) == Some(&"{") && !matches!(before, Some("struct" | "impl" | "for"))
    };
    (0..tokens.len()).filter(literal).count()
}

/// The modules that a file declares with `pub mod`.
fn public_modules(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect()
}

// --- Finding files ---------------------------------------------------------------------------------------------------

/// The crate's modules without their tests; `lib.rs` and `main.rs` aside, which have rules of their own.
fn sources() -> Vec<Source> {
    let folder = root().join("src");
    let sources: Vec<Source> = files(&folder)
        .iter()
        .filter(|file| file.extension().is_some_and(|end| end == "rs"))
        .filter_map(|file| {
            let path = file.strip_prefix(&folder).unwrap().with_extension("");
            let words = path.iter().map(|word| word.to_str().unwrap().to_owned());
            let module: Vec<String> = words.filter(|word| word != "mod").collect();
            let skipped = module == ["lib"] || module == ["main"];
            let skipped = skipped || module.iter().any(|word| word == "tests");
            let text = fs::read_to_string(file).unwrap();
            (!skipped).then(|| Source { module, code: without_tests(&clean(&text)) })
        })
        .collect();
    assert!(sources.len() > 30, "only {} sources found", sources.len());
    sources
}

/// All files below a folder, but what package managers put there.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, mut found): (Vec<PathBuf>, Vec<PathBuf>) = entries.partition(|path| path.is_dir());
    for folder in folders.iter().filter(|folder| !folder.ends_with("node_modules")) {
        found.extend(files(folder));
    }
    found.sort();
    found
}

/// The texts between backticks.
fn spans(text: &str) -> impl Iterator<Item = String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
