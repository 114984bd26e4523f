//! From a scheme, a route's options and its secrets to a [`Verifier`]: everything that can be decided when the
//! configuration is loaded.

use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderMap;

use super::challenge::{Challenges, Reserved};
use super::compiled::{Compiled, CompiledForm};
use super::error::SchemeError;
use super::key::{Key, signature_len};
use super::options::{PUBLIC_URL, SchemeOptions};
use super::secret::{self, Secret};
use super::signature::Reader;
use super::spec::{
    Algorithm, ClaimValue, Form, Jwt, ListField, ListOfNames, ListedHeaders, Part, Signature, Spec, Way,
};
use super::url::PublicUrl;
use super::verifier::Verifier;

/// The most bytes of an uncompressed body, unless the route says more: the default of its `max_body`.
const UNCOMPRESSED: usize = 1 << 20;
/// Why no public URL with a user name is taken as a text.
const SHOWN: &str = "has a user name or password, so it is a secret: give the whole URL by env or file";

impl Spec {
    /// Whether these options fit this scheme.
    ///
    /// # Errors
    /// Every fault, each with the key of its option.
    pub fn check_options(&self, options: &SchemeOptions) -> Result<(), Vec<(String, SchemeError)>> {
        let mut faults = Vec::new();
        let mut fault = |option: &str, error| faults.push((option.to_owned(), error));
        let unknown =
            |option: &str| SchemeError::UnknownOption { scheme: self.name.clone(), option: option.to_owned() };
        let allowed = self.signed_content_values();
        match options.signed_content.as_deref() {
            None => {}
            Some(_) if allowed.is_empty() => fault("signed_content", unknown("signed_content")),
            Some(value) if allowed.contains(&value) => {}
            Some(value) => {
                let (option, value, allowed) = ("signed_content", value.to_owned(), allowed.join(", "));
                fault(option, SchemeError::BadValue { option, value, allowed });
            }
        }
        if options.match_payload.is_some() && !self.has_payload() {
            fault("match_payload", unknown("match_payload"));
        }
        let is_shown =
            options.public_url.as_deref().is_some_and(|url| PublicUrl::parse(url).is_ok_and(|url| url.has_user()));
        match (options.public_url(), self.needs_public_url()) {
            _ if options.public_url.is_some() && options.secrets.contains_key(PUBLIC_URL) => {
                fault("public_url", SchemeError::BadPublicUrl { why: "is there twice" });
            }
            _ if is_shown => fault("public_url", SchemeError::BadPublicUrl { why: SHOWN }),
            (None, false) => {}
            (Some(_), false) => fault("public_url", unknown("public_url")),
            (None, true) => fault("public_url", SchemeError::NoPublicUrl { scheme: self.name.clone() }),
            (Some(url), true) => {
                if let Err(why) = PublicUrl::parse(url) {
                    fault("public_url", SchemeError::BadPublicUrl { why });
                }
            }
        }
        if options.challenge.is_some() && !self.has_challenge() {
            fault("challenge", unknown("challenge"));
        }
        for parameter in &self.parameters {
            let missing = match parameter.secret {
                true => options.challenge == Some(true) && !options.secrets.contains_key(&parameter.name),
                false => match options.parameters.get(&parameter.name) {
                    None => !parameter.optional,
                    Some(text) => text.is_empty(),
                },
            };
            if missing {
                let description = parameter.description.clone();
                fault(&parameter.name, SchemeError::NoParameter { scheme: self.name.clone(), description });
            }
        }
        let given = options.parameters.keys().map(|name| (name, false));
        for (name, secret) in given.chain(options.secrets.keys().map(|name| (name, true))) {
            if name != PUBLIC_URL
                && !self.parameters.iter().any(|parameter| parameter.name == *name && parameter.secret == secret)
            {
                fault(name, unknown(name));
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Whether this can be a secret of this scheme.
    ///
    /// # Errors
    /// [`SchemeError::EmptySecret`] and [`SchemeError::UndecodableSecret`].
    pub fn check_secret(&self, secret: &Secret) -> Result<(), SchemeError> {
        let mut first = None;
        for way in &self.ways {
            match secret::derive(&way.secret, &way.algorithm, secret) {
                Ok(_) => return Ok(()),
                Err(error) => first = first.or(Some(error)),
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// Builds the verifier of a route.
    ///
    /// # Errors
    /// [`SchemeError::Unsupported`], the first fault of [`Spec::check_options`] and [`Spec::check_secret`], or
    /// [`SchemeError::NoSecret`].
    pub fn compile(&self, options: &SchemeOptions, secrets: &[Secret]) -> Result<Verifier, SchemeError> {
        if let Some(reason) = &self.unsupported {
            return Err(SchemeError::Unsupported { scheme: self.name.clone(), reason: reason.clone() });
        }
        if let Some((_, fault)) = self.check_options(options).err().and_then(|faults| faults.into_iter().next()) {
            return Err(fault);
        }
        if secrets.is_empty() {
            return Err(SchemeError::NoSecret);
        }
        secrets.iter().try_for_each(|secret| self.check_secret(secret))?;
        let url = options.public_url().and_then(|url| PublicUrl::parse(url).ok());
        let ways = self.ways.iter().filter_map(|way| way.compile(self, options, secrets, url.as_ref()));
        let ways: Vec<_> = ways.collect();
        let keys = ways.first().map(|way| way.keys.as_slice()).unwrap_or_default();
        Ok(Verifier {
            challenges: Challenges::new(self, options, keys),
            ways,
            secrets: secrets.len(),
            match_payload: options.match_payload.unwrap_or(true),
            sample: if self.signs_headers() { self.sample.headers.to_map() } else { HeaderMap::new() },
        })
    }

    /// Whether some header of the request is part of what is signed.
    fn signs_headers(&self) -> bool {
        let headers = |part: &Part| matches!(part, Part::Header(_) | Part::ListedHeaders(_));
        let forms = self.ways.iter().flat_map(|way| &way.forms);
        forms.into_iter().any(|form| !form.requires.is_empty() || Part::any(&form.content, &headers))
    }
}

impl Way {
    /// The way with a route's keys; `None` if no secret or no allowed form belongs to it.
    pub(super) fn compile(
        &self,
        spec: &Spec,
        options: &SchemeOptions,
        secrets: &[Secret],
        url: Option<&PublicUrl>,
    ) -> Option<Compiled> {
        let pinned = options.signed_content.as_deref().filter(|value| *value != "auto");
        let forms: Vec<_> = self
            .forms
            .iter()
            .filter(|form| pinned.is_none_or(|name| form.name == name))
            .map(|form| self.compile_form(form, options, url))
            .collect();
        if pinned.is_some() && forms.is_empty() {
            return None;
        }
        let keys: Vec<_> = secrets
            .iter()
            .enumerate()
            .filter_map(|(position, secret)| {
                let key = secret::derive(&self.secret, &self.algorithm, secret).ok()?;
                Some((position, Key::new(&self.algorithm, &key)))
            })
            .collect();
        if keys.is_empty() {
            return None;
        }
        let own = match (&self.algorithm, &self.timestamp) {
            (Algorithm::Jwt(jwt), _) => jwt.tolerance_seconds,
            (_, Some(timestamp)) => timestamp.tolerance_seconds,
            (_, None) => 0,
        };
        let signs_event_id = match forms.is_empty() {
            true => self.event_id.as_ref().is_some_and(|place| self.algorithm.covers(place)),
            false => forms.iter().all(|form| form.signs_event_id),
        };
        Some(Compiled {
            reader: Reader::new(
                &self.signature,
                signature_len(&self.algorithm),
                self.timestamp.as_ref().map(|timestamp| &timestamp.at),
            ),
            algorithm: with_parameters(&self.algorithm, &options.parameters),
            keys,
            timestamp: self.timestamp.clone(),
            tolerance: options.tolerance.unwrap_or(Duration::from_secs(own.into())),
            forms,
            urls: url.map(PublicUrl::bases).unwrap_or_default(),
            in_body: self.is_in_body(),
            event_id: self.event_id.clone(),
            signs_event_id,
            reserved: Reserved::of(spec),
        })
    }

    fn compile_form(&self, form: &Form, options: &SchemeOptions, url: Option<&PublicUrl>) -> CompiledForm {
        let urls = match url {
            Some(url) if Part::any(&form.content, &Part::needs_public_url) => url.bases(),
            _ => Vec::new(),
        };
        let has_time = Part::any(&form.content, &|part| matches!(part, Part::Timestamp));
        let content = filled(&form.content, options, &self.signature);
        CompiledForm {
            form: Form { content, ..form.clone() },
            urls,
            has_time,
            covers_body: self.covers_body(form),
            signs_event_id: self.event_id.as_ref().is_some_and(|place| self.covers(form, place)),
        }
    }
}

/// The parts with the route's parameters and bounds in their places, and with the signature's list for each `field`.
fn filled(parts: &[Part], options: &SchemeOptions, signature: &Signature) -> Vec<Part> {
    let of_list = |field: &ListField| field.of(signature).unwrap_or_else(|| field.clone());
    let fill = |part: &Part| match part {
        Part::Field(field) => Part::Field(of_list(field)),
        Part::ListedHeaders(listed @ ListedHeaders { list: ListOfNames::Field(field), .. }) => {
            Part::ListedHeaders(ListedHeaders { list: ListOfNames::Field(of_list(field)), ..listed.clone() })
        }
        Part::Parameter(name) => Part::Text(options.parameters.get(name).cloned().unwrap_or_default()),
        Part::UncompressedBody => Part::UncompressedUpTo(options.max_uncompressed.unwrap_or(UNCOMPRESSED)),
        Part::Optional(parts) => Part::Optional(filled(parts, options, signature)),
        part => part.clone(),
    };
    parts.iter().map(fill).collect()
}

fn with_parameters(algorithm: &Algorithm, parameters: &BTreeMap<String, String>) -> Algorithm {
    let Algorithm::Jwt(jwt) = algorithm else { return algorithm.clone() };
    let mut jwt: Jwt = jwt.clone();
    // One that the route leaves out was declared optional.
    jwt.claims.retain(|rule| !matches!(&rule.is, ClaimValue::Parameter(name) if !parameters.contains_key(name)));
    for rule in &mut jwt.claims {
        if let ClaimValue::Parameter(name) = &rule.is {
            rule.is = ClaimValue::Text(parameters.get(name).cloned().unwrap_or_default());
        }
    }
    Algorithm::Jwt(jwt)
}
