//! The other direction: the headers that make a body a valid delivery.
//!
//! Content is filled in, checked and signed by the code that verifies, so what is signed here is accepted there under
//! the same options.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::content::{self, Body, Content, Filled};
use super::spec::Form;
use super::{Refusal, Verifier, signature};

/// Why nothing was signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The verifier has fewer secrets.
    #[error("there is no secret at this position")]
    NoSuchSecret,
    /// No form of signed content that the options allow takes such a body: each form's name, and why.
    #[error("no signature would make this body a valid delivery: {0}")]
    Unsignable(String),
}

impl Verifier {
    /// The headers to add to a request with this body. The first form whose delivery would be accepted is signed, with
    /// the secret at this position.
    ///
    /// # Errors
    /// [`SignError`]: [`Verifier::verify`] would refuse the body under any signature.
    pub fn sign(&self, secret: usize, body: &[u8]) -> Result<Vec<(HeaderName, HeaderValue)>, SignError> {
        let key = self.keys.get(secret).ok_or(SignError::NoSuchSecret)?;
        let frames = [Bytes::copy_from_slice(body)];
        let body = Body::new(&frames);
        let mut refusals = Vec::new();
        for form in &self.forms {
            match self.signable(form, &body) {
                Ok(content) => return Ok(vec![signature::write(&self.signature, &key.sign(&content))]),
                Err(refusal) => refusals.push(format!("{}: {refusal}", form.name)),
            }
        }
        Err(SignError::Unsignable(refusals.join("; ")))
    }

    /// The content of a form, if its signature would be accepted.
    fn signable<'a>(&self, form: &Form, body: &'a Body<'_>) -> Result<Content<'a>, Refusal> {
        match content::fill(form, body) {
            Filled::Unfit => Err(Refusal::Absent),
            Filled::Repeated(_) => Err(Refusal::Repeated),
            Filled::Once(content) => self.accept(form, &content, body).map(|_| content),
        }
    }
}
