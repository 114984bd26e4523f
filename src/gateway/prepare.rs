//! Makes the message for the upstream from a verified delivery.

use http::HeaderValue;
use http::header::HOST;
use http::request::Parts;

use super::headers;
use super::verify::Proven;
use crate::reject::Reject;
use crate::upstream::message::{Message, Target};

/// The message for the upstream of the delivery's route.
///
/// # Errors
/// [`Reject::BadRequest`]: the host in the request's target is not a valid field value.
pub fn prepare(proven: &Proven<'_>) -> Result<Message, Reject> {
    let (route, info, payload) = (proven.route(), proven.info(), proven.payload());
    let Parts { method, uri, headers, .. } = &info.head;
    let authority = uri.authority().map(|authority| HeaderValue::from_str(authority.as_str()));
    let host = authority.transpose().map_err(|_| Reject::BadRequest)?.or_else(|| headers.get(HOST).cloned());
    let target = Target::new(uri.clone(), route.config.path.prefix_len());
    let fields = headers::fields(&route.headers, info, host.as_ref(), proven.secret(), payload.len());
    Ok(Message { id: info.delivery_id, method: method.clone(), target, host, fields, payload: payload.clone() })
}
