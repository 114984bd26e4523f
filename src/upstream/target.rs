//! The request target at the upstream.

use crate::config::{PathPattern, Upstream};

/// The parts of the request target for the upstream: its own path for an exact route, its path and what follows the prefix
/// for a prefix route; the query as it came.
pub fn target<'a>(
    pattern: &PathPattern,
    upstream: &'a Upstream,
    path: &'a str,
    query: Option<&'a str>,
) -> [&'a str; 5] {
    let base = upstream.path.as_str();
    let [base, between, rest] = match pattern {
        PathPattern::Exact(_) if base.is_empty() => ["/", "", ""],
        PathPattern::Exact(_) => [base, "", ""],
        PathPattern::Prefix(prefix) => {
            [base.strip_suffix('/').unwrap_or(base), "/", path.get(prefix.len()..).unwrap_or_default()]
        }
    };
    let mark = if query.is_some() { "?" } else { "" };
    [base, between, rest, mark, query.unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Uri;

    use super::*;
    use crate::config::HostHeader;

    fn mapped(pattern: PathPattern, upstream: &str, uri: &str) -> String {
        let upstream = Upstream {
            tls: false,
            host: "h".into(),
            port: 80,
            authority: "h".into(),
            path: upstream.into(),
            connect_timeout: Duration::from_secs(1),
            resend: true,
            host_header: HostHeader::Upstream,
            certificates: None,
        };
        let uri: Uri = uri.parse().unwrap();
        target(&pattern, &upstream, uri.path(), uri.query()).concat()
    }

    #[test]
    fn an_exact_route_goes_to_the_upstreams_path_with_the_query_verbatim() {
        let exact = || PathPattern::Exact("/in".into());
        assert_eq!(mapped(exact(), "/log", "/in?a=%20&b"), "/log?a=%20&b");
        assert_eq!(mapped(exact(), "/log/", "/in?"), "/log/?");
        assert_eq!(mapped(exact(), "", "/in"), "/");
    }

    #[test]
    fn a_prefix_route_hands_on_what_follows_the_prefix_untouched() {
        let prefix = || PathPattern::Prefix("/hooks/".into());
        assert_eq!(mapped(prefix(), "/base", "/hooks/a/b?x=1"), "/base/a/b?x=1");
        assert_eq!(mapped(prefix(), "/base/", "/hooks/a/b?x=1"), "/base/a/b?x=1");
        assert_eq!(mapped(prefix(), "", "/hooks/"), "/");
        assert_eq!(mapped(prefix(), "", "/hooks/%2e%2e//;x"), "/%2e%2e//;x");
        assert_eq!(mapped(PathPattern::Prefix("/".into()), "", "/a"), "/a");
    }
}
