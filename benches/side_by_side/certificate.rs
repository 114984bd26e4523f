//! Certificates that all gateways share, made by openssl(1).

use std::fs;
use std::io;
use std::process::{Command, Stdio};

/// The kinds of keys: what openssl calls them.
pub const ECDSA_P256: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
pub const RSA_2048: &[&str] = &["-newkey", "rsa:2048"];

/// A certificate with its key, in a folder of its own.
pub struct Certificate(tempfile::TempDir);

impl Certificate {
    /// A certificate that signs itself.
    pub fn new(key: &[&str]) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let made = Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=localhost"])
            .args(["-addext", "subjectAltName=DNS:localhost", "-out", "certificate.pem", "-keyout", "key.pem"])
            .args(key)
            .current_dir(folder.path())
            .stderr(Stdio::null())
            .status()?;
        if !made.success() {
            return Err(io::Error::other(format!("openssl makes no certificate with {key:?}")));
        }
        let path = folder.path();
        let both = fs::read_to_string(path.join("certificate.pem"))? + &fs::read_to_string(path.join("key.pem"))?;
        fs::write(path.join("both.pem"), both)?;
        Ok(Self(folder))
    }

    /// Where the certificate is.
    pub fn certificate(&self) -> String {
        self.file("certificate.pem")
    }

    /// Where the key is.
    pub fn key(&self) -> String {
        self.file("key.pem")
    }

    /// Where both are in one file.
    pub fn both(&self) -> String {
        self.file("both.pem")
    }

    fn file(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }
}
