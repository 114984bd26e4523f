//! What errors of the database mean for the store.

use std::error::Error;

use rustls::CertificateError;
use thiserror::Error;
use tokio_postgres::error::SqlState;

use crate::store::types::StoreError;

/// An error of a statement or a connection.
#[derive(Debug, Error)]
pub enum PgError {
    /// What tokio-postgres says.
    #[error("{}", text(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// The database has not answered in time.
    #[error("the database does not answer")]
    Late,
    /// Anything else, in words.
    #[error("{0}")]
    Other(String),
}

/// What follows from an error of a statement.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Consequence {
    /// The connection is of no use any more.
    Reconnect,
    /// Nothing was done; the same can be tried at once.
    Retry,
    /// The connection is good; the statement is not done.
    Refuse,
}

impl PgError {
    /// What follows from it.
    pub fn consequence(&self) -> Consequence {
        let Self::Postgres(error) = self else { return Consequence::Reconnect };
        match error.code() {
            Some(&SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED) => Consequence::Retry,
            // A server that has become a standby, or is about to end.
            Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => Consequence::Reconnect,
            Some(code) if code.code().starts_with("57P") || code.code().starts_with("08") => Consequence::Reconnect,
            Some(_) => Consequence::Refuse,
            None => Consequence::Reconnect,
        }
    }

    /// What the writer is told: none of its errors is final.
    pub fn for_writer(&self) -> StoreError {
        match self.for_store() {
            error @ (StoreError::Full | StoreError::Slow) => error,
            _ => StoreError::Unreachable(self.to_string().into()),
        }
    }

    /// Whether the connection was lost. It may have been long ago, and another one can be made at once.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Postgres(_)) && self.consequence() == Consequence::Reconnect
    }

    /// Whether the server was reached and there is no agreement about TLS, the role or the database.
    pub fn is_refusal(&self) -> bool {
        let Self::Postgres(error) = self else { return false };
        if let Some(code) = error.code() {
            return code.code().starts_with("28") || *code == SqlState::UNDEFINED_DATABASE;
        }
        let is_of_tls = error.to_string().starts_with("error performing TLS handshake");
        let Some(cause) = error.source() else { return false };
        match cause.downcast_ref::<std::io::Error>() {
            Some(cause) => cause.get_ref().is_some_and(|cause| cause.downcast_ref::<rustls::Error>().is_some()),
            None => is_of_tls,
        }
    }

    /// Whether a delivery was to be stored under a session that has ended: the only NULL that no column takes.
    pub fn is_of_ended_session(&self) -> bool {
        matches!(self, Self::Postgres(error) if error.code() == Some(&SqlState::NOT_NULL_VIOLATION))
    }

    /// What the store's callers are told.
    pub fn for_store(&self) -> StoreError {
        let code = match self {
            Self::Postgres(error) => error.code(),
            Self::Late | Self::Other(_) => None,
        };
        match code {
            Some(&SqlState::DISK_FULL) => StoreError::Full,
            Some(&SqlState::QUERY_CANCELED) => StoreError::TimedOut,
            Some(
                &SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED | &SqlState::LOCK_NOT_AVAILABLE,
            ) => StoreError::Slow,
            _ => StoreError::Unreachable(self.to_string().into()),
        }
    }
}

/// An error in words, with its cause. Of an error of the server only the message: its detail can have values of a row.
fn text(error: &tokio_postgres::Error) -> String {
    if let Some(error) = error.as_db_error() {
        return format!("{} (SQLSTATE {})", error.message(), error.code().code());
    }
    let Some(cause) = error.source() else { return error.to_string() };
    match of_certificate(cause) {
        Some(why) => format!("its certificate {why} ({cause})"),
        None => format!("{error}: {cause}"),
    }
}

/// What is wrong with the server's certificate, if that is what the connection failed for.
fn of_certificate(cause: &(dyn Error + 'static)) -> Option<&'static str> {
    let failed = cause.downcast_ref::<std::io::Error>()?.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(error) = failed else { return None };
    match error {
        // A root of the same name may have another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            Some("was signed by none of the roots: name the file of its authority by sslrootcert")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Some("has another name than the URL: name the host as the certificate does (subjectAltName)")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Some("has ended"),
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            Some("is that of an authority: the server needs one that an authority has signed")
        }
        _ => None,
    }
}

/// Why the database cannot be used from the start.
#[derive(Debug, Error)]
pub enum OpenError {
    /// No connection, or a statement failed.
    #[error("cannot use the database {target}: {error}")]
    Unreachable {
        /// The database.
        target: String,
        /// The error.
        error: PgError,
    },
    /// The server was reached and does not let the gateway in, or is none that the URL lets it trust.
    #[error("cannot use the database {target}: {error}")]
    Refused {
        /// The database.
        target: String,
        /// What was said.
        error: PgError,
    },
    /// The database is not as it has to be, or has tables that this program does not know.
    #[error("cannot use the database {target}: {why}")]
    Unfit {
        /// The database.
        target: String,
        /// What is wrong, and what to do.
        why: String,
    },
}
