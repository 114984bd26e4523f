//! The README and the pages of `docs`: runs the commands that they show, and checks that some test covers every block.

use std::collections::BTreeSet;
use std::fs;

use hooklatch::reject::Reject;
use hooklatch::schemes;

use super::Block;
use super::markdown::{Document, spans};
use super::session::{self, reason};
use crate::support::tools::{self, succeeds, tool};

/// The number of blocks that are not run: builds, installations of packages, and a measurement of minutes.
const NOT_RUN: usize = 9;

/// Programs that pages have their readers run, beside hooklatch and what every system has.
const PROGRAMS: [&str; 4] = ["curl", "node", "openssl", "python3"];

/// Whether all that a page has its readers run is installed; if not, the page is to be passed over.
fn can_follow(page: &Document) -> bool {
    let blocks = page.blocks(&["console"]);
    let typed: String =
        blocks.iter().filter(|block| reason(block).is_none()).map(|block| block.text.as_str()).collect();
    let words: Vec<&str> = typed.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let needed: Vec<&str> = PROGRAMS.into_iter().filter(|program| words.contains(program)).collect();
    tools::have(&needed) && (!typed.contains("express-icr") || tools::have_packages("tests/handlers/express-icr"))
}

/// How the output of serve on a terminal begins.
pub const ON_TERMINAL: &str = concat!("hooklatch ", env!("CARGO_PKG_VERSION"), " on ");

fn pages() -> Vec<Document> {
    let root = Document::read("README.md").path;
    let docs = root.with_file_name("docs");
    Document::all().into_iter().filter(|page| page.path == root || page.path.starts_with(&docs)).collect()
}

fn blocks() -> Vec<Block> {
    pages().iter().flat_map(Document::blocks_of_any).collect()
}

#[test]
fn what_the_pages_tell_their_readers_to_do_does_what_they_show() {
    let (can_be_followed, passed_over): (Vec<_>, Vec<_>) = pages().into_iter().partition(can_follow);
    let typed: usize = can_be_followed.iter().map(session::follow).sum();
    assert!(typed >= 50 || !passed_over.is_empty(), "{typed}");
}

#[test]
fn what_is_not_run_says_why() {
    let blocks = blocks();
    let not_run: Vec<_> = blocks.iter().filter_map(|block| Some((&block.place, reason(block)?))).collect();
    assert_eq!(not_run.len(), NOT_RUN, "{not_run:#?}");
}

#[test]
fn every_block_is_of_a_kind_that_is_checked() {
    for Block { language, info, text, place } in blocks() {
        match language.as_str() {
            // These are run, loaded, or checked by promtool, on every page.
            "console" | "yaml" | "promql" => {}
            // A drawing, or the output of the demo or of serve on a terminal, which tests compare.
            "text" => {
                let is_output = ["hooklatch demo:", ON_TERMINAL].iter().any(|start| text.starts_with(start));
                let is_checked = text.starts_with('┌') || is_output;
                assert!(is_checked, "{place}: nothing compares it");
            }
            "caddyfile" => assert!(place.contains("docs/public-url.md:"), "{place}: no Caddy runs it"),
            "sql" => assert!(place.contains("docs/cluster.md:"), "{place}: nothing runs it"),
            "scheme" => assert!(place.contains("docs/schemes.md:"), "{place}: nothing loads it"),
            "http" => {
                let is_refusal = place.contains("docs/troubleshooting.md:");
                assert!(!info.is_empty() || is_refusal, "{place}: a request that is in no file");
            }
            "json" => drop(serde_json::from_str::<serde_json::Value>(&text).expect(&place)),
            "python" | "js" => assert!(!info.is_empty(), "{place}: a program that is never run"),
            other => panic!("{place}: nothing checks {other:?}"),
        }
    }
}

#[test]
fn every_block_is_in_a_fence() {
    for page in pages() {
        let prose = page.prose();
        let lines = prose.lines().collect::<Vec<_>>();
        // Indented code, which no test would check. Text in lists has less indentation.
        let indented = lines.windows(2).find(|pair| pair[0].is_empty() && pair[1].starts_with("    "));
        assert!(indented.is_none() && !prose.contains("~~~"), "{}: {indented:?}", page.path.display());
    }
}

#[test]
fn every_query_is_about_metrics_that_there_are_and_prometheus_takes_it() {
    let known: BTreeSet<String> =
        Document::read("docs/metrics.md").table("Metric").iter().map(|row| spans(&row[0]).concat()).collect();
    let queries: Vec<(String, String)> = blocks()
        .into_iter()
        .filter(|block| block.language == "promql")
        .flat_map(|block| block.text.lines().map(|line| (block.place.clone(), line.to_owned())).collect::<Vec<_>>())
        .collect();
    assert!(queries.len() >= 10);
    for (place, query) in &queries {
        let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let own: Vec<&str> = words.clone().filter(|word| word.starts_with("hooklatch_")).collect();
        assert!(!own.is_empty() || words.clone().any(|word| word.starts_with("process_")), "{place}: {query}");
        for name in own {
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            assert!(known.contains(name) || family.is_some_and(|family| known.contains(family)), "{place}: {name}");
        }
    }
    let Some(mut promtool) = tool("promtool") else { return };
    let rules: Vec<_> = (0..)
        .zip(&queries)
        .map(|(number, (_, query))| serde_json::json!({ "record": format!("q:{number}"), "expr": query }))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.yml");
    fs::write(&file, serde_json::json!({ "groups": [{ "name": "docs", "rules": rules }] }).to_string()).unwrap();
    succeeds(promtool.args(["check", "rules"]).arg(file));
}

#[test]
fn every_reason_has_its_place_in_the_troubleshooting() {
    let page = Document::read("docs/troubleshooting.md");
    let headings: Vec<String> =
        page.text.lines().filter_map(|line| line.strip_prefix("### ")).map(|line| spans(line).concat()).collect();
    let expected: BTreeSet<&str> = Reject::ALL.iter().chain([&Reject::Bug]).map(|reject| reject.reason()).collect();
    assert_eq!(headings.iter().map(String::as_str).collect::<BTreeSet<_>>(), expected);
    assert_eq!(headings.len(), expected.len());
}

/// `UPDATE_DOCS=1 cargo test --test it the_table_of_schemes` writes it anew.
#[test]
fn the_number_of_providers_in_the_readme_is_that_of_the_table_of_schemes() {
    let supported = schemes::names().filter_map(schemes::find).filter(|spec| spec.unsupported.is_none()).count();
    let readme = Document::read("README.md");
    let link = " providers](docs/providers/README.md)";
    let (before, after) = readme.text.split_once(link).expect("the README links to the table of schemes");
    let (before, number) = before.rsplit_once('[').unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&readme.path, format!("{before}[{supported}{link}{after}")).unwrap();
    } else {
        let how = "UPDATE_DOCS=1 cargo test --test it the_table_of_schemes writes it anew";
        assert_eq!(number, supported.to_string(), "{how}");
    }
}

#[test]
fn the_readme_names_the_oldest_rust_that_the_manifest_allows() {
    let shown = format!(" {} or later", env!("CARGO_PKG_RUST_VERSION"));
    let readme = super::read("README.md");
    let line = readme.lines().find(|line| line.contains("[Rust](")).unwrap();
    assert!(line.contains(&shown), "the README says {line:?}, Cargo.toml {shown:?}");
}

#[test]
fn the_providers_of_the_readme_are_set_up_as_their_pages_say() {
    let rows = Document::read("README.md").table("Provider");
    assert_eq!(rows.len(), 3);
    for row in rows {
        let (_, link) = row[0].split_once("](").unwrap();
        let page = super::read(link.trim_end_matches(')'));
        for cell in &row[1..] {
            let shown = spans(cell).concat();
            assert!(!shown.is_empty() && page.contains(&shown), "{link} {shown}");
        }
    }
}

#[test]
fn the_figures_of_the_readme_are_those_of_the_table() {
    let performance = super::read("docs/performance.md");
    let row = performance.lines().find(|line| line.starts_with("| CPU a request: verified, 3 KB ")).unwrap();
    let hooklatch = row.split('|').nth(3).unwrap();
    let (time, ratio) = hooklatch.split_once(';').unwrap();
    let ratio = ratio.split_whitespace().next().unwrap();
    let readme = super::read("README.md").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        readme.contains(&format!("takes {} of CPU time, {ratio} of what HAProxy takes", time.trim())),
        "{hooklatch}"
    );
    let peers = performance.lines().find(|line| line.starts_with("Where a peer is better")).unwrap();
    assert!(readme.contains(peers), "the README does not say {peers:?}");
}
