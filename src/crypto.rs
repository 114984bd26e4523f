//! The cryptography of TLS and of public-key signatures, all from one library.
//!
//! With the feature `aws-lc`, which is on by default, that is [AWS-LC](https://github.com/aws/aws-lc): a handshake
//! with RSA takes little more than half of ring's time (docs/performance.md). Without it, it is ring, which builds faster and
//! everywhere. The other modules name neither.
//!
//! MACs and hashes are RustCrypto's: see [`schemes`](crate::schemes).

use std::sync::Arc;

#[cfg(feature = "aws-lc")]
use aws_lc_rs as library;
#[cfg(not(feature = "aws-lc"))]
use ring as library;
use rustls::crypto::CryptoProvider;
#[cfg(feature = "aws-lc")]
use rustls::crypto::aws_lc_rs as tls;
#[cfg(not(feature = "aws-lc"))]
use rustls::crypto::ring as tls;
use rustls::server::ProducesTickets;

/// Public-key signatures. Both libraries have them under the same names.
pub use library::signature;

/// What TLS computes with.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(tls::default_provider())
}

/// Session tickets that any thread can decrypt, without a store. Their key is replaced every six hours; a ticket of the key before
/// is still taken.
///
/// # Errors
/// The system has no random bytes.
pub fn ticketer() -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    tls::Ticketer::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_for_the_ticketer_that_made_them_and_their_keys_are_replaced() {
        let (own, other) = (ticketer().unwrap(), ticketer().unwrap());
        let ticket = own.encrypt(b"session").unwrap();
        assert_eq!(own.decrypt(&ticket).unwrap(), b"session");
        assert!(other.decrypt(&ticket).is_none());
        // A key makes tickets for half of this time, and takes them for all of it.
        assert_eq!(own.lifetime(), 12 * 60 * 60);
    }
}
