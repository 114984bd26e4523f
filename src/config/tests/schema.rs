//! The JSON Schema says what the loader does: the same keys, the same defaults, and the same verdict about values as far
//! as a schema can tell.

use std::collections::{BTreeMap, BTreeSet};

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use super::*;
use crate::schemes::{self, Spec};

/// Every key, with a list's items where one cannot have all. The certificates are made up by [`made`].
const MAXIMAL: &str = r#"
server:
  name: gateway-1
  listen: ["127.0.0.1:0"]
  tls: { certificate: tls.pem, private_key: tls.pem, client_ca: tls.pem }
  trusted_proxies: [10.0.0.0/8]
  proxy_protocol: true
  threads: 4
  max_connections: 10
  header_timeout: 10s
  idle_timeout: 75s
  max_header_bytes: 64KiB
  buffered_bytes: 256MiB
  shutdown_grace: 30s
  access_log: refused
admin:
  listen: 127.0.0.1:0
  page: true
  hosts: ["gateway.internal:9797"]
  token: { env: SET }
  read_only: false
telemetry:
  otlp:
    endpoint: https://c/v1/traces
    headers: { authorization: { env: SET } }
    tls: { ca: tls.pem, client_certificate: tls.pem, client_key: tls.pem }
    timeout: 10s
    sample: 100%
    service_name: hooklatch
    context_from: trusted_proxies
store:
  path: data
  max_size: 10GiB
  min_free: 1GiB
  keep: { delivered: 72h, dead: 30d, refused: 24h }
routes:
  - name: r
    path: /r
    host: hooks.example.com
    scheme: { name: icr, signed_content: auto, match_payload: true }
    secrets: [{ env: SET, id: a }, { file: tls.pem, optional: true }]
    upstream:
      url: https://u/x
      connect_timeout: 1s
      resend: true
      host_header: upstream
      tls: { ca: tls.pem, client_certificate: tls.pem, client_key: tls.pem }
    methods: [POST, PUT]
    enforce: true
    reject_status: 401
    tolerance: 5m
    allowed_ips: ["2001:db8::/32"]
    max_body: 1MiB
    body_timeout: 10s
    max_in_flight: 1024
    rate_limit: { per_second: 50, burst: 100 }
    timeout: 10s
    delivery: queue
    response: { status: 202, body: taken, content_type: text/html }
    retry:
      max_backoff: 2h
      jitter: 21%
      schedule: [7s]
      max_age: 73h
      min_attempts: 6
      max_attempts: 20
      give_up_on: [404]
    max_concurrent: 33
    max_rate: 102
    circuit: { failures: 9, max_wait: 62s }
    paused: true
    dedupe: { window: 25h, key: { header: x-event } }
    sign: { secrets: [{ env: KEY }, { file: key }] }
    record: full
    record_body: 66KiB
  - { name: s, path: /s, scheme: civo, secrets: [{ env: SET }], upstream: { urls: ["http://u", "http://v"] }, dedupe: { key: { json: /id } }, delivery: queue, retry: { min_backoff: 6s } }
"#;

/// What is put in every place, one after another.
const VALUES: &str = r#"
- null
- true
- false
- 0
- 5
- 500
- -1
- 1.5
- 2000000
- ""
- x
- A b
- none
- all
- civo
- icr
- unheard-of
- 10s
- 0s
- 0m
- 1MiB
- 0B
- 10 s
- /
- /a
- /a/*
- /a*
- /*/a
- /a?b
- http://a
- HTTPS://a:1/b
- http://a/b?c
- http://u@a/
- ftp://a
- 127.0.0.1
- 127.0.0.1:0
- "[::1]:0"
- ":8080"
- 10.0.0.0/8
- "::1"
- 25%
- 101%
- tls.pem
- POST
- []
- [x]
- [POST]
- [POST, POST]
- [10.0.0.1]
- ["127.0.0.1:0", "[::1]:0"]
- {}
- { x: 1 }
- { url: "http://a" }
- { env: SET }
- [{ env: SET }]
- [{ env: SET, file: tls.pem }]
- [{ id: a }]
- { name: civo }
- { name: civo, signed_content: auto }
- { per_second: 1 }
- [5s]
- [410]
- [204]
- { header: x-a }
- { header: x-a, json: /a }
- queue
- auto
"#;

/// How the errors begin that a schema can see as well.
const OF_SHAPE: [&str; 22] = [
    "expected ",
    "has no value",
    "must be a whole number",
    "must be one of",
    "unknown key",
    "is missing",
    "needs at least one entry",
    "needs env: NAME or file: PATH",
    "has both env and file",
    "a duration needs",
    "a size needs",
    "must be a share from",
    "not a duration",
    "not a size",
    "must not be zero",
    "must begin with /",
    "must be lower-case letters",
    "methods are in upper case",
    "must be false or a map",
    "must not be 200 to 299",
    "needs header: NAME or json: /POINTER",
    "has both header and json",
];

fn made() -> Made {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
    let made = Made::new().env("KEY", "whsec_AAAA").file("/etc/hl/key", b"BBBB\n");
    made.file("/etc/hl/tls.pem", (certificate.pem() + &key.serialize_pem()).as_bytes())
}

fn validator() -> Validator {
    let schema = schema();
    jsonschema::meta::validate(&schema).expect("a schema of its draft");
    jsonschema::validator_for(&schema).expect("a schema")
}

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).expect("the test's YAML is valid")
}

/// Checks a configuration that is given as JSON, which is YAML.
fn load(made: &Made, config: &Value) -> Result<Config, Vec<ConfigError>> {
    made.parse(&config.to_string())
}

/// The JSON pointers of all values below, the root's first.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| pointers(value, &format!("{at}/{key}"), found)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| pointers(value, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

fn all_pointers(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    pointers(value, "", &mut found);
    found
}

/// The same with another value in one place, or without it.
fn with(config: &Value, pointer: &str, value: Option<&Value>) -> Value {
    let mut config = config.clone();
    match value {
        Some(value) => *config.pointer_mut(pointer).unwrap() = value.clone(),
        None => {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            match config.pointer_mut(parent).unwrap() {
                Value::Object(map) => drop(map.remove(key)),
                Value::Array(items) => drop(items.remove(key.parse().unwrap())),
                _ => unreachable!("only maps and lists have values below"),
            }
        }
    }
    config
}

/// The part of the schema for what stands at a pointer: of several shapes, the map or the list.
fn part<'s>(schema: &'s Value, pointer: &str) -> &'s Value {
    let whole = |schema: &'s Value| match schema.get("anyOf").and_then(Value::as_array) {
        Some(shapes) => shapes.iter().find(|shape| shape["type"] == "object" || shape["type"] == "array").unwrap(),
        None => schema,
    };
    pointer.split('/').skip(1).fold(whole(schema), |schema, step| {
        whole(match step.parse::<usize>() {
            Ok(_) => &schema["items"],
            // Keys that the file makes up have one shape.
            Err(_) => schema["properties"].get(step).unwrap_or(&schema["additionalProperties"]),
        })
    })
}

fn keys(map: &Value) -> BTreeSet<String> {
    map.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_schema_has_the_keys_that_the_loader_asks_for_and_no_others() {
    let (made, schema, config) = (made(), schema(), yaml(MAXIMAL));
    load(&made, &config).expect("valid");
    let mut maps = 0;
    for pointer in all_pointers(&config) {
        let Value::Object(map) = config.pointer(&pointer).unwrap() else { continue };
        let Some(properties) = part(&schema, &pointer).get("properties") else { continue };
        let mut map = map.clone();
        map.insert("an_unknown_key".to_owned(), json!(1));
        let errors = load(&made, &with(&config, &pointer, Some(&Value::Object(map)))).expect_err("an unknown key");
        let known = errors.iter().find_map(|error| error.message.split_once("known here: "));
        let mut asked: BTreeSet<String> = known.unwrap().1.split(", ").map(ToOwned::to_owned).collect();
        let mut described = keys(properties);
        if pointer.ends_with("/scheme") {
            // Options that only some schemes have have a test of their own.
            asked.remove("public_url");
            asked.remove("challenge");
            described.retain(|key| ["name", "signed_content", "match_payload"].contains(&key.as_str()));
        }
        assert_eq!(described, asked, "{pointer}");
        maps += 1;
    }
    assert_eq!(maps, 32, "every map of the maximal configuration");
}

#[test]
fn the_schema_has_the_keys_of_the_scheme_language() {
    let error = Spec::custom("x", json!({ "an_unknown_key": 1 })).expect_err("an unknown key");
    let known: BTreeSet<String> = error.to_string().split('`').skip(3).step_by(2).map(ToOwned::to_owned).collect();
    assert_eq!(keys(&schema()["properties"]["schemes"]["additionalProperties"]["properties"]), known);
}

#[test]
fn the_maximal_configuration_has_every_key_and_every_key_is_described() {
    let (schema, config) = (schema(), yaml(MAXIMAL));
    // An entry of a list may lack what another has.
    let mut shown: BTreeMap<String, (&Value, BTreeSet<String>)> = BTreeMap::new();
    for pointer in all_pointers(&config) {
        let part = part(&schema, &pointer);
        let about = part["description"].as_str().unwrap_or_default();
        assert!(about.len() > 8 || part.get("enum").is_some(), "{pointer}: {part}");
        if let (Some(properties), Value::Object(map)) = (part.get("properties"), config.pointer(&pointer).unwrap()) {
            let anywhere = pointer.replace(|c: char| c.is_ascii_digit(), "*");
            let (_, seen) = shown.entry(anywhere).or_insert((properties, BTreeSet::new()));
            seen.extend(map.keys().cloned());
        }
    }
    for (place, (properties, seen)) in shown {
        match place.as_str() {
            "" => assert_eq!(keys(properties), &seen | &BTreeSet::from(["schemes".to_owned()])),
            // It is instead of the path.
            "/store" => assert_eq!(keys(properties), &seen | &BTreeSet::from(["postgres".to_owned()])),
            "/routes/*/scheme" | "/telemetry/otlp/headers/authorization" | "/admin/token" => {
                assert!(seen.is_subset(&keys(properties)));
            }
            _ => assert_eq!(keys(properties), seen, "{place}"),
        }
    }
}

#[test]
fn the_schema_refuses_nothing_that_loads_and_sees_every_error_of_shape() {
    let (made, validator, config) = (made(), validator(), yaml(MAXIMAL));
    let values = yaml(VALUES);
    let values: Vec<Option<&Value>> = values.as_array().unwrap().iter().map(Some).chain([None]).collect();
    let (mut loaded, mut refused) = (0, 0);
    for pointer in all_pointers(&config).iter().filter(|pointer| !pointer.is_empty()) {
        for value in &values {
            let changed = with(&config, pointer, *value);
            let valid = validator.is_valid(&changed);
            let shown = value.map_or("nothing".to_owned(), Value::to_string);
            match load(&made, &changed) {
                Ok(_) => {
                    assert!(valid, "{pointer}: {shown} loads, but {:?}", validator.validate(&changed));
                    loaded += 1;
                }
                Err(errors) => {
                    let of_shape = |error: &&ConfigError| OF_SHAPE.iter().any(|text| error.message.starts_with(text));
                    if let Some(error) = errors.iter().find(of_shape) {
                        assert!(!valid, "{pointer}: {shown}: the schema does not see that {error}");
                        refused += 1;
                    }
                }
            }
        }
    }
    assert!(loaded > 200 && refused > 1000, "{loaded} loaded, {refused} refused");
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_loader() {
    let made = made();
    let minimal = yaml(&format!(
        "{SERVER_AND_ADMIN}store: {{ path: data, keep: {{}} }}\nroutes: [{{ name: r, path: /r, scheme: {{ name: circleci }}, \
        secrets: [{{ env: SET }}], upstream: {{ url: 'https://u' }}, delivery: queue, response: {{}}, retry: {{}}, \
        circuit: {{}}, dedupe: {{}} }}]"
    ));
    let schema = schema();
    let mut found = 0;
    let route = ["", "/secrets/0", "/upstream", "/response", "/retry", "/circuit", "/dedupe"]
        .map(|map| format!("/routes/0{map}"));
    let sections = ["/server", "/admin", "/store", "/store/keep"].map(str::to_owned);
    for map in sections.iter().chain(&route) {
        for (key, value) in part(&schema, map)["properties"].as_object().unwrap() {
            let Some(default) = value.get("default") else { continue };
            let changed = |value: Option<&Value>| {
                let mut config = minimal.clone();
                let map = config.pointer_mut(map).unwrap().as_object_mut().unwrap();
                map.remove(key);
                if key == "delivery" {
                    // Without a queue its keys are errors.
                    map.retain(|key, _| !["response", "retry", "circuit"].contains(&key.as_str()));
                }
                value.map(|value| map.insert(key.clone(), value.clone()));
                load(&made, &config)
            };
            // The listeners' defaults would be those of one another, were the other not there.
            let (given, left_out) = (changed(Some(default)).expect("valid"), changed(None).expect("valid"));
            assert_eq!(format!("{given:?}"), format!("{left_out:?}"), "{map}/{key}");
            found += 1;
        }
    }
    assert!(found >= 35, "{found}");
}

#[test]
fn the_schema_knows_the_options_of_each_scheme() {
    let (made, validator) = (made().env("URL", "https://hooks.example.com/x"), validator());
    let parameters = schemes::names().filter_map(schemes::find).flat_map(|spec| &spec.parameters);
    let mut options: BTreeSet<&str> = parameters.map(|parameter| parameter.name.as_str()).collect();
    options.extend(["signed_content", "match_payload", "public_url", "challenge", "unheard_of"]);
    let values = [json!("auto"), json!("https://hooks.example.com/x"), json!(true), json!({ "env": "URL" })];
    let check = |scheme: &Value| {
        let route = json!({ "name": "r", "path": "/r", "scheme": scheme, "secrets": [{ "env": "SET" }], "upstream": "http://u" });
        let config = json!({ "routes": [route] });
        let errors = load(&made, &config).err().unwrap_or_default();
        // The secret need not be one of this scheme.
        let fits = !errors.iter().any(|error| error.path.starts_with("routes[0].scheme"));
        assert_eq!(validator.is_valid(&config), fits, "{scheme}: {errors:?}, {:?}", validator.validate(&config));
    };
    for name in schemes::names().chain(["unheard-of"]) {
        check(&json!(name));
        // What it cannot do without.
        let mut base = Map::from_iter([("name".to_owned(), json!(name))]);
        check(&Value::Object(base.clone()));
        if let Some(spec) = schemes::find(name) {
            let needed = spec.parameters.iter().filter(|parameter| !parameter.secret);
            base.extend(needed.map(|parameter| (parameter.name.clone(), json!("x"))));
            if spec.needs_public_url() {
                base.insert("public_url".to_owned(), json!("https://hooks.example.com"));
            }
        }
        check(&Value::Object(base.clone()));
        for option in &options {
            for value in &values {
                let mut scheme = base.clone();
                scheme.insert((*option).to_owned(), value.clone());
                check(&Value::Object(scheme));
            }
        }
    }
}

#[test]
fn a_file_with_schemes_of_its_own_may_name_any() {
    let validator = validator();
    let text = "schemes: { in-house: { signature: { at: { header: x }, encoding: hex }, algorithm: { hmac: sha256 }, \
        secret: utf8, forms: [{ name: body, content: [body] }] } }\n";
    for scheme in ["scheme: in-house", "scheme: { name: in-house, key_of_theirs: x }"] {
        assert!(validator.is_valid(&yaml(&(one(&[scheme]) + text))), "{scheme}");
        assert!(!validator.is_valid(&yaml(&one(&[scheme]))), "{scheme}");
    }
    assert!(!validator.is_valid(&yaml(&(one(&[]) + &text.replace("secret:", "secrets:")))), "a misspelt word");
    let option_of_another = one(&["scheme: { name: civo, public_url: 'https://a' }"]);
    assert!(!validator.is_valid(&yaml(&(option_of_another + text))));
}
