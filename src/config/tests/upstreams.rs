//! Mistakes in upstreams.

use super::errors::refused;
use super::*;

#[test]
fn upstreams() {
    refused("upstream: a/b", "routes[0].upstream: must be a URL that begins with http://, https:// or unix:");
    refused(
        "upstream: http://a/?",
        "routes[0].upstream: must have a query of visible ASCII characters after its ?: percent-encode the others",
    );
    refused("upstream: http://a/#b", "routes[0].upstream: must have no fragment (#…)");
    refused("upstream: {url: 'http://u:p@a'}", "routes[0].upstream.url: must have no user or password");
    refused("upstream: http://a:0", "routes[0].upstream: must have a port from 1 to 65535, or none");
    refused(
        "upstream: {url: 'http://a', host_header: mine}",
        "routes[0].upstream.host_header: must be one of: upstream, preserve",
    );
    refused("upstream: {url: 'http://a', connect_timeout: 0s}", "routes[0].upstream.connect_timeout: must not be zero");
    refused(
        "upstream: {url: 'http://a', resend: 1}",
        "routes[0].upstream.resend: expected true or false, found a number",
    );
}

#[test]
fn sockets_as_upstreams() {
    refused(
        "upstream: unix:run/app.sock",
        "routes[0].upstream: must have the absolute path of a socket after unix: for example unix:/run/app.sock",
    );
    refused(
        "upstream: unix:/run/app.sock:hook",
        "routes[0].upstream: must have a path that begins with / after the second colon: unix:/run/app.sock:/path",
    );
    refused(
        "upstream: {url: 'unix:/run/app.sock', tls: {}}",
        "routes[0].upstream.tls: applies only to https:// URLs, and there is none here",
    );
}

#[test]
fn several_upstreams() {
    refused("upstream: {urls: []}", "routes[0].upstream.urls: needs at least one entry");
    refused("upstream: {urls: 'http://a'}", "routes[0].upstream.urls: expected a list, found text");
    refused(
        "upstream: {url: 'http://a', urls: ['http://b']}",
        "routes[0].upstream.urls: cannot stand beside url: write all URLs here",
    );
    refused(
        "upstream: {urls: ['http://a/x', 'http://a/x?k']}",
        "routes[0].upstream.urls[1]: names the same server as a URL before it",
    );
    refused(
        "upstream: {urls: ['http://a/x', 'http://b/y']}",
        "routes[0].upstream.urls[1]: must have the same path as the first URL, \"/x\": each gets the same deliveries",
    );
    refused(
        "upstream: {urls: ['http://a', 'http://u:p@b']}",
        "routes[0].upstream.urls[1]: must have no user or password",
    );
    let upstream =
        only_route(&["upstream: {urls: ['http://a/x?key=hunter2', 'unix:/s:/x'], connect_timeout: 1s}"]).upstream;
    assert_eq!((upstream.path(), upstream.urls.len()), ("/x", 2));
    assert_eq!(upstream.to_string(), "http://a/x?redacted, unix:/s:/x");
    assert!(!format!("{upstream:?}").contains("hunter2"));
}
