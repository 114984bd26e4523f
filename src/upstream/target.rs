//! The request target at the upstream.

/// The parts of the request target: the upstream's path `base`, then `rest` on a prefix route, then the query as the sender
/// wrote it.
pub fn target<'a>(base: &'a str, rest: Option<&'a str>, query: Option<&'a str>) -> [&'a str; 5] {
    let [base, between, rest] = match rest {
        None if base.is_empty() => ["/", "", ""],
        None => [base, "", ""],
        Some(rest) => [base.strip_suffix('/').unwrap_or(base), "/", rest],
    };
    let mark = if query.is_some() { "?" } else { "" };
    [base, between, rest, mark, query.unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use http::Uri;

    use super::super::message::Target;
    use super::*;

    fn exact(upstream: &str, uri: &str) -> String {
        mapped(upstream, &Target::new(uri.parse().unwrap(), None))
    }

    fn below(prefix: &str, upstream: &str, uri: &str) -> String {
        let uri: Uri = uri.parse().unwrap();
        mapped(upstream, &Target::new(uri, Some(prefix.len())))
    }

    fn mapped(upstream: &str, message: &Target) -> String {
        target(upstream, message.rest(), message.query()).concat()
    }

    #[test]
    fn an_exact_route_goes_to_the_upstreams_path_with_the_query_verbatim() {
        assert_eq!(exact("/log", "/in?a=%20&b"), "/log?a=%20&b");
        assert_eq!(exact("/log/", "/in?"), "/log/?");
        assert_eq!(exact("", "/in"), "/");
    }

    #[test]
    fn a_prefix_route_hands_on_what_follows_the_prefix_untouched() {
        assert_eq!(below("/hooks/", "/base", "/hooks/a/b?x=1"), "/base/a/b?x=1");
        assert_eq!(below("/hooks/", "/base/", "/hooks/a/b?x=1"), "/base/a/b?x=1");
        assert_eq!(below("/hooks/", "", "/hooks/"), "/");
        assert_eq!(below("/hooks/", "", "/hooks/%2e%2e//;x"), "/%2e%2e//;x");
        assert_eq!(below("/", "", "/a"), "/a");
    }
}
