//! The request target at the upstream.

/// The parts of the request target: the upstream's path `base`, then `rest` on a prefix route, then the query of the upstream's
/// URL, then the query as the sender wrote it.
pub fn target<'a>(
    base: &'a str,
    rest: Option<&'a str>,
    own_query: Option<&'a str>,
    query: Option<&'a str>,
) -> [&'a str; 7] {
    let [base, between, rest] = match rest {
        None if base.is_empty() => ["/", "", ""],
        None => [base, "", ""],
        Some(rest) => [base.strip_suffix('/').unwrap_or(base), "/", rest],
    };
    let mark = if own_query.is_some() || query.is_some() { "?" } else { "" };
    // The sender's question mark without a query adds nothing to a query.
    let query = query.unwrap_or_default();
    let and = if own_query.is_some() && !query.is_empty() { "&" } else { "" };
    [base, between, rest, mark, own_query.unwrap_or_default(), and, query]
}

#[cfg(test)]
mod tests {
    use http::Uri;

    use super::super::message::Target;
    use super::*;

    fn exact(upstream: &str, uri: &str) -> String {
        mapped((upstream, None), &Target::new(uri.parse().unwrap(), None))
    }

    fn below(prefix: &str, upstream: &str, uri: &str) -> String {
        let uri: Uri = uri.parse().unwrap();
        mapped((upstream, None), &Target::new(uri, Some(prefix.len())))
    }

    fn mapped((base, query): (&str, Option<&str>), message: &Target) -> String {
        target(base, message.rest(), query, message.query()).concat()
    }

    #[test]
    fn the_query_of_the_upstreams_url_comes_before_that_of_the_sender() {
        for (uri, below, expected) in [
            ("/in", None, "/api/hook?code=abc"),
            ("/in?", None, "/api/hook?code=abc"),
            ("/in?a=%20&b", None, "/api/hook?code=abc&a=%20&b"),
            ("/in/x?a", Some(4), "/api/hook/x?code=abc&a"),
        ] {
            let message = Target::new(uri.parse().unwrap(), below);
            assert_eq!(mapped(("/api/hook", Some("code=abc")), &message), expected);
        }
        assert_eq!(mapped(("", Some("a")), &Target::new("/in?b".parse().unwrap(), None)), "/?a&b");
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
