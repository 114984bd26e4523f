//! The schema of a route's `scheme`, from the catalogue, and of the schemes that the file defines.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::kinds::{any_of, file, flag, map, put, text};
use super::secret::source;
use crate::schemes::{self, Spec};

/// The keys of a scheme that the file defines, each with its description. `docs/schemes.md` explains their values.
const OWN_KEYS: [(&str, &str); 28] = [
    ("name", "Optional: the key that the scheme stands under."),
    ("title", "The provider's usual name."),
    ("documentation", "Addresses of the pages that state the facts."),
    ("source", "The source of the facts, if it is not one of those pages."),
    ("checked", "When the scheme was last compared with its source, and with what: on and against."),
    ("confidence", "How reliable the facts are: documented, sdk or second_hand."),
    ("unsupported", "Why no delivery of this provider can be verified."),
    ("signature", "Where the signature stands, its grammar and its encoding."),
    ("algorithm", "The algorithm of the signature."),
    ("secret", "How the configured secret becomes the key."),
    ("timestamp", "Where the signed time stands, its format and tolerance."),
    ("forms", "What is signed. The first form is used for signing."),
    ("ways", "Several ways to sign, each with the words in which it differs."),
    ("covers", "What the signature covers, if that is not the body."),
    ("parameters", "Values that a route sets in addition to its secrets."),
    ("challenge", "The provider's endpoint challenges and their answers."),
    ("deadline_seconds", "How long the provider waits for the response."),
    ("success", "Which response counts as success."),
    ("retries", "When, and how often, the provider sends a failed delivery again."),
    ("event_id", "Where the provider's own id of the event stands."),
    ("event_type", "Where the kind of the event stands."),
    ("max_body_bytes", "The largest body that the provider sends, in bytes."),
    ("reject_status", "The status for a refused delivery, if the provider requires a certain one."),
    ("secret_from", "Who makes the secret: provider (the default) or user."),
    ("setup", "Where at the provider a user enters the URL and the secret."),
    ("notes", "What a user of this provider should know."),
    ("sample", "A delivery as the provider sends it, without the signature."),
    ("vectors", "Deliveries with a known verdict."),
];

/// The scheme of a route: a name, or a map of the name and the scheme's options.
pub(super) fn any() -> Value {
    let name = json!({ "description": "The scheme's name; `hooklatch schemes` lists them.", "type": "string" });
    any_of("How the provider signs.", [name.clone(), long(name)], None)
}

/// The restriction to built-in schemes, for a file that defines none.
pub(super) fn built_in() -> Value {
    let all: Vec<&str> = supported().map(|spec| spec.name.as_str()).collect();
    let alone: Vec<&str> =
        supported().filter(|spec| required(spec).is_empty()).map(|spec| spec.name.as_str()).collect();
    json!({ "anyOf": [{ "enum": alone }, { "type": "object", "properties": { "name": { "enum": all } } }] })
}

/// The schemes that the file defines, by name.
pub(super) fn own() -> Value {
    let keys = OWN_KEYS.map(|(key, about)| (key, json!({ "description": about })));
    let scheme = map("A scheme, in the language of docs/schemes.md.", &[], keys);
    json!({
        "description": "Your own schemes, by name. `hooklatch schemes NAME` prints a built-in one to start from.",
        "type": "object",
        "additionalProperties": scheme,
    })
}

/// The long form. The values of an option depend on the scheme; the options of a scheme that the file defines are not known.
fn long(name: Value) -> Value {
    let mut options = Map::new();
    options.insert("name".to_owned(), name);
    for spec in supported() {
        for (option, value) in own_options(spec) {
            options.entry(option).or_insert_with(|| json!({ "description": value.get("description") }));
        }
    }
    json!({
        "description": "The scheme's name and its options.",
        "type": "object",
        "required": ["name"],
        "properties": options,
        "allOf": by_options(),
    })
}

/// The rules for the options of the built-in schemes, once for each set of options.
fn by_options() -> Vec<Value> {
    let mut sets: BTreeMap<String, (Value, Vec<&str>)> = BTreeMap::new();
    for spec in supported() {
        let options = own_options(spec);
        let names: Vec<&str> = ["name"].into_iter().chain(options.keys().map(String::as_str)).collect();
        let mut then = json!({ "propertyNames": { "enum": names }, "properties": options, "required": required(spec) });
        let secrets = spec.parameters.iter().filter(|parameter| parameter.secret);
        let secrets: Vec<&str> = secrets.map(|parameter| parameter.name.as_str()).collect();
        if !secrets.is_empty() {
            put(
                &mut then,
                "if",
                json!({ "properties": { "challenge": { "const": true } }, "required": ["challenge"] }),
            );
            put(&mut then, "then", json!({ "required": secrets }));
        }
        sets.entry(then.to_string()).or_insert((then, Vec::new())).1.push(&spec.name);
    }
    let sets = sets.into_values();
    sets.map(|(then, names)| json!({ "if": { "properties": { "name": { "enum": names } } }, "then": then })).collect()
}

/// The options of one scheme, without its name.
fn own_options(spec: &Spec) -> Map<String, Value> {
    let mut options = Map::new();
    let mut add = |name: &str, value: Value| drop(options.insert(name.to_owned(), value));
    let contents = spec.signed_content_values();
    if !contents.is_empty() {
        let about = "Which form of signed content to accept. Default: auto, which accepts any.";
        add("signed_content", json!({ "description": about, "enum": contents }));
    }
    if spec.has_payload() {
        add("match_payload", flag("Whether to refuse a body that differs from its signed payload.", true));
    }
    if spec.needs_public_url() {
        let about = "The URL that the provider sends to. With a path: this endpoint's exact URL. Without: the request's path is appended.";
        let about_secret = "The same with a user name and a password, which makes it a secret.";
        let either = [text("The URL.", "^https?://[^/?#@]+([/?][^#]*)?$"), source(about_secret)];
        add("public_url", json!({ "description": about, "anyOf": either }));
    }
    if spec.has_challenge() {
        let about = "Whether the gateway answers the provider's endpoint challenges. Default: yes, if the secrets for \
                     them are set; true requires these secrets.";
        add("challenge", json!({ "description": about, "type": "boolean" }));
    }
    for parameter in &spec.parameters {
        let about = parameter.description.as_str();
        add(&parameter.name, if parameter.secret { source(about) } else { file(about) });
    }
    options
}

/// The options that a scheme requires.
fn required(spec: &Spec) -> Vec<&str> {
    let url = spec.needs_public_url().then_some("public_url");
    let parameters = spec.parameters.iter().filter(|parameter| !parameter.secret && !parameter.optional);
    url.into_iter().chain(parameters.map(|parameter| parameter.name.as_str())).collect()
}

/// The built-in schemes that a route can name.
fn supported() -> impl Iterator<Item = &'static Spec> {
    schemes::names().filter_map(schemes::find).map(|spec| &**spec).filter(|spec| spec.unsupported.is_none())
}
