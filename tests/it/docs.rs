//! Compares the documentation with the code, in both directions: an extra row fails like a missing one.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Duration;

use hooklatch::clock::Clock;
use hooklatch::config::{self, Config, Sources};
use hooklatch::delivery::peer::Peer;
use hooklatch::delivery::request::RequestInfo;
use hooklatch::delivery::timeline::Timeline;
use hooklatch::gateway::headers;
use hooklatch::http1::as_sent::SentHead;
use hooklatch::metrics::{Configured, Expiry, Metrics, NO_ROUTE, RouteKind};
use hooklatch::queue::retry::RetryPolicy;
use hooklatch::reject::Reject;
use hooklatch::routing::route_headers::RouteHeaders;
use hooklatch::schemes::{self, Spec, VerifyError};
use http::{HeaderValue, Request, StatusCode};
use zeroize::Zeroizing;

use markdown::{Block, Document, spans};

/// The commands that documents show, and the page about commands.
mod commands;

/// Just enough of Markdown.
pub mod markdown;

/// The README and the pages of `docs`: runs their commands.
pub mod pages;

/// Compares the reference of the configuration with the loader.
mod reference;

/// Runs the commands of one page and compares the output.
mod session;

/// The page with the table of schemes.
const PROVIDERS: &str = "docs/providers/README.md";

/// The labels whose values are a closed list.
const CLOSED_LABELS: [&str; 5] = ["outcome", "protocol", "result", "side", "state"];

/// Sources in which every variable is set and every file exists. A file with the name of a PEM file has a certificate and its
/// key; the variable that is called after a database has its URL.
struct MadeUp;

impl Sources for MadeUp {
    fn env(&self, name: &str) -> Option<OsString> {
        Some(if name == "DATABASE_URL" { "postgresql://made:up@database/up" } else { "made-up" }.into())
    }

    fn file(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        static PEM: LazyLock<String> = LazyLock::new(|| {
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
            certificate.pem() + &key.serialize_pem()
        });
        let kind = path.extension().and_then(OsStr::to_str);
        let is_pem = kind.is_some_and(|kind| ["crt", "key", "pem"].contains(&kind));
        Ok(Zeroizing::new(if is_pem { PEM.as_bytes().to_vec() } else { b"made-up\n".to_vec() }))
    }
}

fn load(text: &str, place: &str) -> Config {
    config::parse(text, Path::new(""), &MadeUp).unwrap_or_else(|errors| panic!("{place}: {errors:#?}\n{text}"))
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

// --- Configurations --------------------------------------------------------------------------------------------------

/// Makes a whole configuration from the part that a document shows.
fn completed(text: &str) -> String {
    if !text.starts_with("secrets:") {
        return text.to_owned();
    }
    let route = "name: r\n    path: /r\n    scheme: civo\n    upstream: http://127.0.0.1:1\n";
    let indented: String = text.lines().map(|line| format!("    {line}\n")).collect();
    format!("routes:\n  - {route}{indented}")
}

/// Whether a block shows an invalid configuration: its file's name begins with `wrong`.
fn is_wrong(block: &Block) -> bool {
    block.info.starts_with("wrong")
}

#[test]
fn every_configuration_that_is_shown_loads_and_fits_the_schema() {
    let schema = jsonschema::validator_for(&config::schema()).unwrap();
    let mut loaded = Vec::new();
    for document in Document::all() {
        for block in document.blocks(&["yaml", "yml"]) {
            let text = completed(&block.text);
            let value = serde_yaml::from_str(&text).unwrap();
            let fits = schema.validate(&value);
            if is_wrong(&block) {
                assert!(fits.is_err() && config::parse(&text, Path::new(""), &MadeUp).is_err(), "{}", block.place);
                continue;
            }
            load(&text, &block.place);
            fits.unwrap_or_else(|error| panic!("{}: {error}", block.place));
            loaded.push(block.place);
        }
    }
    assert!(loaded.len() >= 6, "{loaded:?}");
}

#[test]
fn every_scheme_that_is_shown_is_one() {
    let document = Document::read("docs/schemes.md");
    let blocks = document.blocks(&["scheme"]);
    assert!(blocks.len() >= 4);
    for block in blocks {
        let scheme: serde_json::Value = serde_yaml::from_str(&block.text).unwrap();
        let name = scheme["name"].as_str().unwrap().to_owned();
        Spec::custom(&name, scheme).unwrap_or_else(|faults| panic!("{}: {faults}", block.place));
    }
}

#[test]
fn a_configuration_that_does_not_load_is_noticed() {
    for text in ["secrets:\n  - environment: X\n", "routes: []\n", "anything: else\n"] {
        assert!(config::parse(&completed(text), Path::new(""), &MadeUp).is_err(), "{text}");
    }
}

// --- Tables ----------------------------------------------------------------------------------------------------------

#[test]
fn the_table_of_reasons_is_that_of_the_code() {
    let documented: Vec<(String, String)> = Document::read("docs/troubleshooting.md")
        .table("Reason")
        .iter()
        .map(|row| (spans(&row[0]).concat(), row[1].clone()))
        .collect();
    let known: Vec<(String, String)> = Reject::ALL
        .iter()
        .map(|reject| (reject.reason().to_owned(), reject.status(StatusCode::UNAUTHORIZED).as_str().to_owned()))
        .collect();
    assert_eq!(documented, known);
}

#[test]
fn the_refusal_that_is_shown_is_one() {
    let blocks = Document::read("docs/troubleshooting.md").blocks(&["http"]);
    let shown = blocks[0].text.lines().find(|line| line.starts_with('{')).unwrap();
    let shown: serde_json::Value = serde_json::from_str(shown).unwrap();
    let reject = Reject::Signature(VerifyError::MissingSignature);
    assert_eq!(shown["title"], reject.facts().title);
    assert_eq!(shown["reason"], reject.reason());
    assert_eq!(shown["type"], format!("urn:hooklatch:problem:{}", reject.reason()));
    assert_eq!(shown["status"], 401);
    let id = shown["request_id"].as_str().unwrap();
    assert!(blocks[0].text.contains(&format!("x-request-id: {id}\n")));
}

#[test]
fn the_table_of_attempts_is_what_the_default_waits_add_up_to() {
    let documented = Document::read("docs/delivery.md").table("Attempt");
    let policy = RetryPolicy::default();
    let mut since_first = Duration::ZERO;
    let made: Vec<Vec<String>> = (1..=documented.len())
        .map(|attempt| {
            let failed = u32::try_from(attempt - 1).unwrap();
            // In the middle of the jitter.
            let wait = if failed == 0 { Duration::ZERO } else { policy.wait(failed, 0.5) };
            since_first += wait;
            let shown = |time| humantime::format_duration(time).to_string();
            vec![attempt.to_string(), shown(wait), shown(since_first)]
        })
        .collect();
    assert_eq!(documented, made);
    assert_eq!(policy.wait(u32::try_from(made.len()).unwrap(), 0.5), policy.max_backoff, "the next ones are as long");
}

#[test]
fn each_test_that_the_pages_on_failures_name_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut code, mut folders) =
        (String::new(), ["tests/it", "src/store", "src/queue"].map(|folder| root.join(folder)).to_vec());
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                code += &fs::read_to_string(path).unwrap();
            }
        }
    }
    let (page, cluster) = (Document::read("docs/delivery.md"), Document::read("docs/cluster.md"));
    let rows = [page.table("Failure"), page.table("Scenario"), cluster.table("Failure")].concat();
    assert!(rows.len() >= 40, "{}", rows.len());
    for row in rows {
        let tests = spans(row.last().unwrap());
        assert!(!tests.is_empty(), "{row:?}");
        for test in tests {
            assert!(code.contains(&format!("fn {test}()")), "{test}");
        }
    }
}

/// The type of a metric, and its labels. Labels of [`CLOSED_LABELS`] have their values.
type Family = (String, BTreeMap<String, BTreeSet<String>>);

#[test]
fn the_table_of_metrics_is_what_is_scraped() {
    let metrics_page = Document::read("docs/metrics.md");
    let mut documented: BTreeMap<String, Family> =
        metrics_page.table("Metric").iter().map(|row| documented(row)).collect();
    let metrics = Metrics::new(0.0).unwrap();
    for (route, queue) in [("r", false), ("q", true)] {
        let kind = RouteKind { challenges: true, queue, dedupe: true };
        metrics.route(route, "icr", &["0".to_owned()], &Reject::ALL, kind);
    }
    metrics.reachable("r", &["http://u/".to_owned()]);
    let certificates = [None, Some("r")].map(|upstream| Expiry { upstream, at: 0 }).to_vec();
    metrics.configured(&Configured { max_connections: 1, buffered_bytes: 1, certificates });
    let mut scraped = scraped(&String::from_utf8(metrics.encode().unwrap()).unwrap());
    let process = scraped.len();
    scraped.retain(|name, _| !name.starts_with("process_"));
    assert_eq!(documented.remove("process_*").is_some(), scraped.len() < process);
    assert_eq!(documented, scraped);
}

fn documented(row: &[String]) -> (String, Family) {
    let (names, values) = row[2].split_once(": ").unwrap_or((&row[2], ""));
    let values: BTreeSet<String> = values.split(", ").filter(|value| !value.is_empty()).map(str::to_owned).collect();
    let labels = spans(names).into_iter().map(|label| {
        let values = if CLOSED_LABELS.contains(&label.as_str()) { values.clone() } else { BTreeSet::new() };
        (label, values)
    });
    (spans(&row[0]).concat(), (row[1].clone(), labels.collect()))
}

fn scraped(text: &str) -> BTreeMap<String, Family> {
    let mut families = BTreeMap::new();
    let mut last = String::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' ')) {
            last = name.to_owned();
            families.insert(last.clone(), (kind.to_owned(), BTreeMap::new()));
        } else if let Some((_, labels)) = line.split_once('{') {
            let (_, known) = families.get_mut(&last).unwrap();
            for label in labels.split_once('}').unwrap().0.split(',').filter(|label| !label.starts_with("le=")) {
                let (name, value) = label.split_once('=').unwrap();
                let values: &mut BTreeSet<String> = known.entry(name.to_owned()).or_default();
                if CLOSED_LABELS.contains(&name) {
                    values.insert(value.trim_matches('"').to_owned());
                }
            }
        }
    }
    families
}

#[test]
fn requests_without_a_route_are_labelled_as_is_said() {
    assert!(
        Document::read("docs/metrics.md")
            .prose()
            .contains(&format!("`route=\"{NO_ROUTE}\"` and `scheme=\"{NO_ROUTE}\"`"))
    );
}

/// The table of schemes, made from the catalogue.
fn table_of_schemes() -> String {
    let head = "| Scheme | Provider | Signature | Algorithm | Signed time | Deadline | Event id |\n\
                | --- | --- | --- | --- | --- | --- | --- |\n";
    let supported = schemes::names().filter_map(schemes::find).filter(|spec| spec.unsupported.is_none());
    let rows = supported.map(|spec| {
        let cells = [
            format!("`{}`", spec.name),
            spec.title.clone(),
            spec.signature_in_words(),
            spec.algorithm_in_words(),
            spec.time_in_words(),
            spec.deadline_in_words(),
            spec.event_id_in_words(),
        ];
        format!("| {} |\n", cells.join(" | "))
    });
    std::iter::once(head.to_owned()).chain(rows).collect()
}

/// The table of challenges, made from the catalogue.
fn table_of_challenges() -> String {
    let head = "| Asked by | How | Answer |\n| --- | --- | --- |\n";
    let schemes = schemes::names().filter_map(schemes::find);
    let challenges = schemes.flat_map(|spec| spec.challenge.iter().map(move |challenge| (spec, challenge)));
    let rows = challenges.map(|(spec, challenge)| {
        format!("| `{}` | {} | {} |\n", spec.name, challenge.question_in_words(), challenge.answer_in_words())
    });
    std::iter::once(head.to_owned()).chain(rows).collect()
}

/// `UPDATE_DOCS=1 cargo test --test it the_table_of_schemes` updates them.
#[test]
fn the_table_of_schemes_and_that_of_challenges_are_those_of_the_catalogue() {
    for expected in [table_of_schemes(), table_of_challenges()] {
        let page = read(PROVIDERS);
        let head = expected.lines().next().unwrap();
        let start = page.find(head).unwrap_or_else(|| panic!("there is no table {head}"));
        let end = page[start..].find("\n\n").map(|end| start + end + 1).expect("something follows the table");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(PROVIDERS, format!("{}{expected}{}", &page[..start], &page[end..])).unwrap();
        } else {
            assert_eq!(page[start..end], expected, "UPDATE_DOCS=1 updates it");
        }
    }
}

#[test]
fn each_scheme_says_when_it_was_compared_or_stands_among_those_that_were_not() {
    let rows = Document::read("docs/checking-schemes.md").table("Why");
    let listed: BTreeSet<&str> = rows.iter().flat_map(|row| row[1].split(", ")).collect();
    let schemes = schemes::names().filter_map(schemes::find);
    let not_compared = schemes.filter(|spec| spec.checked.is_none()).map(|spec| spec.name.as_str());
    assert_eq!(listed, not_compared.collect());
}

#[test]
fn the_table_of_headers_is_what_the_upstream_gets() {
    let documented: BTreeSet<String> =
        Document::read("docs/handlers.md").table("Header").iter().map(|row| spans(&row[0]).concat()).collect();
    let config = load(&completed("secrets:\n  - env: X\n"), "the test");
    let host = HeaderValue::from_static("gateway.example");
    let peer = Peer::new(SocketAddr::from(([192, 0, 2, 1], 443)), true);
    let info = RequestInfo {
        head: Request::new(()).into_parts().0,
        sent: SentHead::default(),
        peer: Rc::new(peer),
        request_id: HeaderValue::from_static("id"),
        has_senders_id: true,
        delivery_id: uuid::Uuid::nil(),
        received: Clock::system().now(),
        received_unix: Clock::system().unix(),
        timeline: Timeline::default(),
    };
    let fields = headers::fields(&RouteHeaders::new(&config.routes[0]).unwrap(), &info, Some(&host), Some(0), 0);
    let lines = std::str::from_utf8(fields.bytes()).unwrap().lines();
    let names = lines.map(|line| line.split_once(": ").unwrap().0.to_owned());
    let set: BTreeSet<String> = names.chain(["Host".to_owned()]).collect();
    assert_eq!(documented, set);
}

// --- Architecture and links ------------------------------------------------------------------------------------------

#[test]
fn the_list_of_layers_is_the_order_of_the_stack() {
    let document = Document::read("ARCHITECTURE.md");
    let (_, list) = document.text.split_once("## The layers").unwrap();
    let (list, _) = list.split_once("\n## ").unwrap();
    let numbered = list.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
    let documented: Vec<String> = numbered.map(|line| spans(line)[0].clone()).collect();
    assert_eq!(documented, layers(&read("src/gateway/stack.rs")));
}

/// The names of the layers in `stack`, outermost first.
fn layers(code: &str) -> Vec<String> {
    // A layer that only erases a type does not count.
    let is_layer = |line: &&str| !line.starts_with("//") && *line != ".layer(Erased::layer())";
    let lines = code.lines().map(str::trim).filter(is_layer);
    let name = |line: &str| {
        let layer = line.strip_prefix(".layer(");
        let stage = layer.and_then(|layer| layer.strip_prefix("Stage::new(")?.strip_suffix("))")?.split_once(", "));
        match (stage, layer) {
            (Some((_, stage)), _) => Some(stage.to_owned()),
            (None, Some(layer)) => Some(layer.split_once("::")?.0.to_owned()),
            (None, None) if line.starts_with(".map_request(") => Some("map_request".to_owned()),
            (None, None) => {
                let last = line.strip_prefix(".service(service_fn(move |verified| ")?;
                Some(last.split_once('(')?.0.to_owned())
            }
        }
    };
    lines.filter_map(name).collect()
}

#[test]
fn layers_are_found_however_they_are_made() {
    let code = "
        // .layer(Stage::new((), not_this))
        .layer(CatchPanicLayer::custom(panicked))
        .map_request(|mut request| request)
        .layer(Stage::new(context.buffered_bytes, body::read))
        .service(service_fn(move |verified| forward(context.forward.clone(), verified)))";
    assert_eq!(layers(code), ["CatchPanicLayer", "map_request", "body::read", "forward"]);
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut followed = 0;
    for document in Document::all() {
        for link in document.links().iter().filter(|link| !link.contains("://")) {
            let (file, fragment) = link.split_once('#').map_or((link.as_str(), None), |(file, at)| (file, Some(at)));
            let place = format!("{} links to {link}", document.path.display());
            let target = match file {
                "" => document.path.clone(),
                file => document.path.parent().unwrap().join(file),
            };
            assert!(target.exists(), "{place}");
            if let Some(fragment) = fragment {
                let target = Document { text: fs::read_to_string(&target).unwrap(), path: target };
                assert!(target.anchors().iter().any(|anchor| anchor == fragment), "{place}");
            }
            followed += 1;
        }
    }
    assert!(followed >= 15, "{followed}");
}
