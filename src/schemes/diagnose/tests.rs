//! For every scheme: what verifies has no causes, and what was done to a delivery is what is found.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::*;
use crate::schemes::{RequestHead, SchemeOptions, Secret, Spec};
use crate::schemes::{Unsigned, find, names};

const NOW: Duration = Duration::from_secs(1_700_000_000);
/// Secrets that most schemes take, and as many others.
const SECRETS: [(&str, &str); 3] = [
    ("736563726574736563726574", "6f74686572206f74686572206f74"),
    ("user:736563726574", "user:6f74686572"),
    ("signkey-test-736563726574", "signkey-test-6f7468657220"),
];

/// A route with one secret, and a delivery that it takes.
struct Signed {
    spec: &'static Spec,
    options: SchemeOptions,
    secret: Secret,
    other: Secret,
    method: Method,
    query: Option<String>,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Signed {
    /// Nothing, if only the provider can sign.
    fn new(scheme: &str) -> Option<Self> {
        let spec = find(scheme).unwrap();
        let options = SchemeOptions {
            public_url: spec.needs_public_url().then(|| "https://hooks.example.com/in".to_owned()),
            parameters: spec.parameters.iter().map(|parameter| (parameter.name.clone(), "p".to_owned())).collect(),
            ..SchemeOptions::default()
        };
        let secret = |text: &str| Secret::from(text.as_bytes().to_vec());
        let pairs = SECRETS.map(|(own, other)| (secret(own), secret(other)));
        let (own, other) =
            pairs.into_iter().find(|(own, _)| spec.compile(&options, std::slice::from_ref(own)).is_ok())?;
        let verifier = spec.compile(&options, std::slice::from_ref(&own)).unwrap();
        let mut headers = spec.sample.headers.to_map();
        let query = spec.sample.query.as_deref();
        let head = RequestHead { method: &Method::POST, path: "/in", query, headers: &headers };
        let signed = verifier.sign(0, &Unsigned { head, body: spec.sample.body.as_bytes() }, NOW).ok()?;
        headers.extend(signed.headers);
        Some(Self {
            query: signed.query.or_else(|| spec.sample.query.clone()),
            body: signed.body.unwrap_or_else(|| spec.sample.body.clone().into_bytes()),
            method: Method::POST,
            secret: own,
            spec,
            options,
            other,
            headers,
        })
    }

    fn all() -> impl Iterator<Item = Self> {
        names().filter(|name| find(name).unwrap().unsupported.is_none()).filter_map(Self::new)
    }

    /// What is found of a route with this secret, beside one called `neighbour` that has the delivery's own.
    fn diagnose_with(&self, secret: &Secret, now: Duration) -> Diagnosis {
        let ids = ["current".to_owned()];
        let (options, spec) = (&self.options, self.spec);
        let secrets = [secret.clone()];
        let own = Suspect { route: "own", spec, options, secrets: &secrets, ids: &ids };
        let secrets = [self.secret.clone()];
        let neighbour = Suspect { route: "neighbour", spec, options, secrets: &secrets, ids: &ids };
        let query = self.query.as_deref();
        let head = RequestHead { method: &self.method, path: "/in", query, headers: &self.headers };
        let body = [Bytes::copy_from_slice(&self.body)];
        diagnose(own, &[neighbour], &SignedRequest { head, body: &body }, now, &Effort::thorough())
    }

    /// What is found of a route with this secret, alone.
    fn diagnose_alone(&self, secret: Secret) -> Diagnosis {
        let ids = ["current".to_owned()];
        let (options, spec) = (&self.options, self.spec);
        let own = Suspect { route: "own", spec, options, secrets: &[secret], ids: &ids };
        let query = self.query.as_deref();
        let head = RequestHead { method: &self.method, path: "/in", query, headers: &self.headers };
        let body = [Bytes::copy_from_slice(&self.body)];
        diagnose(own, &[], &SignedRequest { head, body: &body }, NOW, &Effort::thorough())
    }

    fn diagnose(&self) -> Diagnosis {
        self.diagnose_with(&self.secret, NOW)
    }

    fn covers_body(&self) -> bool {
        self.spec.covers.is_none()
    }
}

#[track_caller]
fn has(scheme: &str, diagnosis: &Diagnosis, cause: &str) {
    let found = diagnosis.proven && diagnosis.causes.iter().any(|found| found.contains(cause));
    assert!(found, "{scheme}: {cause:?} is not among {diagnosis:?}");
}

#[test]
fn a_delivery_that_verifies_has_no_causes_in_any_scheme() {
    let mut count = 0;
    for signed in Signed::all() {
        let diagnosis = signed.diagnose();
        assert!(diagnosis.causes.is_empty(), "{}: {diagnosis:?}", signed.spec.name);
        count += 1;
    }
    assert!(count > 50, "{count}");
}

#[test]
fn a_newline_that_was_added_is_found_in_every_scheme_that_covers_the_body() {
    for mut signed in Signed::all().filter(Signed::covers_body) {
        signed.body.push(b'\n');
        let diagnosis = signed.diagnose();
        // Where single fields are signed, white space around them plays no part.
        if !diagnosis.causes.is_empty() {
            has(&signed.spec.name, &diagnosis, "without the trailing newline");
        }
    }
}

#[test]
fn the_secret_of_another_route_is_found_in_every_scheme() {
    for signed in Signed::all() {
        let diagnosis = signed.diagnose_with(&signed.other, NOW);
        has(&signed.spec.name, &diagnosis, "secret \"current\" of the route \"neighbour\"");
    }
}

#[test]
fn a_clock_that_is_off_is_found_with_how_far_in_every_scheme_that_signs_a_time() {
    let mut count = 0;
    for signed in Signed::all().filter(|signed| signed.spec.has_timestamp()) {
        let late = Duration::from_secs(90 * 3600);
        let diagnosis = signed.diagnose_with(&signed.secret, NOW + late);
        if diagnosis.causes.is_empty() {
            // It has a way without a time as well, or takes older ones.
            continue;
        }
        count += 1;
        has(&signed.spec.name, &diagnosis, "3 d 1");
        has(&signed.spec.name, &diagnosis, "before the time that it is judged at");
    }
    assert!(count > 20, "{count}");
}

#[test]
fn a_signature_in_another_header_is_found_in_every_scheme_that_has_it_in_one() {
    for mut signed in Signed::all() {
        let verifier = signed.spec.compile(&signed.options, std::slice::from_ref(&signed.secret)).unwrap();
        let Some(name) = verifier.signature_headers().into_iter().find(|name| signed.headers.contains_key(name)) else {
            continue;
        };
        // Where the header names the ways to sign, another one has no time in it.
        let value = signed.headers.remove(&name).unwrap();
        signed.headers.insert(HeaderName::from_static("x-elsewhere"), value);
        let diagnosis = signed.diagnose();
        if diagnosis.proven {
            has(&signed.spec.name, &diagnosis, "wrong header: the signature stands in x-elsewhere, and is expected in");
        } else {
            assert!(diagnosis.causes.iter().any(|cause| cause.contains(name.as_str())), "{diagnosis:?}");
        }
    }
}

#[test]
fn quotes_and_white_space_around_a_secret_are_found_wherever_a_scheme_takes_such_a_secret() {
    for signed in Signed::all() {
        let text = signed.secret.expose();
        for (wrong, cause) in [
            ([b"\"", text, b"\""].concat(), "in quotes"),
            ([b"\xef\xbb\xbf", text].concat(), "byte order mark"),
            ([b"export HOOK_SECRET=", text].concat(), "has a name or a word before it"),
            ([b" ", text, b"\n"].concat(), "white space (or a newline) around it"),
            ([text, b"\\n"].concat(), "ends in a backslash and an n"),
        ] {
            let wrong = Secret::from(wrong);
            let compiled = signed.spec.compile(&signed.options, std::slice::from_ref(&wrong));
            if compiled.is_err() {
                continue;
            }
            let Diagnosis { proven, causes, .. } = signed.diagnose_with(&wrong, NOW);
            let explained = causes.is_empty() || causes.iter().any(|found| found.contains(cause));
            assert!(explained && (proven || causes.is_empty()), "{}: {cause}: {causes:?}", signed.spec.name);
        }
    }
}

#[test]
fn nothing_that_is_said_holds_a_secret_or_a_digest() {
    for mut signed in Signed::all() {
        signed.body.extend_from_slice(b" ");
        let said = format!("{:?} {:?}", signed.diagnose(), signed.diagnose_with(&signed.other, NOW + NOW));
        for secret in [&signed.secret, &signed.other] {
            let secret = std::str::from_utf8(secret.expose()).unwrap();
            assert!(!said.contains(secret), "{said}");
        }
        let long = said
            .split(|letter: char| !letter.is_ascii_alphanumeric())
            .find(|word| word.len() >= 20 && word.bytes().any(|byte| byte.is_ascii_digit()));
        assert_eq!(long, None, "{said}");
    }
}

#[test]
fn work_ends_when_the_effort_is_used_up() {
    let mut signed = Signed::new("civo").unwrap();
    signed.body = vec![b'['; 1 << 20];
    let ids = ["0".to_owned()];
    let secrets = [signed.secret.clone()];
    let own = Suspect { route: "own", spec: signed.spec, options: &signed.options, secrets: &secrets, ids: &ids };
    let head = RequestHead { method: &Method::POST, path: "/in", query: None, headers: &signed.headers };
    let body = [Bytes::from(signed.body)];
    let effort = Effort::brief();
    let diagnosis = diagnose(own, &[], &SignedRequest { head, body: &body }, NOW, &effort);
    assert!(!diagnosis.proven && effort.0.get() == 0);
}

#[test]
fn any_header_is_looked_at_without_a_panic() {
    let mut signed = Signed::new("stripe").unwrap();
    for value in ["", ",", "t=,v1=", "t=1,v1=\"", "=", "v1==", "t=99999999999999999999,v1=00", "\u{e9}=,;&|:"] {
        signed.headers.insert("stripe-signature", HeaderValue::from_bytes(value.as_bytes()).unwrap());
        assert!(!signed.diagnose().proven, "{value}");
    }
}

#[test]
fn a_form_in_parts_that_is_not_read_is_called_so() {
    let hinted = |scheme: &str, content_type: &'static str, body: &str| {
        let mut signed = Signed::new(scheme).unwrap();
        signed.headers.insert("content-type", HeaderValue::from_static(content_type));
        signed.body = body.as_bytes().to_vec();
        let diagnosis = signed.diagnose();
        assert!(!diagnosis.proven, "{scheme}: {diagnosis:?}");
        diagnosis.causes.iter().any(|cause| cause.contains("multipart/form-data and is none"))
            || diagnosis
                .causes
                .iter()
                .any(|cause| cause.contains("the body is multipart/form-data, and the scheme reads"))
    };
    let parts = "multipart/form-data; boundary=b";
    let good = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b--\r\n";
    assert!(hinted("mailgun", parts, &good.replace("\r\n", "\n")));
    assert!(!hinted("mailgun", parts, good), "it is read");
    assert!(!hinted("mailgun", "text/plain", "a"));
    assert!(hinted("twilio", parts, good));
    assert!(!hinted("github", parts, good), "its body is signed as it is");
}

#[test]
fn dirt_in_a_secret_is_proven() {
    let mut signed = Signed::new("civo").unwrap();
    let key = signed.secret.clone();
    for (around, cause) in [("\n", "a line break in it"), ("\r\n", "a line break in it")] {
        let mut dirty = key.expose().to_vec();
        dirty.splice(5..5, around.bytes());
        has("civo", &signed.diagnose_alone(dirty.into()), cause);
    }
    signed = Signed::new("standard-webhooks").unwrap();
    // With `v1,` before it, it is no secret of this scheme, and does not load.
    let dirty = [b"whsec_whsec_", signed.secret.expose()].concat();
    has("standard-webhooks", &signed.diagnose_alone(dirty.into()), "a prefix before whsec_");
}

#[test]
fn of_a_body_that_was_not_read_nothing_is_said() {
    let mut stale = 0;
    for signed in Signed::all() {
        let (secrets, ids) = ([signed.secret.clone()], ["0".to_owned()]);
        let own = Suspect { route: "own", spec: signed.spec, options: &signed.options, secrets: &secrets, ids: &ids };
        let head =
            |headers| RequestHead { method: &signed.method, path: "/in", query: signed.query.as_deref(), headers };
        let name = &signed.spec.name;
        assert_eq!(diagnose_head(own, head(&signed.headers), NOW), Diagnosis::default(), "{name}");
        let late = diagnose_head(own, head(&signed.headers), NOW + Duration::from_secs(7200));
        stale += usize::from(!late.causes.is_empty());
        let bare = diagnose_head(own, head(&HeaderMap::new()), NOW);
        for diagnosis in [late, bare] {
            let said = diagnosis.causes.join("; ");
            let of_body = ["body", "wrong secret", "nothing that was tried"].iter().any(|words| said.contains(words));
            assert!(!diagnosis.proven && !of_body, "{name}: {said}");
        }
    }
    assert!(stale > 20, "only {stale} schemes sign a time in the head");
}
