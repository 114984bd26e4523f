//! The values of a request that could be a signature, in any place and encoding.

use http::{HeaderName, HeaderValue};

use crate::schemes::codec::{self, Digest};
use crate::schemes::compiled::Compiled;
use crate::schemes::content::{Body, Content};
use crate::schemes::fields;
use crate::schemes::key::{Key, signature_len};
use crate::schemes::request::RequestHead;
use crate::schemes::signature::{Reader, TimeText};
use crate::schemes::spec::{Algorithm, Encoding, Grammar, OneOrMany, Signature, Way};

/// The most texts that are looked at.
const MOST: usize = 192;
/// The longest text that is looked at, in bytes: longer ones are no digests.
const LONGEST: usize = 4096;

/// How much is told of what a sender wrote before a signature, in characters.
const MOST_SHOWN: usize = 40;

/// A value that could be a signature.
pub(super) struct Found {
    pub(super) at: At,
    pub(super) encoding: Encoding,
    /// What stands before it in its entry.
    pub(super) before: String,
}

/// Where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// Where the scheme has it, in the scheme's grammar.
    Place,
    Header(HeaderName),
    Query(String),
}

/// All that could be the signature of one way to sign, the likely ones first; and the signed time, if it stands within.
pub(super) struct Finds {
    all: Vec<Found>,
    /// The bytes that each of `all` stands for.
    digests: Vec<Digest>,
    pub(super) time: Option<TimeText>,
}

impl Finds {
    pub(super) fn new(way: &Way, compiled: &Compiled, head: RequestHead<'_>, body: &Body<'_>) -> Self {
        let mut finds = Self { all: Vec::new(), digests: Vec::new(), time: None };
        let collect = &mut Collect { way, finds: &mut finds };
        // The scheme's grammar, but with digests that may be anything.
        let lenient = Signature { encoding: OneOrMany(vec![Encoding::Text]), ..way.signature.clone() };
        let time = way.timestamp.as_ref().map(|timestamp| &timestamp.at);
        match Reader::new(&lenient, None, time).read(head, Some(body)) {
            Ok(claimed) => {
                collect.finds.time.clone_from(&claimed.time);
                claimed.candidates.iter().for_each(|text| collect.text(text.as_bytes(), &At::Place, b""));
            }
            // A list may have the time all the same.
            Err(_) => {
                let any = Signature { grammar: any_key(&way.signature.grammar), ..lenient };
                let claimed = Reader::new(&any, None, time).read(head, Some(body)).ok();
                collect.finds.time = claimed.and_then(|claimed| claimed.time);
            }
        }
        let expected = compiled.reader.names();
        let (own, others): (Vec<_>, Vec<_>) = head.headers.iter().partition(|(name, _)| expected.contains(name));
        for (name, value) in own.into_iter().chain(others) {
            collect.value(value, &At::Header(name.clone()));
        }
        for (name, value) in fields::pairs(head.query.unwrap_or_default().as_bytes()) {
            collect.entry(&value, &At::Query(shown(&name)));
        }
        finds
    }

    /// The first that is the content's signature under this key.
    pub(super) fn signed(&self, key: &Key, content: &Content<'_>) -> Option<(&Found, &Digest)> {
        if !key.accepts(&self.digests, content) {
            return None;
        }
        self.first(|digest| key.accepts(std::slice::from_ref(digest), content))
    }

    /// Whether what was found is one of these.
    pub(super) fn is_among(&self, found: &Found, candidates: &[Digest]) -> bool {
        let mut all = self.all.iter().zip(&self.digests);
        let digest = all.find(|(known, _)| std::ptr::eq(*known, found)).map(|(_, digest)| digest.as_bytes());
        digest.is_some_and(|digest| candidates.iter().any(|candidate| candidate.as_bytes() == digest))
    }

    /// The first that is such.
    pub(super) fn first(&self, such: impl Fn(&Digest) -> bool) -> Option<(&Found, &Digest)> {
        self.all.iter().zip(&self.digests).find(|(_, digest)| such(digest))
    }
}

struct Collect<'a> {
    way: &'a Way,
    finds: &'a mut Finds,
}

impl Collect<'_> {
    /// All of a value, and its parts.
    fn value(&mut self, value: &HeaderValue, at: &At) {
        let value = value.as_bytes().trim_ascii();
        if matches!(self.way.algorithm, Algorithm::Token | Algorithm::Jwt(_)) {
            self.text(value, at, b"");
            if let Some((scheme, token)) = split_at(value, b' ') {
                self.text(token, at, scheme);
            }
            return;
        }
        for entry in value.split(|byte| b",; &".contains(byte)).filter(|entry| !entry.is_empty()) {
            self.entry(entry, at);
        }
    }

    /// An entry of a list, and what stands behind its key.
    fn entry(&mut self, entry: &[u8], at: &At) {
        let quoted = entry.strip_prefix(b"\"").and_then(|entry| entry.strip_suffix(b"\""));
        let entry = quoted.unwrap_or(entry);
        self.text(entry, at, b"");
        let marks = entry.iter().enumerate().filter(|(_, byte)| b"=:|".contains(byte)).map(|(position, _)| position);
        for position in marks.take(3) {
            if let (Some(before), Some(text)) = (entry.get(..=position), entry.get(position + 1..)) {
                self.text(text, at, before);
            }
        }
    }

    /// What a text stands for.
    fn text(&mut self, text: &[u8], at: &At, before: &[u8]) {
        if text.is_empty() || text.len() > LONGEST {
            return;
        }
        let usual = [Encoding::Hex, Encoding::Base64, Encoding::Base64Unpadded, Encoding::Base64url];
        let usual = usual.into_iter().chain([Encoding::Base64urlPadded]);
        let own = self.way.signature.encoding.iter().copied();
        let mut encodings: Vec<Encoding> = own.collect();
        encodings.extend(usual.filter(|encoding| !self.way.signature.encoding.contains(encoding)));
        if matches!(self.way.algorithm, Algorithm::Token) {
            encodings.push(Encoding::Text);
        }
        for encoding in encodings {
            let Some(digest) = codec::decode(&[encoding], None, text) else { continue };
            if self.finds.all.len() < MOST && fits(&self.way.algorithm, digest.as_bytes().len()) {
                self.finds.all.push(Found { at: at.clone(), encoding, before: shown(before) });
                self.finds.digests.push(digest);
            }
        }
    }
}

/// What a sender wrote, as it may stand in a line of a log.
fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().filter(|letter| !letter.is_control()).take(MOST_SHOWN).collect()
}

/// Whether a signature of this algorithm, with whatever hash, can have this length.
fn fits(algorithm: &Algorithm, len: usize) -> bool {
    match algorithm {
        Algorithm::Hmac(_) | Algorithm::Hash(_) => [16, 20, 32, 48, 64].contains(&len),
        Algorithm::EcdsaP256 => (64..=72).contains(&len),
        Algorithm::Rsa(_) => len >= 256,
        Algorithm::Ed25519 => signature_len(algorithm).is_none_or(|expected| len == expected),
        Algorithm::Token | Algorithm::Jwt(_) => true,
    }
}

/// The grammar with signatures under any key.
fn any_key(grammar: &Grammar) -> Grammar {
    let mut any = grammar.clone();
    if let Grammar::List { key, .. } = &mut any {
        *key = OneOrMany(vec!["*".to_owned()]);
    }
    any
}

fn split_at(value: &[u8], mark: u8) -> Option<(&[u8], &[u8])> {
    let at = value.iter().position(|byte| *byte == mark)?;
    Some((value.get(..=at)?, value.get(at + 1..)?))
}
