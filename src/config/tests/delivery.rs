//! The store, the queue, duplicates, signing for the handler, and records: their defaults, their values and their errors.

use http::HeaderName;

use super::*;

const STORE: &str = "store: {path: data}\n";

/// A file with a store and one route with a queue; a line of `changes` replaces the line of its key or comes on top.
fn queued(changes: &[&str]) -> String {
    let queue = ["scheme: circleci", "delivery: queue"];
    STORE.to_owned() + &one(&[&queue[..], changes].concat())
}

fn route_of(text: &str) -> Route {
    let made = Made::new().env("KEY", "whsec_AAECAw==").env("BARE", "BAUG").env("BAD", "canary!").env("NONE", "whsec_");
    made.parse(text).unwrap_or_else(|errors| panic!("{errors:#?}")).routes.remove(0)
}

fn queue_of(changes: &[&str]) -> Queue {
    match route_of(&queued(changes)).delivery {
        Delivery::Queue(queue) => *queue,
        Delivery::Proxy => panic!("no queue"),
    }
}

fn store_of(store: &str) -> Store {
    Made::new().parse(&format!("{store}\n{}", one(&[]))).expect("valid").store.expect("a store")
}

/// Exactly one error for a change to a route with a queue.
fn refused(change: &str, error: &str) {
    assert_eq!(Made::new().errors(&queued(&[change])), [error], "{change}");
}

/// Exactly one error for a change to a route without a queue.
fn refused_in_proxy_mode(changes: &[&str], error: &str) {
    assert_eq!(Made::new().errors(&one(changes)), [error], "{changes:?}");
}

#[test]
fn a_file_without_these_keys_has_no_store_and_forwards_at_once() {
    let config = Made::new().parse(&one(&["scheme: circleci"])).expect("valid");
    assert_eq!(config.store, None);
    let route = &config.routes[0];
    assert_eq!(route.delivery, Delivery::Proxy);
    assert_eq!(route.dedupe, None);
    assert!(route.sign.is_none());
    assert_eq!((route.record, route.record_body), (Record::Metadata, 65_536));
    assert_eq!(route.timeout, Duration::from_millis(9500));
}

#[test]
fn a_store_has_defaults() {
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    let store = Store {
        place: Place::Folder("/etc/hl/data".into()),
        max_size: 10 << 30,
        min_free: 1 << 30,
        keep: Keep { delivered: hours(72), dead: hours(30 * 24), refused: hours(24) },
    };
    assert_eq!(store_of("store: {path: data}"), store);
    assert_eq!(store_of("store: {path: data, keep: {}}"), store);
}

#[test]
fn a_store_can_be_set() {
    let store = store_of("store: {path: /srv/s, max_size: 1B, min_free: 0MiB, keep: {delivered: 0s, dead: 1d}}");
    assert_eq!((store.place, store.max_size, store.min_free), (Place::Folder("/srv/s".into()), 1, 0));
    assert_eq!((store.keep.delivered, store.keep.dead), (Duration::ZERO, Duration::from_secs(86_400)));
    assert_eq!(store.keep.refused, Duration::from_secs(86_400));
}

#[test]
fn a_store_can_be_a_database_that_gateways_share() {
    let made = Made::new().env("URL", "postgres://u:s3cret@one,two/d?target_session_attrs=read-write\n");
    let config = made.parse(&format!("store: {{postgres: {{url: {{env: URL}}}}, min_free: 1GiB}}\n{}", one(&[])));
    let config = config.expect("valid");
    let place = config.store.expect("a store").place;
    let Place::Postgres { target, .. } = &place else { panic!("a database: {place:?}") };
    assert_eq!(target.to_string(), "postgres://one,two/d, schema hooklatch");
    assert!(!format!("{place:?}").contains("s3cret"));
    let warning = "store.min_free: is ignored: the free space of the database's file system is not known here";
    assert!(config.warnings.iter().any(|found| found.to_string() == warning), "{:?}", config.warnings);
    let made = made.env("WRONG", "postgres://u:s3cret@h/d?sslmode=s3cret");
    let errors = made.errors(&format!("store: {{postgres: {{url: {{env: WRONG}}}}}}\n{}", one(&[])));
    let expected = "store.postgres.url: the URL cannot be used: sslmode must be disable, allow, prefer, require, verify-ca \
                    or verify-full";
    assert_eq!(errors, [expected]);
}

#[test]
fn a_store_needs_a_folder_or_a_database() {
    let refused = |store: &str, errors: &[&str]| {
        assert_eq!(Made::new().errors(&format!("store: {store}\n{}", one(&[]))), errors, "{store}");
    };
    let neither = "store: needs path (a folder) or postgres (a database that gateways share)";
    let no_url = "store.postgres.url: the URL cannot be used: must begin with postgres:// or postgresql://";
    refused("{}", &[neither]);
    refused("", &[neither]);
    refused("{path: ''}", &["store.path: must be the path of a folder"]);
    refused("{postgres: {url: {env: SET}}}", &[no_url]);
    refused("{postgres: {}}", &["store.postgres.url: is missing"]);
    let both = Made::new().env("URL", "postgres://u@h/d");
    let both = both.errors(&format!("store: {{path: data, postgres: {{url: {{env: URL}}}}}}\n{}", one(&[])));
    assert_eq!(both, ["store: has both path and postgres: set one of them"]);
    refused("{path: data, max_size: 0B}", &["store.max_size: must not be zero"]);
    refused("data", &["store: expected a map, found text"]);
}

#[test]
fn a_queue_has_defaults() {
    let queue = queue_of(&[]);
    let response = QueueResponse {
        status: StatusCode::OK,
        body: bytes::Bytes::new(),
        content_type: http::HeaderValue::from_static("text/plain"),
    };
    assert_eq!(queue.response, response);
    let retry = Retry {
        min_backoff: Duration::from_secs(5),
        max_backoff: Duration::from_secs(3600),
        jitter: 0.2,
        schedule: None,
        max_age: Duration::from_secs(72 * 3600),
        min_attempts: 5,
        max_attempts: None,
        give_up_on: vec![StatusCode::GONE],
    };
    assert_eq!(queue.retry, retry);
    assert_eq!(queue.max_concurrent.get(), 32);
    assert_eq!(queue.max_rate, None);
    let circuit = queue.circuit.expect("on by default");
    assert_eq!((circuit.failures.get(), circuit.max_wait), (10, Duration::from_secs(60)));
    assert!(!queue.paused);
    let timeout = |changes: &[&str]| route_of(&queued(changes)).timeout;
    assert_eq!(timeout(&[]), Duration::from_secs(30), "the provider's deadline does not matter");
    assert_eq!(timeout(&["timeout: 7s"]), Duration::from_secs(7));
}

#[test]
fn a_queue_can_be_set() {
    let queue = queue_of(&[
        "response: {status: 299, body: '{}', content_type: application/json}",
        "retry: {max_backoff: 1ms, jitter: 100%, schedule: [1s, 2d], max_age: 0s, min_attempts: 0, \
         max_attempts: 3, give_up_on: [100, 199, 300, 599]}",
        "max_concurrent: 1",
        "max_rate: 1000000",
        "circuit: {failures: 1, max_wait: 1ms}",
        "paused: true",
    ]);
    assert_eq!((queue.response.status.as_u16(), &queue.response.body[..]), (299, &b"{}"[..]));
    assert_eq!(queue.response.content_type, "application/json");
    assert_eq!(
        (queue.retry.min_backoff, queue.retry.max_backoff),
        (Duration::from_millis(1), Duration::from_millis(1))
    );
    assert_eq!(queue.retry.jitter, 1.0);
    assert_eq!(queue.retry.schedule, Some(vec![Duration::from_secs(1), Duration::from_secs(2 * 86_400)]));
    assert_eq!((queue.retry.max_age, queue.retry.min_attempts), (Duration::ZERO, 0));
    assert_eq!(queue.retry.max_attempts.map(std::num::NonZeroU32::get), Some(3));
    assert_eq!(queue.retry.give_up_on, [100, 199, 300, 599].map(|status| StatusCode::from_u16(status).unwrap()));
    assert_eq!((queue.max_concurrent.get(), queue.max_rate.map(std::num::NonZeroU32::get)), (1, Some(1_000_000)));
    assert_eq!(queue.circuit.map(|circuit| circuit.failures.get()), Some(1));
    assert!(queue.paused);
    assert_eq!(queue_of(&["circuit: false"]).circuit, None);
    assert!(queue_of(&["retry: {give_up_on: [], max_attempts: 0}"]).retry.give_up_on.is_empty());
    assert_eq!(queue_of(&["response: {status: 204}"]).response.status, StatusCode::NO_CONTENT);
}

#[test]
fn the_first_wait_is_never_longer_than_the_longest() {
    let waits = |change: &str| {
        let retry = queue_of(&[change]).retry;
        (retry.min_backoff, retry.max_backoff)
    };
    let second = Duration::from_secs(1);
    assert_eq!(waits("retry: {max_backoff: 4s}"), (4 * second, 4 * second), "the default gives way");
    assert_eq!(waits("retry: {max_backoff: 6s}"), (5 * second, 6 * second));
    assert_eq!(waits("retry: {min_backoff: 6s, max_backoff: 6s}"), (6 * second, 6 * second));
    refused(
        "retry: {min_backoff: 7s, max_backoff: 6s}",
        "routes[0].retry.min_backoff: 7s is over max_backoff, which is 6s",
    );
    refused(
        "retry: {min_backoff: 3s, schedule: [1s]}",
        "routes[0].retry.min_backoff: has no meaning beside schedule: remove one of them",
    );
    refused("retry: {min_backoff: 2h}", "routes[0].retry.min_backoff: 2h is over max_backoff, which is 1h");
}

#[test]
fn the_values_of_a_queue_are_checked() {
    let share = "must be a share from 0% to 100%, such as 10% or 0.5%";
    refused("retry: {jitter: 101%}", &format!("routes[0].retry.jitter: {share}"));
    refused("retry: {jitter: 20}", &format!("routes[0].retry.jitter: {share}"));
    refused("retry: {schedule: []}", "routes[0].retry.schedule: needs at least one entry");
    refused("retry: {schedule: [1s, 0s]}", "routes[0].retry.schedule[1]: must not be zero");
    refused("retry: {min_backoff: 0s}", "routes[0].retry.min_backoff: must not be zero");
    for status in [99, 600] {
        let error = "routes[0].retry.give_up_on[1]: must be a whole number from 100 to 599";
        refused(&format!("retry: {{give_up_on: [410, {status}]}}"), error);
    }
    for status in [200, 299] {
        let error = "routes[0].retry.give_up_on[0]: must not be 200 to 299: such a response means that the handler has \
                     accepted the delivery";
        refused(&format!("retry: {{give_up_on: [{status}]}}"), error);
    }
    for status in [199, 300] {
        let error = "routes[0].response.status: must be a whole number from 200 to 299";
        refused(&format!("response: {{status: {status}}}"), error);
    }
    refused(
        "response: {status: 204, body: x}",
        "routes[0].response.body: must be empty: a response with status 204 has no body",
    );
    refused(
        "response: {content_type: \"a\\nb\"}",
        "routes[0].response.content_type: must be a media type, such as text/plain or application/json",
    );
    refused("max_concurrent: 0", "routes[0].max_concurrent: must be a whole number from 1 to 1000000");
    refused("max_rate: 0", "routes[0].max_rate: must be a whole number from 1 to 1000000");
    refused(
        "circuit: true",
        "routes[0].circuit: must be false or a map, such as { failures: 10, max_wait: 1m }: it is on without this key",
    );
    refused("circuit: {failures: 0}", "routes[0].circuit.failures: must be a whole number from 1 to 1000000");
    refused("circuit: {max_wait: 0s}", "routes[0].circuit.max_wait: must not be zero");
    refused("delivery: que", "routes[0].delivery: must be one of: proxy, queue");
    refused("paused: 1", "routes[0].paused: expected true or false, found a number");
}

#[test]
fn a_queue_needs_a_store() {
    let error = "routes[0].delivery: queue needs a store: set store.path to a folder";
    refused_in_proxy_mode(&["delivery: queue"], error);
    let wrong_store = queued(&[]).replace(STORE, "store: {}\n");
    assert_eq!(
        Made::new().errors(&wrong_store),
        ["store: needs path (a folder) or postgres (a database that gateways share)"],
        "reported once"
    );
}

#[test]
fn a_queue_refuses_what_does_not_verify() {
    refused(
        "enforce: false",
        "routes[0].enforce: must be true with delivery: queue, because only a delivery that verifies is stored",
    );
    assert!(!only_route(&["enforce: false", "delivery: proxy"]).enforce);
}

#[test]
fn the_keys_of_a_queue_are_refused_without_one() {
    let keys = ["response: {}", "retry: {}", "max_concurrent: 32", "max_rate: 1", "circuit: false", "paused: false"];
    for key in keys {
        let name = key.split(':').next().unwrap();
        let text = "has a meaning only with delivery: queue: add that to the route, or remove this key";
        refused_in_proxy_mode(&[key], &format!("routes[0].{name}: {text}"));
        refused_in_proxy_mode(&[key, "delivery: proxy"], &format!("routes[0].{name}: {text}"));
    }
}

#[test]
fn a_queue_removes_duplicates_by_default_where_the_event_id_is_signed() {
    let hour = Duration::from_secs(3600);
    let auto = Some(Dedupe { window: 24 * hour, key: DedupeKey::Auto });
    assert_eq!(route_of(&queued(&[])).dedupe, auto);
    assert_eq!(route_of(&queued(&["dedupe: {}"])).dedupe, auto);
    assert_eq!(route_of(&queued(&["dedupe: false"])).dedupe, None);
    assert_eq!(route_of(&queued(&["scheme: civo"])).dedupe, None, "its event id is not signed");
    assert_eq!(route_of(&queued(&["scheme: icr"])).dedupe, None, "it has no event id");
}

#[test]
fn duplicates_are_recognised_by_any_of_four_keys_in_either_mode() {
    let key = |dedupe: &str| only_route(&["scheme: circleci", &format!("dedupe: {dedupe}")]).dedupe.expect("on").key;
    assert_eq!(key("{}"), DedupeKey::Auto);
    assert_eq!(key("{key: auto}"), DedupeKey::Auto);
    assert_eq!(key("{key: content}"), DedupeKey::Content);
    assert_eq!(key("{key: {header: X-Event}}"), DedupeKey::Header(HeaderName::from_static("x-event")));
    assert_eq!(key("{key: {json: /a/0}}").to_string(), "json /a/0");
    let civo = only_route(&["dedupe: {key: auto, window: 1s}"]).dedupe.expect("on");
    assert_eq!(civo, Dedupe { window: Duration::from_secs(1), key: DedupeKey::Auto });
    assert_eq!(only_route(&["scheme: icr", "dedupe: {key: content}"]).dedupe.expect("on").key, DedupeKey::Content);
}

#[test]
fn the_key_of_duplicates_must_fit_the_scheme() {
    refused_in_proxy_mode(
        &["scheme: icr", "dedupe: {}"],
        "routes[0].dedupe.key: the scheme icr has no event id: set key: content",
    );
    refused_in_proxy_mode(
        &["scheme: telegram", "dedupe: {key: content}"],
        "routes[0].dedupe.key: the scheme telegram signs no content: set key: { header: NAME } or { json: /POINTER }",
    );
    let refused = |dedupe: &str, error: &str| refused_in_proxy_mode(&[&format!("dedupe: {dedupe}")], error);
    refused("true", "routes[0].dedupe: must be false or a map, such as { window: 24h, key: auto }");
    refused("{key: id}", "routes[0].dedupe.key: must be one of: auto, content");
    refused("{key: {}}", "routes[0].dedupe.key: needs header: NAME or json: /POINTER");
    refused("{key: {header: a, json: /a}}", "routes[0].dedupe.key: has both header and json: set one of them");
    refused("{key: {header: a b}}", "routes[0].dedupe.key.header: must be the name of a header, such as x-event-id");
    refused("{key: {json: id}}", "routes[0].dedupe.key.json: must be a JSON pointer, such as /event/id");
    for pointer in ["/a~2", "/~", "/a~/b"] {
        let error = "routes[0].dedupe.key.json: must be a JSON pointer, such as /event/id";
        refused(&format!("{{key: {{json: '{pointer}'}}}}"), error);
    }
    refused("{key: {json: '/a/*'}}", "routes[0].dedupe.key.json: must name one value: * names several");
    refused("{window: 0s}", "routes[0].dedupe.window: must not be zero");
}

#[test]
fn duplicates_are_remembered_for_twice_the_tolerance_where_a_time_is_signed() {
    let stripe = |window: &str| ["scheme: stripe".to_owned(), format!("dedupe: {{window: {window}}}")];
    let window = |window: &str| {
        let [scheme, dedupe] = stripe(window);
        only_route(&[&scheme, &dedupe]).dedupe.expect("on").window
    };
    assert_eq!(window("10m"), Duration::from_secs(600), "its tolerance is 5m");
    let [scheme, dedupe] = stripe("599s");
    let error = "routes[0].dedupe.window: must be at least 10m, twice the tolerance of 5m";
    refused_in_proxy_mode(&[&scheme, &dedupe], error);
    let [scheme, dedupe] = stripe("1m");
    assert!(only_route(&[&scheme, &dedupe, "tolerance: 30s"]).dedupe.is_some());
    let own = queued(&["scheme: stripe", "tolerance: 13h"]);
    let error = "routes[0].dedupe.window: must be at least 26h, twice the tolerance of 13h";
    assert_eq!(Made::new().errors(&own), [error], "also the default window");
    assert!(only_route(&["tolerance: 30h", "dedupe: {window: 1s}"]).dedupe.is_some(), "civo signs no time");
}

#[test]
fn the_keys_for_signing_are_decoded() {
    let sign = route_of(&one(&["sign: {secrets: [{env: KEY}, {env: BARE}]}"])).sign.expect("set");
    let keys: Vec<&[u8]> = sign.secrets.iter().map(crate::schemes::Secret::expose).collect();
    assert_eq!(keys, [&[0, 1, 2, 3][..], &[4, 5, 6][..]]);
    assert_eq!(format!("{sign:?}"), "Sign { secrets: [Secret(redacted), Secret(redacted)] }");
}

#[test]
fn a_key_for_signing_must_be_base64_in_a_variable_or_a_file() {
    let made = Made::new().env("BAD", "canary!").env("NONE", "whsec_").file("/etc/hl/key", b"AAEC\n");
    let errors = |sign: &str| made.errors(&one(&[&format!("sign: {sign}")]));
    for name in ["BAD", "NONE"] {
        let error = "routes[0].sign.secrets[1]: the secret must be base64, with or without whsec_ before it";
        assert_eq!(errors(&format!("{{secrets: [{{file: key}}, {{env: {name}}}]}}")), [error]);
    }
    assert_eq!(errors("{secrets: []}"), ["routes[0].sign.secrets: needs at least one entry"]);
    assert_eq!(errors("{}"), ["routes[0].sign.secrets: is missing"]);
    assert_eq!(errors("{secrets: [{}]}"), ["routes[0].sign.secrets[0]: needs env: NAME or file: PATH"]);
    let literal = errors("{secrets: [whsec_AAEC]}");
    assert!(literal[0].starts_with("routes[0].sign.secrets[0]: a secret must not stand in this file"), "{literal:?}");
    assert!(!literal.concat().contains("AAEC"), "{literal:?}");
}

#[test]
fn signing_is_refused_where_the_scheme_reads_the_same_headers() {
    for (scheme, header) in [("standard-webhooks", "webhook-id"), ("svix", "webhook-id"), ("openai", "webhook-id")] {
        let made = Made::new().env("KEY", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX");
        let scheme_line = format!("scheme: {scheme}");
        let text = one(&[&scheme_line, "secrets: [{env: KEY}]", "sign: {secrets: [{env: KEY}]}"]);
        let error =
            format!("routes[0].sign: the scheme {scheme} reads the header {header}, which sign replaces: remove sign");
        assert_eq!(made.errors(&text), [error]);
    }
}

#[test]
fn records_can_be_set() {
    for (word, record) in [("none", Record::None), ("metadata", Record::Metadata), ("full", Record::Full)] {
        let route = only_route(&[&format!("record: {word}"), "record_body: 0B"]);
        assert_eq!((route.record, route.record_body), (record, 0));
        assert_eq!(route.record.as_str(), word);
    }
    refused("record: all", "routes[0].record: must be one of: none, metadata, full");
    let error = "routes[0].record_body: a size needs a unit: write 64B for bytes, or use KiB, MiB or GiB";
    refused("record_body: 64", error);
}

#[test]
fn a_configuration_on_loopback_writes_no_store() {
    let config = Made::new().parse(&queued(&["record: full"])).expect("valid");
    let config = config.on_loopback(SocketAddr::from(([127, 0, 0, 1], 1)), Duration::from_secs(1));
    assert_eq!(config.store, None);
    let route = &config.routes[0];
    assert_eq!((&route.delivery, &route.dedupe, route.record), (&Delivery::Proxy, &None, Record::None));
}
