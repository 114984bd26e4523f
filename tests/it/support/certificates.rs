//! Certificates that the tests make, and the files that they stand in.

use std::fs;
use std::sync::Arc;

use hooklatch::crypto;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tempfile::TempDir;

/// An authority of a test's own.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

/// A folder with an authority, and with the gateway's certificate and key by it, as files.
pub struct Files {
    folder: TempDir,
    pub authority: Authority,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Its own certificate.
    pub fn identity(&self) -> Identity {
        Identity { certificate: self.pem(), key: self.0.key().serialize_pem() }
    }

    /// A certificate for a name or an address.
    pub fn issue(&self, name: &str) -> Identity {
        self.issue_with(name, |_| ())
    }

    /// The same, but that it ended in 2021.
    pub fn issue_expired(&self, name: &str) -> Identity {
        self.issue_until(name, 2021)
    }

    /// The same, from 2020 until a year begins.
    pub fn issue_until(&self, name: &str, year: i32) -> Identity {
        self.issue_with(name, |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(year, 1, 1);
        })
    }

    fn issue_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        Arc::new(roots)
    }

    /// A client that trusts this authority and offers `alpn`.
    pub fn client(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        self.client_with(alpn, None, rustls::ALL_VERSIONS)
    }

    /// The same with a certificate, and versions of TLS.
    pub fn client_with(
        &self,
        alpn: &[&str],
        identity: Option<&Identity>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(crypto::provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots());
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder.with_client_auth_cert(identity.chain(), identity.key()).unwrap(),
        };
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

impl Identity {
    /// A server with this certificate; with `clients`, those need one of that authority's.
    pub fn server(&self, clients: Option<&Authority>) -> Arc<ServerConfig> {
        let provider = crypto::provider();
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(authority.roots(), provider).build().unwrap(),
            ),
        };
        Arc::new(builder.with_single_cert(self.chain(), self.key()).unwrap())
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()]
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }
}

impl Files {
    /// `ca.crt`, `tls.crt` and `tls.key`, for `gateway.example`.
    pub fn new() -> Self {
        let files = Self { folder: TempDir::new().unwrap(), authority: Authority::new() };
        files.write("ca.crt", &files.authority.pem());
        files.write_identity("tls", &files.authority.issue("gateway.example"));
        files
    }

    /// Writes a file; its path.
    pub fn write(&self, name: &str, content: &str) -> String {
        fs::write(self.folder.path().join(name), content).unwrap();
        self.path(name)
    }

    /// Writes `NAME.crt` and `NAME.key`.
    pub fn write_identity(&self, name: &str, identity: &Identity) {
        self.write(&format!("{name}.crt"), &identity.certificate);
        self.write(&format!("{name}.key"), &identity.key);
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// The flow-style key of a server that speaks TLS, with further keys below it.
    pub fn server(&self, more: &str) -> String {
        format!(
            "tls: {{ certificate: \"{}\", private_key: \"{}\", {more} }}",
            self.path("tls.crt"),
            self.path("tls.key")
        )
    }
}
