//! Reads the addresses that proxies write into `X-Forwarded-For` and `Forwarded` (RFC 7239).
//!
//! `X-Forwarded-For` has no standard: each element is an address, with or without a port; an IPv6 address may have brackets.
//! `Forwarded` is read by its grammar, with one exception: a value with colons or brackets may lack its quotes, since several
//! proxies omit them. A line that does not follow the grammar is ignored as a whole: if it were read in parts, a stray quote
//! from the sender could change the element that a later proxy appended.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};
use smallvec::SmallVec;

/// `X-Forwarded-For`: the client and the proxies after it.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// An element of `Forwarded`, written by one proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Element<'a> {
    /// `for`: the node that made the request to the proxy.
    pub node: Option<&'a str>,
    /// `proto`: the protocol of that request.
    pub proto: Option<&'a str>,
    /// `host`: the `Host` of that request.
    pub host: Option<&'a str>,
}

/// Elements of one line.
pub type Elements<'a> = SmallVec<[Element<'a>; 4]>;

/// The elements of all `X-Forwarded-For` lines, the last one first. Empty ones are ignored (RFC 9110 section 5.6.1.2).
pub fn x_forwarded_for(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let elements = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    elements.map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// The elements of all `Forwarded` lines, the last one first. `None` stands for a line that cannot be read.
pub fn forwarded(headers: &HeaderMap) -> impl Iterator<Item = Option<Element<'_>>> {
    let lines = headers.get_all(FORWARDED).iter().rev();
    lines.flat_map(|line| match line.to_str().ok().and_then(parse) {
        Some(elements) => elements.into_iter().map(Some).rev().collect::<SmallVec<[_; 4]>>(),
        None => SmallVec::from_iter([None]),
    })
}

/// The address of a node, without its port; `None` if the node is not an address, such as `unknown` or `_hidden`.
pub fn address(node: &str) -> Option<IpAddr> {
    let address = if let Some(rest) = node.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        let port = rest.strip_prefix(':');
        if !(rest.is_empty() || port.is_some_and(is_port)) {
            return None;
        }
        IpAddr::V6(address.parse::<Ipv6Addr>().ok()?)
    } else if let Ok(address) = node.parse::<IpAddr>() {
        address
    } else {
        let (address, port) = node.split_once(':')?;
        IpAddr::V4(address.parse::<Ipv4Addr>().ok().filter(|_| is_port(port))?)
    };
    Some(address.to_canonical())
}

/// RFC 7239 section 6: up to five digits, or an obfuscated port.
fn is_port(text: &str) -> bool {
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let hidden = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    digits || text.strip_prefix('_').is_some_and(|rest| !rest.is_empty() && rest.bytes().all(hidden))
}

/// The elements of one line by the grammar of RFC 7239 section 4; `None` if the line does not follow it.
fn parse(line: &str) -> Option<Elements<'_>> {
    let mut elements = Elements::new();
    let mut element = Element::default();
    let mut rest = line.trim_matches(is_space);
    loop {
        // Empty pairs and elements are allowed.
        if let Some(after) = rest.strip_prefix([',', ';']) {
            if rest.starts_with(',') && element != Element::default() {
                elements.push(std::mem::take(&mut element));
            }
            rest = after.trim_start_matches(is_space);
            continue;
        }
        if rest.is_empty() {
            if element != Element::default() {
                elements.push(element);
            }
            return Some(elements);
        }
        let (name, after) = rest.split_once('=').filter(|(name, _)| is_token(name))?;
        let (value, after) = value(after)?;
        let place = match name {
            _ if name.eq_ignore_ascii_case("for") => Some(&mut element.node),
            _ if name.eq_ignore_ascii_case("proto") => Some(&mut element.proto),
            _ if name.eq_ignore_ascii_case("host") => Some(&mut element.host),
            _ => None,
        };
        // A parameter must not be repeated (RFC 7239 section 4).
        if let Some(place) = place
            && place.replace(value).is_some()
        {
            return None;
        }
        rest = after.trim_start_matches(is_space);
        if !(rest.is_empty() || rest.starts_with([',', ';'])) {
            return None;
        }
    }
}

/// The value at the beginning of `text`, without quotes, and the text after it.
fn value(text: &str) -> Option<(&str, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| ",;\"".contains(c) || is_space(c)).unwrap_or(text.len());
        return text.split_at_checked(end).filter(|(value, _)| !value.is_empty());
    };
    let mut escaped = false;
    for (at, byte) in quoted.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            // Backslashes stay: no address, protocol or host contains one.
            b'"' => return Some((quoted.get(..at)?, quoted.get(at + 1..)?)),
            _ => {}
        }
    }
    None
}

fn is_space(c: char) -> bool {
    c == ' ' || c == '\t'
}

fn is_token(text: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(token)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn nodes(line: &str) -> Option<Vec<&str>> {
        Some(parse(line)?.iter().map(|element| element.node.unwrap_or("-")).collect())
    }

    #[test]
    fn an_address_has_these_forms_and_no_other() {
        let v4: IpAddr = "192.0.2.1".parse().unwrap();
        for text in ["192.0.2.1", "192.0.2.1:1", "192.0.2.1:65535", "192.0.2.1:_p", "::ffff:192.0.2.1"] {
            assert_eq!(address(text), Some(v4), "{text}");
        }
        assert_eq!(address("[::ffff:192.0.2.1]:80"), Some(v4));
        let v6: IpAddr = "2001:db8::1".parse().unwrap();
        for text in ["2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:443", "2001:DB8:0::1", "[2001:db8::1]:_x.y"] {
            assert_eq!(address(text), Some(v6), "{text}");
        }
        for text in [
            "",
            "unknown",
            "_hidden",
            "192.0.2",
            "192.0.2.256",
            "192.0.2.01",
            "192.0.2.1:",
            "192.0.2.1:123456",
            "192.0.2.1:8x",
            "192.0.2.1:_",
            "192.0.2.1 ",
            "[192.0.2.1]",
            "[2001:db8::1",
            "[2001:db8::1]x",
            "[2001:db8::1]:",
            "2001:db8::1]:80",
            "fe80::1%eth0",
            "0x7f000001",
            "2130706433",
            "localhost",
        ] {
            assert_eq!(address(text), None, "{text}");
        }
    }

    #[test]
    fn the_examples_of_rfc_7239_are_read() {
        assert_eq!(nodes(r#"for="_gazonk""#), Some(vec!["_gazonk"]));
        assert_eq!(nodes(r#"For="[2001:db8:cafe::17]:4711""#), Some(vec!["[2001:db8:cafe::17]:4711"]));
        assert_eq!(nodes("for=192.0.2.43, for=198.51.100.17"), Some(vec!["192.0.2.43", "198.51.100.17"]));
        let line = parse("for=192.0.2.60;proto=http;by=203.0.113.43").unwrap();
        assert_eq!(line[..], [Element { node: Some("192.0.2.60"), proto: Some("http"), host: None }]);
        assert_eq!(nodes(r#"for=192.0.2.43,for="[2001:db8:cafe::17]",for=unknown"#).unwrap().len(), 3);
    }

    #[test]
    fn commas_and_semicolons_in_quotes_are_text() {
        assert_eq!(nodes(r#"for="a,for=b;for=c""#), Some(vec!["a,for=b;for=c"]));
        assert_eq!(nodes(r#"for="a\",for=b", for=c"#), Some(vec![r#"a\",for=b"#, "c"]));
    }

    #[test]
    fn empty_parts_are_nothing() {
        assert_eq!(nodes(" , ;for=a; ,, for=b ; "), Some(vec!["a", "b"]));
        assert_eq!(nodes(""), Some(vec![]));
    }

    #[test]
    fn a_line_that_is_not_of_the_grammar_says_nothing() {
        for line in [
            "for",
            "for=",
            "=a",
            "for =a",
            r#"for="a"#,
            r#"for="a\"#,
            r#"for="a"b"#,
            r#"for=a"b""#,
            "for=a b",
            "for=a;for=b",
            r#"for=1.2.3.4;x=", for=5.6.7.8"#,
            r#"for=1.2.3.4;x=", for="[2001:db8::1]""#,
        ] {
            assert_eq!(nodes(line), None, "{line}");
        }
    }

    #[test]
    fn several_lines_are_one_list_read_from_its_end() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            (X_FORWARDED_FOR, "a, b,"),
            (X_FORWARDED_FOR, ""),
            (X_FORWARDED_FOR, "\tc ,d"),
            (FORWARDED, "for=a, for=b"),
            (FORWARDED, "for=\""),
            (FORWARDED, "for=c"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let found: Vec<_> = x_forwarded_for(&headers).collect();
        assert_eq!(found, [b"d", b"c", b"b", b"a"]);
        let found: Vec<_> = forwarded(&headers).map(|element| element.and_then(|element| element.node)).collect();
        assert_eq!(found, [Some("c"), None, Some("b"), Some("a")]);
    }

    proptest! {
        /// A sender's text in front of a proxy's element never changes that element: the line is read with the element unchanged, or
        /// is ignored.
        #[test]
        fn what_a_sender_wrote_never_changes_what_a_proxy_appended(
            theirs in r#"([a-z0-9=,;"\\ :\[\]]|for=){0,40}"#,
            node in prop::sample::select(vec!["192.0.2.1", "\"[2001:db8::1]\"", "\"192.0.2.1:80\"", "unknown"]),
        ) {
            let line = format!("{theirs}, for={node}");
            if let Some(nodes) = nodes(&line) {
                prop_assert_eq!(nodes.last().copied(), Some(node.trim_matches('"')));
            }
        }
    }
}
