//! The `scheme` of a route, and the schemes that the file itself defines under `schemes`.
//!
//! Refused: 1. an unknown scheme; 2. a scheme whose deliveries cannot be verified, with the reason; 3. an option that the
//! scheme does not have, and a required option that is missing (see [`secret`](super::secret) for options that are
//! secrets); 4. a scheme under `schemes` that is not valid in the scheme language, each fault at its path; 5. a scheme
//! under `schemes` with the name of a built-in one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::near::suggestion;
use super::raw::Node;
use super::reader::Field;
use super::secret::{self, explain_key};
use super::sources::Context;
use crate::schemes::{self, SchemeOptions, Secret, Spec};

/// A scheme's name, or a map of its name and its options.
pub(super) fn read(
    field: &Field<'_>,
    own: &HashMap<String, Arc<Spec>>,
    context: Context<'_>,
) -> Option<(Arc<Spec>, SchemeOptions)> {
    let find = |name: &str| find(name, own);
    let (spec, options) = match field.node() {
        Node::Text(_) => (field.parsed(find), Some(SchemeOptions::default())),
        Node::Map(_) => {
            let mut section = field.section()?;
            let text = |field: &Field<'_>| field.text().map(|text| Some(text.to_owned()));
            let spec = section.required("name", |field| field.parsed(find));
            let signed_content = section.optional("signed_content", None, text);
            let match_payload = section.optional("match_payload", None, |field| field.boolean().map(Some));
            let public_url = section.optional("public_url", None, |field| read_url(field, context).map(Some));
            let challenge = section.optional("challenge", None, |field| field.boolean().map(Some));
            let (mut parameters, mut secrets) = (Some(BTreeMap::new()), Some(BTreeMap::<_, Secret>::new()));
            let public_url = public_url.map(|url| match url {
                Some(PublicUrl::Secret(url)) => {
                    insert(&mut secrets, "public_url".to_owned(), Some(url));
                    None
                }
                Some(PublicUrl::Text(url)) => Some(url),
                None => None,
            });
            for parameter in spec.iter().flat_map(|spec| &spec.parameters) {
                let Some(given) = section.get(parameter.name.clone()) else { continue };
                let name = parameter.name.clone();
                if parameter.secret {
                    insert(&mut secrets, name, secret::read_required(&given, context));
                } else {
                    insert(&mut parameters, name, given.text().map(ToOwned::to_owned));
                }
            }
            section.finish(explain_key);
            let options = (|| {
                Some(SchemeOptions {
                    signed_content: signed_content?,
                    match_payload: match_payload?,
                    public_url: public_url?,
                    parameters: parameters?,
                    secrets: secrets?,
                    challenge: challenge?,
                    tolerance: None,
                    max_uncompressed: None,
                })
            })();
            (spec, options)
        }
        _ => return field.wrong_kind("a scheme's name, or a map of its name and options"),
    };
    let (spec, options) = (spec?, options?);
    if let Err(errors) = spec.check_options(&options) {
        for (key, error) in errors {
            field.error_below(&key, error.to_string());
        }
        return None;
    }
    Some((spec, options))
}

/// A URL, or one that is a secret.
enum PublicUrl {
    Text(String),
    Secret(Secret),
}

fn read_url(field: &Field<'_>, context: Context<'_>) -> Option<PublicUrl> {
    match field.node() {
        Node::Map(_) => secret::read_required(field, context).map(PublicUrl::Secret),
        _ => field.text().map(|url| PublicUrl::Text(url.to_owned())),
    }
}

/// Adds a value that was read. After a wrong value, `all` is `None`.
fn insert<T>(all: &mut Option<BTreeMap<String, T>>, name: String, value: Option<T>) {
    match (value, all.as_mut()) {
        (Some(value), Some(all)) => drop(all.insert(name, value)),
        _ => *all = None,
    }
}

/// The valid schemes of the file.
pub(super) fn read_own(field: &Field<'_>) -> HashMap<String, Arc<Spec>> {
    let entries = field.entries().unwrap_or_default();
    entries.into_iter().filter_map(|(name, field)| Some((name.to_owned(), Arc::new(read_one(name, &field)?)))).collect()
}

fn read_one(name: &str, field: &Field<'_>) -> Option<Spec> {
    if schemes::find(name).is_some() {
        field.error("is the name of a built-in scheme: choose another name");
        return None;
    }
    let scheme = value(field.node()).or_else(|| field.wrong_kind("a scheme"))?;
    match Spec::custom(name, scheme) {
        Ok(spec) => Some(spec),
        Err(errors) => {
            for fault in &errors.0 {
                field.error_at(&fault.path, fault.message.clone());
            }
            None
        }
    }
}

fn find(name: &str, own: &HashMap<String, Arc<Spec>>) -> Result<Arc<Spec>, String> {
    let found = own.get(name).or_else(|| schemes::find(name));
    let Some(spec) = found else {
        let mut names: Vec<&str> = own.keys().map(String::as_str).collect();
        schemes::names().for_each(|name| names.push(name));
        let hint = suggestion(name, &names);
        return Err(format!("unknown scheme: `hooklatch schemes` lists all schemes{hint}"));
    };
    match &spec.unsupported {
        Some(reason) => Err(format!("{name} cannot be verified: {reason}")),
        None => Ok(spec.clone()),
    }
}

/// The tree as the scheme language reads it. `None` if it holds a value that the language does not have.
fn value(node: &Node) -> Option<Value> {
    Some(match node {
        Node::Null => Value::Null,
        Node::Bool(value) => (*value).into(),
        Node::Integer(value) => (*value).into(),
        Node::Text(text) => text.as_str().into(),
        Node::List(items) => items.iter().map(value).collect::<Option<Vec<_>>>()?.into(),
        Node::Map(entries) => {
            let entry = |(name, node): &(Node, Node)| match name {
                Node::Text(key) => Some((key.clone(), value(node)?)),
                _ => None,
            };
            entries.iter().map(entry).collect::<Option<Map<_, _>>>()?.into()
        }
        Node::Number | Node::Tagged => return None,
    })
}
