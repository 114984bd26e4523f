//! A way to sign, with the forms and keys that are tried in it.

use std::borrow::Cow;

use super::forms::{self, Variant};
use super::found::Finds;
use super::keys::{self, Candidate};
use super::suspect::Suspect;
use crate::schemes::compiled::Compiled;
use crate::schemes::content::Body;
use crate::schemes::request::SignedRequest;
use crate::schemes::signature;
use crate::schemes::spec::{Algorithm, Way};
use crate::schemes::url::PublicUrl;

/// One way to sign, with all that can be tried in it.
pub(super) struct Line<'a> {
    pub(super) way: &'a Way,
    pub(super) compiled: Compiled,
    pub(super) finds: Finds,
    /// The text of the signed time in the request.
    pub(super) time: Option<Vec<u8>>,
    pub(super) own_forms: Vec<Variant>,
    pub(super) odd_forms: Vec<Variant>,
    pub(super) own_keys: Vec<Candidate>,
    pub(super) odd_keys: Vec<Candidate>,
    pub(super) foreign_keys: Vec<Candidate>,
}

impl<'a> Line<'a> {
    /// `None` if no secret of the route belongs to this way.
    pub(super) fn new(
        way: &'a Way,
        route: Suspect<'_>,
        others: &[Suspect<'_>],
        request: &SignedRequest<'_>,
        body: &Body<'_>,
    ) -> Option<Self> {
        let url = route.options.public_url.as_deref().and_then(|url| PublicUrl::parse(url).ok());
        let compiled = way.compile(route.spec, route.options, route.secrets, url.as_ref())?;
        let finds = Finds::new(way, &compiled, request.head, body);
        let outside = |at| signature::time(at, request.head, body.bytes()).ok().map(Cow::into_owned);
        let inside = || finds.time.as_ref().map(|time| time.to_vec());
        let time = way.timestamp.as_ref().and_then(|timestamp| inside().or_else(|| outside(&timestamp.at)));
        let mut odd_keys = keys::odd(way, &route);
        odd_keys.extend(keys::other_hashes(way, &route));
        Some(Self {
            own_forms: forms::own(&compiled),
            odd_forms: forms::odd(way, &compiled, &route, request),
            own_keys: keys::own(way, &route),
            odd_keys,
            foreign_keys: keys::foreign(way, others),
            way,
            compiled,
            finds,
            time,
        })
    }
}

impl Line<'_> {
    /// Whether a change of the body can be why the signature is wrong.
    pub(super) fn covers_body(&self) -> bool {
        !matches!(self.way.algorithm, Algorithm::Token)
    }
}
