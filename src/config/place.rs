//! Where in the file an error is: its line, and the route that it is about.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess};

use super::error::ConfigError;
use super::raw::Node;
use super::reader::join;

/// The most errors whose line is looked for: each takes a scan of the file.
const MOST: usize = 50;

/// Adds to each error its line and its route.
pub(super) fn fill_in(errors: &mut [ConfigError], text: &str, root: &Node) {
    for error in errors.iter_mut().filter(|error| !error.path.is_empty()) {
        error.route = route_of(&error.path, root);
    }
    for error in errors.iter_mut().filter(|error| !error.path.is_empty()).take(MOST) {
        error.line = line_of(&error.path, text);
    }
}

/// The name of the route that a path is in.
fn route_of(path: &str, root: &Node) -> Option<String> {
    let position: usize = path.strip_prefix("routes[")?.split_once(']')?.0.parse().ok()?;
    let Node::List(routes) = value(root, "routes")? else { return None };
    let Node::Text(name) = value(routes.get(position)?, "name")? else { return None };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (name.len() <= 64 && name.bytes().all(plain)).then(|| name.clone())
}

fn value<'a>(map: &'a Node, key: &str) -> Option<&'a Node> {
    let Node::Map(entries) = map else { return None };
    entries.iter().find(|(name, _)| matches!(name, Node::Text(name) if name == key)).map(|(_, value)| value)
}

/// The line of the key at a path, or of what it would stand in.
fn line_of(path: &str, text: &str) -> Option<usize> {
    // The parser gives no places but those of errors: so it gets an error where the path ends.
    let walk = Walk { target: path, at: String::new() };
    let error = walk.deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
    error.location().map(|at| at.line())
}

/// Goes down to the target, and fails there.
struct Walk<'t> {
    target: &'t str,
    /// The path of the value that is read.
    at: String,
}

/// Reads a key, and fails if it is the target. Otherwise gives the path of its value, if it is one.
struct Key<'t> {
    target: &'t str,
    map: String,
}

/// Whether a target is at this path or below it.
fn leads(at: &str, target: &str) -> bool {
    target.strip_prefix(at).is_some_and(|rest| at.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> de::Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        for position in 0.. {
            let at = format!("{}[{position}]", self.at);
            let more = match leads(&at, self.target) {
                true => items.next_element_seed(Walk { target: self.target, at })?.is_some(),
                false => items.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Err(de::Error::custom("here"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(at) = entries.next_key_seed(Key { target: self.target, map: self.at.clone() })? {
            match at.filter(|at| leads(at, self.target)) {
                Some(at) => entries.next_value_seed(Walk { target: self.target, at })?,
                None => drop(entries.next_value::<IgnoredAny>()?),
            }
        }
        Err(de::Error::custom("here"))
    }
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<String>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> de::Visitor<'de> for Key<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Option<String>, E> {
        let at = join(&self.map, key);
        if at == self.target { Err(E::custom("here")) } else { Ok(Some(at)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::raw::parse;

    const FILE: &str = "# a comment
server:
  listen: 1
routes:
  - name: civo
    path: /civo
    secrets: [{ env: A },
              { env: B }]
  - &b
    name: \"two words\"
    scheme: {
      name: x }
copy: *b
";

    #[test]
    fn the_line_is_that_of_the_key_or_of_what_it_is_missing_in() {
        for (path, line) in [
            ("server.listen", 3),
            ("server", 2),
            ("routes[0].path", 6),
            ("routes[0].secrets[1].env", 8),
            ("routes[0].secrets[1]", 8),
            ("routes[0].upstream", 5),
            ("routes[1].scheme.name", 12),
            ("routes[1].scheme.public_url", 11),
            ("copy.scheme.name", 12),
            ("admin", 2),
        ] {
            assert_eq!(line_of(path, FILE), Some(line), "{path}");
        }
    }

    #[test]
    fn the_route_is_named_if_its_name_is_one() {
        let root = parse(FILE).expect("valid");
        assert_eq!(route_of("routes[0].secrets[1].env", &root).as_deref(), Some("civo"));
        assert_eq!(route_of("routes[1].scheme", &root), None);
        assert_eq!(route_of("routes[2].scheme", &root), None);
        assert_eq!(route_of("server.listen", &root), None);
    }
}
