//! The public URL: the URL that the provider sends its deliveries to. It is configured; the `Host` of a request plays no
//! part.
//!
//! A URL with a path is that of one endpoint. To a URL without a path, the request's path is appended. The query always
//! comes from the request, so a changed query does not verify.

/// A URL that providers can reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublicUrl {
    scheme: &'static str,
    host: String,
    port: Option<String>,
    path: String,
}

/// One spelling of a URL, without its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base {
    text: String,
    append_path: bool,
}

impl PublicUrl {
    /// Reads a URL.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => ("https", rest),
            (_, Some(rest)) => ("http", rest),
            _ => return Err("must begin with https://"),
        };
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("must be plain ASCII without spaces, as a browser sends it");
        }
        if text.contains('#') {
            return Err("must not have a fragment");
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at_checked(end).unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err("must not have a user name or password");
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.to_owned())),
            _ => (authority, None),
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'[' | b']' | b':');
        if host.is_empty() || !host.bytes().all(plain) {
            return Err("has no valid host");
        }
        if port.as_deref().is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
            return Err("has no valid port");
        }
        let path = rest.split('?').next().unwrap_or_default();
        Ok(Self { scheme, host: host.to_owned(), port, path: path.to_owned() })
    }

    /// The spellings to try, the usual one first.
    pub(super) fn bases(&self, any_port: bool) -> Vec<Base> {
        let default = if self.scheme == "https" { "443" } else { "80" };
        let mut ports = vec![self.port.as_deref()];
        match self.port.as_deref() {
            None if any_port => ports.push(Some(default)),
            Some(port) if any_port && port == default => ports.push(None),
            _ => {}
        }
        let mut bases = Vec::new();
        for port in ports {
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            let origin = format!("{}://{}{port}", self.scheme, self.host);
            if matches!(self.path.as_str(), "" | "/") {
                bases.push(Base { text: origin.clone(), append_path: true });
            }
            bases.push(Base { text: origin + &self.path, append_path: false });
        }
        bases
    }
}

impl Base {
    /// The URL of a request, with its query.
    pub(super) fn with_query(&self, path: &str, query: Option<&str>) -> String {
        let mut url = self.without_query(path);
        if let Some(query) = query {
            url.push('?');
            url.push_str(query);
        }
        url
    }

    /// The URL of a request up to its query.
    pub(super) fn without_query(&self, path: &str) -> String {
        if self.append_path { format!("{}{path}", self.text) } else { self.text.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(configured: &str, any_port: bool) -> Vec<String> {
        let url = PublicUrl::parse(configured).unwrap();
        url.bases(any_port).iter().map(|base| base.with_query("/in", Some("q=1"))).collect()
    }

    #[test]
    fn a_path_is_kept_and_none_is_filled_in_and_the_query_is_the_requests() {
        assert_eq!(urls("https://a.example/hook?q=0", false), ["https://a.example/hook?q=1"]);
        assert_eq!(urls("https://a.example", false), ["https://a.example/in?q=1", "https://a.example?q=1"]);
        assert_eq!(urls("https://a.example/", false), ["https://a.example/in?q=1", "https://a.example/?q=1"]);
        let base = &PublicUrl::parse("http://[::1]:8080/hook").unwrap().bases(true)[0];
        assert_eq!(base.with_query("/in", None), "http://[::1]:8080/hook");
        assert_eq!(base.without_query("/in"), "http://[::1]:8080/hook");
    }

    #[test]
    fn the_default_port_is_tried_both_ways() {
        assert_eq!(urls("https://a.example/h", true), ["https://a.example/h?q=1", "https://a.example:443/h?q=1"]);
        assert_eq!(urls("http://a.example:80/h", true), ["http://a.example:80/h?q=1", "http://a.example/h?q=1"]);
        assert_eq!(urls("https://a.example:80/h", true), ["https://a.example:80/h?q=1"]);
    }

    #[test]
    fn what_is_no_public_url_is_refused() {
        for text in [
            "",
            "a.example/hook",
            "ftp://a.example/",
            "https://",
            "https:///hook",
            "https://user@a.example/",
            "https://a.example:0/",
            "https://a.example:x/",
            "https://a.example:99999/",
            "https://a.example/ hook",
            "https://a.example/h\u{e9}",
            "https://a.example/#top",
            "https://a\"b/",
        ] {
            assert!(PublicUrl::parse(text).is_err(), "{text}");
        }
    }
}
