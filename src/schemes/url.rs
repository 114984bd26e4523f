//! The public URL: the URL that the provider sends its deliveries to. It is configured; the `Host` of a request plays no
//! part.
//!
//! A URL with a path is that of one endpoint. To a URL without a path, the request's path is appended. The query always
//! comes from the request, so a changed query does not verify.

use std::fmt;

/// A URL that providers can reach.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct PublicUrl {
    scheme: &'static str,
    /// `USER:PASSWORD@`, or nothing.
    user: String,
    host: String,
    port: Option<String>,
    path: String,
}

/// One spelling of a URL, without its query. It may have a password, so it is never printed.
#[derive(Clone, PartialEq, Eq)]
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
        let (user, address) = match authority.rsplit_once('@') {
            Some((user, _)) if user.contains('@') => return Err("has more than one @ before its path"),
            Some((user, address)) => (format!("{user}@"), address),
            None => (String::new(), authority),
        };
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.to_owned())),
            _ => (address, None),
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'[' | b']' | b':');
        if host.is_empty() || !host.bytes().all(plain) {
            return Err("has no valid host");
        }
        if port.as_deref().is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
            return Err("has no valid port");
        }
        let path = rest.split('?').next().unwrap_or_default();
        Ok(Self { scheme, user, host: host.to_owned(), port, path: path.to_owned() })
    }

    /// Whether it has a user name or a password.
    pub(super) fn has_user(&self) -> bool {
        !self.user.is_empty()
    }

    /// The spellings to try, that of the configuration first: providers are not of one mind whether the port belongs to the
    /// URL, nor is one provider at all times. So any port is left out as well, and a default one written out.
    pub(super) fn bases(&self) -> Vec<Base> {
        let default = if self.scheme == "https" { "443" } else { "80" };
        let configured = self.port.as_deref();
        let mut bases = Vec::new();
        for port in [configured, if configured.is_none() { Some(default) } else { None }] {
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            let origin = format!("{}://{}{}{port}", self.scheme, self.user, self.host);
            if matches!(self.path.as_str(), "" | "/") {
                bases.push(Base { text: origin.clone(), append_path: true });
            }
            bases.push(Base { text: origin + &self.path, append_path: false });
        }
        bases
    }
}

/// A URL without its user name and password.
pub(super) fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let at = rest.get(..end).and_then(|authority| authority.rfind('@')).map_or(0, |at| at + 1);
    format!("{scheme}://{}", rest.get(at..).unwrap_or_default())
}

impl fmt::Debug for Base {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&without_user(&self.text))
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

    fn urls(configured: &str) -> Vec<String> {
        let url = PublicUrl::parse(configured).unwrap();
        url.bases().iter().map(|base| base.with_query("/in", Some("q=1"))).collect()
    }

    #[test]
    fn a_path_is_kept_and_none_is_filled_in_and_the_query_is_the_requests() {
        assert_eq!(urls("https://a.example/hook?q=0")[0], "https://a.example/hook?q=1");
        assert_eq!(urls("https://a.example")[..2], ["https://a.example/in?q=1", "https://a.example?q=1"]);
        assert_eq!(urls("https://a.example/")[..2], ["https://a.example/in?q=1", "https://a.example/?q=1"]);
        let base = &PublicUrl::parse("http://[::1]:8080/hook").unwrap().bases()[0];
        assert_eq!(base.with_query("/in", None), "http://[::1]:8080/hook");
        assert_eq!(base.without_query("/in"), "http://[::1]:8080/hook");
    }

    #[test]
    fn a_port_is_tried_as_configured_and_left_out_and_a_default_one_written_out() {
        assert_eq!(urls("https://a.example/h"), ["https://a.example/h?q=1", "https://a.example:443/h?q=1"]);
        assert_eq!(urls("http://a.example:80/h"), ["http://a.example:80/h?q=1", "http://a.example/h?q=1"]);
        assert_eq!(urls("https://a.example:8443/h"), ["https://a.example:8443/h?q=1", "https://a.example/h?q=1"]);
        assert_eq!(urls("https://[::1]:8443/h")[1], "https://[::1]/h?q=1");
    }

    #[test]
    fn a_user_name_and_a_password_stay_in_the_url_and_out_of_what_is_printed() {
        assert_eq!(
            urls("https://u:p@a.example:8443/h"),
            ["https://u:p@a.example:8443/h?q=1", "https://u:p@a.example/h?q=1"]
        );
        assert_eq!(urls("https://u@a.example/h@b")[0], "https://u@a.example/h@b?q=1");
        let bases = PublicUrl::parse("https://u:p@a.example/h").unwrap().bases();
        assert_eq!(format!("{bases:?}"), "[https://a.example/h, https://a.example:443/h]");
        assert_eq!(without_user("https://a.example/h@b"), "https://a.example/h@b");
        assert_eq!(without_user("https://u:p@a.example?a@b"), "https://a.example?a@b");
    }

    #[test]
    fn what_is_no_public_url_is_refused() {
        for text in [
            "",
            "a.example/hook",
            "ftp://a.example/",
            "https://",
            "https:///hook",
            "https://user@b@a.example/",
            "https://user@/",
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
