//! Verification in a service of your own: a tower layer that lets through what a provider signed.
//!
//! ```text
//! WEBHOOK_SECRET=… cargo run --no-default-features --example axum_layer
//! ```
//!
//! In your `Cargo.toml`, take hooklatch with `default-features = false`: its allocator is for the gateway's binary alone.
//!
//! Put the layer on the whole router, outside of `nest`: some schemes sign the path and the query as the provider sent
//! them. A scheme that signs the whole URL needs `public_url` in [`SchemeOptions`].

use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use hooklatch::clock::Clock;
use hooklatch::schemes::{self, RequestHead, SchemeOptions, Secret, SignedRequest, Verifier};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tower::{Layer, Service};

/// The longest body that is read into memory.
const MAX_BODY: usize = 1 << 20;

/// Wraps a service, so that it gets only requests that the verifier accepts.
#[derive(Clone)]
struct VerifyLayer {
    verifier: Arc<Verifier>,
}

/// A service behind a [`VerifyLayer`].
#[derive(Clone)]
struct Verify<S> {
    inner: S,
    verifier: Arc<Verifier>,
}

impl<S> Layer<S> for VerifyLayer {
    type Service = Verify<S>;

    fn layer(&self, inner: S) -> Verify<S> {
        Verify { inner, verifier: self.verifier.clone() }
    }
}

impl<S> Service<Request<Body>> for Verify<S>
where
    S: Service<Request<Body>, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let verifier = self.verifier.clone();
        // The service that was polled until it was ready is the one to call; its clone may not be ready.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            match verified(&verifier, request).await {
                Ok(request) => inner.call(request).await,
                Err(refusal) => Ok(refusal),
            }
        })
    }
}

/// The request with its body read, if the provider signed it; otherwise the response that refuses it.
async fn verified(verifier: &Verifier, request: Request<Body>) -> Result<Request<Body>, Response> {
    let (parts, body) = request.into_parts();
    let head = RequestHead::of(&parts);
    let now = Clock::system().unix();
    // A signature that is missing or malformed is refused before the body is read.
    let claim = verifier.inspect(head, now).map_err(unauthorized)?;
    let body = match Limited::new(body, MAX_BODY).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(StatusCode::PAYLOAD_TOO_LARGE.into_response()),
        Err(_) => return Err(StatusCode::BAD_REQUEST.into_response()),
    };
    let request = SignedRequest { head, body: std::slice::from_ref(&body) };
    verifier.verify(&claim, &request, now).map_err(unauthorized)?;
    Ok(Request::from_parts(parts, Body::from(body)))
}

fn unauthorized(error: schemes::VerifyError) -> Response {
    (StatusCode::UNAUTHORIZED, error.to_string()).into_response()
}

/// The layer for a scheme of the catalogue, and one secret.
fn layer(scheme: &str, secret: &str) -> Result<VerifyLayer, Box<dyn Error>> {
    let spec = schemes::find(scheme).ok_or_else(|| format!("there is no scheme {scheme}"))?;
    let secret = Secret::from(secret.as_bytes().to_vec());
    let verifier = Arc::new(spec.compile(&SchemeOptions::default(), &[secret])?);
    Ok(VerifyLayer { verifier })
}

/// The service: one handler, which gets verified deliveries only.
fn service(layer: VerifyLayer) -> Router {
    let handler = async |body: Bytes| format!("{} bytes, verified\n", body.len());
    Router::new().route("/webhooks/github", post(handler)).layer(layer)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let secret = env::var("WEBHOOK_SECRET").map_err(|_| "set WEBHOOK_SECRET to the secret of the webhook")?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("POST http://{}/webhooks/github", listener.local_addr()?);
    axum::serve(listener, service(layer("github", &secret)?)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower::ServiceExt;

    const SECRET: &str = "a-secret-of-the-example";

    /// A delivery with this body, signed for another one if that is given.
    fn delivery(body: &str, signed: Option<&str>) -> Request<Body> {
        let layer = layer("github", SECRET).unwrap();
        let mut request = Request::post("/webhooks/github");
        if let Some(signed) = signed {
            let lines = layer.verifier.sign_body(0, signed.as_bytes(), Clock::system().unix()).unwrap();
            request = lines.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        }
        request.body(Body::from(body.to_owned())).unwrap()
    }

    /// The status and the text of the service's response.
    async fn answer(request: Request<Body>) -> (StatusCode, String) {
        let response = service(layer("github", SECRET).unwrap()).oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_signed_delivery_reaches_the_handler_with_its_body() {
        let body = r#"{"action":"opened"}"#;
        assert_eq!(answer(delivery(body, Some(body))).await, (StatusCode::OK, "19 bytes, verified\n".to_owned()));
    }

    #[tokio::test]
    async fn a_changed_or_unsigned_delivery_does_not_reach_the_handler() {
        let body = r#"{"action":"opened"}"#;
        let changed = answer(delivery(body, Some("{}"))).await;
        assert_eq!(changed, (StatusCode::UNAUTHORIZED, "the signature does not match".to_owned()));
        let unsigned = answer(delivery(body, None)).await;
        assert_eq!(unsigned, (StatusCode::UNAUTHORIZED, "the signature header is missing or empty".to_owned()));
    }

    #[tokio::test]
    async fn a_body_that_is_too_long_is_refused() {
        let body = "x".repeat(MAX_BODY + 1);
        assert_eq!(answer(delivery(&body, Some(&body))).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    }
}
