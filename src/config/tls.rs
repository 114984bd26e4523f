//! Certificates and keys: `server.tls` and `upstream.tls`.
//!
//! Files are PEM (RFC 7468). Refused, each at the key that names the file: 1. a file that is absent, unreadable or
//! longer than 1 MiB; 2. a file that is not PEM, or that lacks the certificate or key; 3. a certificate that is invalid or
//! that TLS cannot use; 4. a private key that is encrypted or of a kind that is not
//! supported (PKCS #8, PKCS #1 and SEC1 with RSA, ECDSA P-256 or P-384, Ed25519 are); 5. a key that does not match its
//! certificate; 6. a certificate without its key, or a key without its certificate.
//!
//! Not checked here: whether a certificate has expired or is for another name. It is served all the same, because there may
//! be no other; clients will refuse it.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use zeroize::Zeroizing;

use super::error::next_step;
use super::reader::{Field, Section};
use super::sources::{Context, MAX_FILE};
use crate::crypto;

/// The TLS settings of the public listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// The gateway's certificate and key.
    pub identity: Identity,
    /// The authorities that must have signed a client's certificate. `None`: no client needs one.
    pub client_ca: Option<Roots>,
}

/// Certificates for connections to an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ClientTls {
    /// The authorities for the upstream's certificate. `None`: the system's roots.
    pub ca: Option<Roots>,
    /// The gateway's client certificate, for upstreams that require one.
    pub identity: Option<Identity>,
}

/// A certificate chain and its private key. Two are equal if their certificates are; `Debug` shows a digest.
#[derive(Clone)]
pub struct Identity {
    key: Arc<CertifiedKey>,
    digest: [u8; 32],
    expiry: Option<u64>,
}

/// Certificates of authorities. Two are equal if all their certificates are; `Debug` shows a digest.
#[derive(Clone)]
pub struct Roots {
    store: Arc<RootCertStore>,
    digest: [u8; 32],
}

impl Identity {
    /// The chain, the gateway's own certificate first, and its key.
    pub fn certified_key(&self) -> Arc<CertifiedKey> {
        self.key.clone()
    }

    /// The earliest expiry in the chain, in Unix seconds. `None` if a certificate cannot be parsed (RFC 5280 section 4.1),
    /// although TLS may accept it.
    pub fn expiry(&self) -> Option<u64> {
        self.expiry
    }
}

impl Roots {
    /// The certificates, at least one.
    pub fn store(&self) -> Arc<RootCertStore> {
        self.store.clone()
    }
}

/// Reads the section `server.tls`.
pub(super) fn read_server(field: &Field<'_>, context: Context<'_>) -> Option<ServerTls> {
    let mut section = field.section()?;
    let certificate = section.get("certificate");
    let key = section.get("private_key");
    let client_ca = section.optional("client_ca", None, |field| read_roots(field, context).map(Some));
    let missing = [("certificate", &certificate), ("private_key", &key)];
    for (name, _) in missing.iter().filter(|(_, field)| field.is_none()) {
        field.error_below(name, "is missing");
    }
    let identity = certificate.zip(key).map(|(certificate, key)| read_identity(&certificate, &key, context));
    section.finish(explain_key);
    Some(ServerTls { identity: identity??, client_ca: client_ca? })
}

/// Reads the section `upstream.tls`.
pub(super) fn read_client(field: &Field<'_>, context: Context<'_>) -> Option<ClientTls> {
    let mut section: Section<'_> = field.section()?;
    let ca = section.optional("ca", None, |field| read_roots(field, context).map(Some));
    let certificate = section.get("client_certificate");
    let key = section.get("client_key");
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => read_identity(&certificate, &key, context).map(Some),
        (None, None) => Some(None),
        (certificate, _) => {
            let (there, missing) = match certificate {
                Some(_) => ("client_certificate", "client_key"),
                None => ("client_key", "client_certificate"),
            };
            field.error_below(missing, format!("is missing: {there} needs it"));
            None
        }
    };
    section.finish(explain_key);
    Some(ClientTls { ca: ca?, identity: identity? })
}

/// The text for a key or certificate pasted into the file, which must not be quoted.
fn explain_key(key: &str) -> Option<String> {
    ["pem", "key", "cert", "crt", "private"]
        .contains(&key)
        .then(|| "unknown key; certificates and keys are in files, named by their paths".to_owned())
}

fn read_identity(certificate: &Field<'_>, key: &Field<'_>, context: Context<'_>) -> Option<Identity> {
    let chain = read_certificates(certificate, context);
    let private = read_key(key, context);
    let (chain, private) = chain.zip(private)?;
    let (digest, expiry) = (digest(&chain), expiry(&chain));
    match CertifiedKey::from_der(chain, private, &crypto::provider()) {
        Ok(certified) => Some(Identity { key: Arc::new(certified), digest, expiry }),
        Err(rustls::Error::InconsistentKeys(_)) => {
            key.error("the key does not match the certificate");
            None
        }
        Err(rustls::Error::InvalidCertificate(error)) => {
            certificate.error(format!("the first certificate cannot be used: {error}"));
            None
        }
        Err(_) => {
            key.error("this kind of key is not supported: use RSA, ECDSA P-256 or P-384, or Ed25519");
            None
        }
    }
}

fn read_roots(field: &Field<'_>, context: Context<'_>) -> Option<Roots> {
    let certificates = read_certificates(field, context)?;
    let digest = digest(&certificates);
    let mut store = RootCertStore::empty();
    for (index, certificate) in certificates.into_iter().enumerate() {
        if let Err(error) = store.add(certificate) {
            field.error(format!("certificate {} cannot be used: {error}", index + 1));
            return None;
        }
    }
    Some(Roots { store: Arc::new(store), digest })
}

/// The certificates of a file, at least one.
fn read_certificates(field: &Field<'_>, context: Context<'_>) -> Option<Vec<CertificateDer<'static>>> {
    let (path, content) = read_file(field, context)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            field.error(format!("the file {path:?} holds no PEM certificate (-----BEGIN CERTIFICATE-----)"));
            None
        }
        Ok(certificates) => Some(certificates),
        Err(_) => {
            field.error(format!("the file {path:?} is not valid PEM"));
            None
        }
    }
}

fn read_key(field: &Field<'_>, context: Context<'_>) -> Option<PrivateKeyDer<'static>> {
    let (path, content) = read_file(field, context)?;
    match PrivateKeyDer::from_pem_slice(&content) {
        Ok(key) => Some(key),
        Err(pem::Error::NoItemsFound) if contains(&content, b"-----BEGIN ENCRYPTED PRIVATE KEY-----") => {
            field.error(format!("the private key in the file {path:?} is encrypted: decrypt it first"));
            None
        }
        Err(pem::Error::NoItemsFound) => {
            field.error(format!("the file {path:?} holds no PEM private key (-----BEGIN PRIVATE KEY-----)"));
            None
        }
        Err(_) => {
            field.error(format!("the file {path:?} is not valid PEM"));
            None
        }
    }
}

fn read_file(field: &Field<'_>, context: Context<'_>) -> Option<(PathBuf, Zeroizing<Vec<u8>>)> {
    let name = field.text()?;
    if name.is_empty() || name.contains("-----BEGIN") {
        field.error("must be the path of a PEM file");
        return None;
    }
    let path = context.folder.join(name);
    match context.sources.file(&path) {
        Ok(content) if content.len() > MAX_FILE => {
            field.error(format!("the file {path:?} is longer than 1MiB"));
            None
        }
        Ok(content) => Some((path, content)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            field.error(format!("the file {path:?} does not exist"));
            None
        }
        Err(error) => {
            field.error(format!("cannot read the file {path:?}: {error}{}", next_step(&error)));
            None
        }
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn digest(certificates: &[CertificateDer<'_>]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for certificate in certificates {
        // DER holds its own length, so no two lists give the same bytes.
        digest.update(certificate);
    }
    digest.finalize().into()
}

/// The earliest expiry of these, in Unix seconds.
fn expiry(chain: &[CertificateDer<'_>]) -> Option<u64> {
    let ends = chain.iter().map(|certificate| {
        let certificate = Certificate::from_der(certificate).ok()?;
        Some(certificate.tbs_certificate().validity().not_after.to_unix_duration().as_secs())
    });
    ends.collect::<Option<Vec<_>>>()?.into_iter().min()
}

macro_rules! is_its_digest {
    ($type:ident) => {
        impl $type {
            /// The SHA-256 of the certificates, in hex. Of a single certificate this is its fingerprint.
            pub fn fingerprint(&self) -> String {
                base16ct::lower::encode_string(&self.digest)
            }
        }

        impl PartialEq for $type {
            fn eq(&self, other: &Self) -> bool {
                self.digest == other.digest
            }
        }

        impl Eq for $type {}

        impl Hash for $type {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.digest.hash(state);
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let digest = base16ct::lower::encode_string(&self.digest);
                write!(f, "{}({})", stringify!($type), digest.get(..16).unwrap_or_default())
            }
        }
    };
}

is_its_digest!(Identity);
is_its_digest!(Roots);
