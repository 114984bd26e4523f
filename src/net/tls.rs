//! rustls' configurations for servers and clients: TLS 1.2 and 1.3 with its safe defaults, from loaded certificates. A reload
//! makes them anew; open connections keep theirs.
//!
//! The listener offers HTTP/2, HTTP/1.1 and HTTP/1.0 by ALPN (RFC 7301); a client that asks for neither gets HTTP/1.1. With
//! `client_ca`, the handshake fails without a certificate signed by it. Early data is refused, because it could be replayed
//! (RFC 8446 section 8).
//!
//! Certificates of upstreams are checked against the system's roots, or `ca` in their place, and the URL's host
//! (RFC 9110 section 4.3.4).
//!
//! Does not check revocation lists, for clients or upstreams.

use std::io;
use std::sync::Arc;

use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::config::{ClientTls, ServerTls};
use crate::crypto;

/// HTTP/2 over TLS, RFC 9113 section 3.2.
pub const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";
const HTTP_1_0: &[u8] = b"http/1.0";

/// The configuration of the public listener.
///
/// # Errors
/// rustls refuses the certificates; loading the configuration has checked that it does not.
pub fn server_config(tls: &ServerTls) -> io::Result<Arc<ServerConfig>> {
    let provider = crypto::provider();
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(ca.store(), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(io::Error::other)?)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(tls.identity.certified_key())));
    config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec(), HTTP_1_0.to_vec()];
    config.max_early_data_size = 0;
    match tls.client_ca {
        None => config.ticketer = crypto::ticketer().map_err(io::Error::other)?,
        // A client must show its certificate each time: the one behind a ticket may have expired.
        Some(_) => {
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
    }
    Ok(Arc::new(config))
}

/// The configuration of connections to an upstream with these `certificates`.
///
/// # Errors
/// No `ca` is given, and none of the system's root certificates can be read.
pub fn client_config(certificates: Option<&ClientTls>) -> io::Result<Arc<ClientConfig>> {
    let roots = match certificates.and_then(|certificates| certificates.ca.as_ref()) {
        Some(ca) => ca.store(),
        None => Arc::new(system_roots()?),
    };
    let builder = ClientConfig::builder_with_provider(crypto::provider())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots);
    let mut config = match certificates.and_then(|certificates| certificates.identity.as_ref()) {
        None => builder.with_no_client_auth(),
        Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified_key()))),
    };
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    Ok(Arc::new(config))
}

fn system_roots() -> io::Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map_or_else(|| "none found".to_owned(), ToString::to_string);
        return Err(io::Error::other(format!("no root certificates of the system can be loaded: {why}")));
    }
    Ok(roots)
}
