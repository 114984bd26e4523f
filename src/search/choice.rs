//! Forms that write the language: reads which value a text chooses for a key, and puts another one in its place.

use super::split::{Term, split, text};

/// What a text says of a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Chosen {
    /// Nothing.
    Any,
    /// That it has this value.
    One(String),
    /// Something else: several values, or that it does not have one.
    Other,
}

/// What a text says of a key that has these names. Of a text with a mistake, nothing.
pub fn chosen(search: &str, names: &[&str]) -> Chosen {
    let terms = split(search).unwrap_or_default();
    let values: Vec<_> =
        terms.iter().filter_map(|term| value(term, names).map(|value| (term.negated, value))).collect();
    match values.as_slice() {
        [] => Chosen::Any,
        [(false, value)] => Chosen::One(value.clone()),
        _ => Chosen::Other,
    }
}

/// The text with this term, if there is one, instead of what it said of the key with these names. A text with a mistake keeps
/// all that it has.
pub fn choose(search: &str, names: &[&str], term: Option<&str>) -> String {
    let terms = split(search).unwrap_or_default();
    let ends = terms.iter().skip(1).map(|next| next.at).chain([search.len()]);
    let mut kept: Vec<&str> = match terms.is_empty() {
        true => vec![search.trim()],
        false => terms
            .iter()
            .zip(ends)
            .filter(|(term, _)| value(term, names).is_none())
            .filter_map(|(term, end)| Some(search.get(term.at..end)?.trim()))
            .collect(),
    };
    kept.extend(term);
    kept.retain(|part| !part.is_empty());
    kept.join(" ")
}

/// A value as it is written behind a key.
pub fn written(value: &str) -> String {
    match value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
        true if !value.is_empty() => value.to_owned(),
        _ => format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

/// The value of a term whose key has one of these names.
fn value(term: &Term, names: &[&str]) -> Option<String> {
    let colon = term.letters.iter().position(|letter| letter.means(':'))?;
    let (name, value) = term.letters.split_at_checked(colon)?;
    let name = text(name).to_ascii_lowercase();
    names.contains(&name.as_str()).then(|| text(value.get(1..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: [&str; 2] = ["is", "state"];

    #[test]
    fn a_text_says_what_it_chooses() {
        let one = |value: &str| Chosen::One(value.to_owned());
        for (search, expected) in [
            ("", Chosen::Any),
            ("dead", Chosen::Any),
            ("is:dead route:a", one("dead")),
            ("x state:\"dead\"", one("dead")),
            ("is:dead state:failed", Chosen::Other),
            ("-is:dead", Chosen::Other),
            ("\"is:dead\"", Chosen::Any),
            ("is:dead \"open", Chosen::Any),
        ] {
            assert_eq!(chosen(search, &STATE), expected, "{search}");
        }
    }

    #[test]
    fn a_choice_takes_the_place_of_the_one_before() {
        for (search, term, expected) in [
            ("", None, ""),
            ("", Some("is:dead"), "is:dead"),
            ("  a  is:dead \"b  c\" -state:failed d", Some("is:refused"), "a \"b  c\" d is:refused"),
            ("is:dead", None, ""),
            ("é is:dead é", None, "é é"),
            ("is:dead \"open", Some("is:failed"), "is:dead \"open is:failed"),
        ] {
            assert_eq!(choose(search, &STATE, term), expected, "{search}");
            let again = term.map_or(Chosen::Any, |term| Chosen::One(term.split_once(':').unwrap().1.to_owned()));
            assert!(split(expected).is_err() || chosen(expected, &STATE) == again, "{search}");
        }
    }

    #[test]
    fn any_value_can_be_written() {
        for (value, expected) in
            [("stripe-2", "stripe-2"), ("", "\"\""), ("a b", "\"a b\""), ("a\"\\*", "\"a\\\"\\\\*\"")]
        {
            assert_eq!(written(value), expected);
            if !value.is_empty() {
                assert_eq!(chosen(&format!("route:{expected}"), &["route"]), Chosen::One(value.to_owned()));
            }
        }
    }
}
