//! Who has logged in: a random value in a cookie, instead of the token.
//!
//! A session ends after [`LASTS`], by a log out, with the process, or when `admin.token` gets another value. The gateway keeps
//! digests, so that its memory holds nothing that could be sent to it.
//!
//! A browser sends cookies to every port of a host, so the cookie's name has the port in it that the browser knows.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use http::HeaderMap;
use http::header::{COOKIE, HOST};
use rand::RngExt as _;
use sha2::{Digest as _, Sha256};

use crate::lock::lock;
use crate::schemes::Secret;

/// How long a session lasts.
pub const LASTS: Duration = Duration::from_secs(12 * 3600);
/// Wrong passwords of one client that are looked at within a second.
const TRIES: usize = 5;
/// Those of all clients together.
const ALL_TRIES: usize = 100;
const SECOND: Duration = Duration::from_secs(1);
/// Sessions at once; the one that ends first makes room.
const MOST: usize = 1_000;

type Digest = [u8; 32];

/// All sessions.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// By the digest of the cookie's value.
    open: HashMap<Digest, Session>,
    /// When the latest wrong passwords came, and from whom: [`ALL_TRIES`] at most.
    failures: VecDeque<(Instant, IpAddr)>,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    ends: Instant,
    /// The digest of the token that it was opened with.
    token: Digest,
}

impl Sessions {
    /// Opens a session; returns the value for its cookie.
    pub fn open(&self, token: &Secret, now: Instant) -> String {
        let random: [u8; 32] = rand::rng().random();
        let value = base16ct::lower::encode_string(&random);
        let mut state = lock(&self.0);
        state.open.retain(|_, session| session.ends > now);
        if state.open.len() >= MOST
            && let Some(first) = state.open.iter().min_by_key(|(_, session)| session.ends).map(|(key, _)| *key)
        {
            state.open.remove(&first);
        }
        let session = Session { ends: now + LASTS, token: digest(token.expose()) };
        state.open.insert(digest(value.as_bytes()), session);
        value
    }

    /// Whether a request has the cookie of a session that was opened with this token.
    pub fn has(&self, headers: &HeaderMap, port: u16, token: &Secret, now: Instant) -> bool {
        let token = digest(token.expose());
        let state = lock(&self.0);
        // The key is a digest: the time that a look-up takes tells nothing about the value.
        values(headers, port).any(|value| {
            let session = state.open.get(&digest(value.as_bytes()));
            session.is_some_and(|session| session.ends > now && session.token == token)
        })
    }

    /// Ends the session of a request.
    pub fn close(&self, headers: &HeaderMap, port: u16) {
        let mut state = lock(&self.0);
        for value in values(headers, port) {
            state.open.remove(&digest(value.as_bytes()));
        }
    }

    /// Whether the client at this address may try another password.
    pub fn may_try(&self, address: IpAddr, now: Instant) -> bool {
        let (mut state, client) = (lock(&self.0), client(address));
        state.failures.retain(|(at, _)| now.saturating_duration_since(*at) < SECOND);
        let own = state.failures.iter().filter(|(_, other)| *other == client).count();
        own < TRIES && state.failures.len() < ALL_TRIES
    }

    /// Notes a wrong password of the client at this address.
    pub fn failed(&self, address: IpAddr, now: Instant) {
        let mut state = lock(&self.0);
        state.failures.push_back((now, client(address)));
        while state.failures.len() > ALL_TRIES {
            state.failures.pop_front();
        }
    }
}

/// Who counts as one client: of an IPv6 address its network, in which one machine can have any address.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address => address,
    }
}

/// The name of the cookie: `port` is that of the gateway, for a browser that leaves it out of `Host`.
fn name(headers: &HeaderMap, port: u16) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let named = host.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    format!("hooklatch_session_{}", named.unwrap_or(port))
}

fn values(headers: &HeaderMap, port: u16) -> impl Iterator<Item = &str> {
    let name = name(headers, port);
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).filter_map(move |pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then_some(value)
    })
}

/// The value of `Set-Cookie` that opens a session: RFC 6265, `SameSite` by its successor's draft.
pub fn cookie(headers: &HeaderMap, port: u16, value: &str) -> String {
    set_cookie(headers, port, value, LASTS)
}

/// The value of `Set-Cookie` that ends one.
pub fn no_cookie(headers: &HeaderMap, port: u16) -> String {
    set_cookie(headers, port, "", Duration::ZERO)
}

fn set_cookie(headers: &HeaderMap, port: u16, value: &str, lasts: Duration) -> String {
    let (name, seconds) = (name(headers, port), lasts.as_secs());
    format!("{name}={value}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}")
}

fn digest(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::clock::Clock;

    fn headers(cookie: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("localhost:9797"));
        headers.insert(COOKIE, cookie.parse().unwrap());
        headers
    }

    fn token(text: &str) -> Secret {
        Secret::from(text.as_bytes().to_vec())
    }

    #[test]
    fn a_session_lasts_until_its_time_its_token_or_a_person_ends_it() {
        let (sessions, now) = (Sessions::default(), Clock::system().now());
        let value = sessions.open(&token("a"), now);
        assert_eq!(value.len(), 64);
        assert_ne!(sessions.open(&token("a"), now), value);
        let own = headers(&format!("other=1; hooklatch_session_9797={value}"));
        assert!(sessions.has(&own, 1, &token("a"), now));
        assert!(sessions.has(&own, 1, &token("a"), now + LASTS - SECOND));
        assert!(!sessions.has(&own, 1, &token("a"), now + LASTS), "after its time");
        assert!(!sessions.has(&own, 1, &token("b"), now), "with another token");
        for other in [format!("hooklatch_session_1={value}"), "hooklatch_session_9797=".to_owned(), value.clone()] {
            assert!(!sessions.has(&headers(&other), 1, &token("a"), now), "{other}");
        }
        sessions.close(&own, 1);
        assert!(!sessions.has(&own, 1, &token("a"), now), "after a log out");
    }

    #[test]
    fn the_cookie_has_the_port_that_the_browser_knows() {
        let mut headers = headers("");
        assert!(cookie(&headers, 1, "v").starts_with("hooklatch_session_9797=v; HttpOnly; SameSite=Strict; Path=/;"));
        headers.insert(HOST, HeaderValue::from_static("gateway.internal"));
        assert!(cookie(&headers, 1, "v").starts_with("hooklatch_session_1=v;"));
        headers.insert(HOST, HeaderValue::from_static("[::1]:80"));
        assert!(no_cookie(&headers, 1).starts_with("hooklatch_session_80=;"));
    }

    #[test]
    fn each_client_may_try_a_few_passwords_a_second() {
        let (sessions, now) = (Sessions::default(), Clock::system().now());
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        for (own, same, other) in
            [("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::ffff:0:0:2", "2001:db8:0:1::1")]
        {
            for _ in 0..TRIES {
                assert!(sessions.may_try(address(own), now));
                sessions.failed(address(own), now);
            }
            assert!(sessions.may_try(address(other), now), "{other} has tried nothing");
            for its in [own, same] {
                assert!(!sessions.may_try(address(its), now + SECOND / 2), "{its}");
            }
            for its in [own, same] {
                assert!(sessions.may_try(address(its), now + SECOND), "{its}");
            }
        }
    }

    #[test]
    fn all_clients_together_have_a_bound() {
        let (sessions, now) = (Sessions::default(), Clock::system().now());
        let address = |number: usize| IpAddr::from([10, 0, 0, u8::try_from(number).unwrap()]);
        for number in 0..ALL_TRIES {
            assert!(sessions.may_try(address(number), now));
            sessions.failed(address(number), now);
        }
        assert!(!sessions.may_try(address(ALL_TRIES), now));
        sessions.failed(address(ALL_TRIES), now);
        assert_eq!(lock(&sessions.0).failures.len(), ALL_TRIES);
        assert!(sessions.may_try(address(ALL_TRIES), now + SECOND));
    }

    #[test]
    fn sessions_are_bounded() {
        let (sessions, now) = (Sessions::default(), Clock::system().now());
        let first = sessions.open(&token("a"), now);
        for _ in 0..MOST {
            sessions.open(&token("a"), now + SECOND);
        }
        assert_eq!(lock(&sessions.0).open.len(), MOST);
        assert!(!sessions.has(&headers(&format!("hooklatch_session_9797={first}")), 1, &token("a"), now));
    }
}
