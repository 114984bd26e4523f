//! Headers as JSON has them: an object of texts or lists of texts, or that object once more as a text.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Names and values, in the order of the file.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// The names and values.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Object { of_text: false })
    }
}

struct Object {
    /// Whether it stands in a text already.
    of_text: bool,
}

impl<'de> Visitor<'de> for Object {
    type Value = Fields;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("headers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Vec::new();
        while let Some((name, Values(values))) = map.next_entry::<String, Values>()? {
            fields.extend(values.into_iter().map(|value| (name.clone(), value)));
        }
        Ok(Fields(fields))
    }

    /// An empty object of PHP.
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Fields, A::Error> {
        match list.next_element::<IgnoredAny>()? {
            None => Ok(Fields::default()),
            Some(_) => Err(serde::de::Error::custom("headers are no list")),
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Fields, E> {
        if self.of_text {
            return Err(E::custom("headers are no text in a text"));
        }
        let mut inner = serde_json::Deserializer::from_str(text);
        inner.deserialize_any(Self { of_text: true }).map_err(|_| E::custom("the text is no headers"))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Fields, E> {
        Ok(Fields::default())
    }
}

/// The values of a name.
struct Values(Vec<String>);

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrList)
    }
}

struct TextOrList;

impl<'de> Visitor<'de> for TextOrList {
    type Value = Values;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a header's values")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Values, E> {
        Ok(Values(vec![text.to_owned()]))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Values, E> {
        Ok(Values(vec![number.to_string()]))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Values, E> {
        Ok(Values(Vec::new()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Values, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element::<String>()? {
            values.push(value);
        }
        Ok(Values(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_in_every_form() {
        let fields = |json: &str| serde_json::from_str::<Fields>(json).ok().map(|fields| fields.0);
        let own = |pairs: &[(&str, &str)]| {
            Some(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>())
        };
        assert_eq!(fields(r#"{"b":["1","2"],"a":"3","c":null,"d":90}"#), {
            own(&[("b", "1"), ("b", "2"), ("a", "3"), ("d", "90")])
        });
        assert_eq!(fields(r#""{\"a\":\"b\"}""#), own(&[("a", "b")]));
        assert_eq!(fields("[]"), own(&[]));
        assert_eq!(fields("null"), own(&[]));
        for wrong in ["[1]", "7", r#"{"a":{}}"#, r#"{"a":[[]]}"#, r#""\"{}\"""#, r#""x""#] {
            assert_eq!(fields(wrong), None, "{wrong}");
        }
    }
}
