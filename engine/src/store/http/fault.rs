//! What goes wrong below HTTP, by what can be done about it.

use std::{error::Error, io, time::Duration};

use rustls::CertificateError;

use crate::store::{Failure, StoreError};

/// A request that got no answer, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Nobody could be reached.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// Nobody is there: a refused connection, a name that is not known.
    #[error("cannot connect: {0}")]
    Nobody(String),
    /// The server's certificate, or ours, is not accepted.
    #[error("{why}")]
    Tls {
        /// What is wrong, in words.
        why: String,
        /// What to do.
        advice: &'static str,
    },
    /// It stood still for so long.
    #[error("no progress for {} seconds", .0.as_secs())]
    Stuck(Duration),
    /// The connection was lost.
    #[error("connection lost: {0}")]
    Lost(String),
    /// An answer that is longer than any can be.
    #[error("the answer has more than {0} bytes")]
    TooLong(usize),
    /// The client cannot be made or the request not be asked for, as it is.
    #[error("{why}")]
    Setting {
        /// What is wrong.
        why: String,
        /// What to do.
        advice: &'static str,
    },
}

impl HttpError {
    pub(super) fn setting(why: impl Into<String>, advice: &'static str) -> Self {
        Self::Setting { why: why.into(), advice }
    }

    pub(super) fn proxy() -> Self {
        Self::setting(
            "the address of the proxy is not a URL",
            "look at HTTPS_PROXY and HTTP_PROXY: http://host:port is wanted",
        )
    }

    pub(super) fn build(error: reqwest::Error) -> Self {
        Self::setting(causes(&error), "look at the options for certificates and proxies")
    }

    pub(super) fn request(error: reqwest::Error) -> Self {
        if error.is_builder() {
            return Self::setting(causes(&error), "look at the location");
        }
        if let Some(tls) = find::<rustls::Error>(&error) {
            return Self::tls(tls);
        }
        // A server that speaks plain HTTP on this port.
        if let Some(io) = find::<io::Error>(&error)
            && io.kind() == io::ErrorKind::InvalidData
            && error.is_connect()
        {
            return Self::tls(&rustls::Error::General(io.to_string()));
        }
        let why = causes(&error);
        match error.is_connect() {
            true if is_nobody(&error, &why) => Self::Nobody(why),
            true => Self::Connect(why),
            false => Self::Lost(why),
        }
    }

    fn tls(error: &rustls::Error) -> Self {
        use rustls::Error as Tls;
        let (why, advice) = match error {
            Tls::InvalidCertificate(CertificateError::UnknownIssuer) => (
                "the server's certificate was issued by an authority that is not trusted".into(),
                "give the authority's certificate with --cacert",
            ),
            Tls::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => (
                format!("the server's certificate is for another name: {error}"),
                "use the name that the certificate is for in the location",
            ),
            Tls::InvalidCertificate(
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. },
            ) => (
                format!("the server's certificate is not valid now: {error}"),
                "compare this machine's clock; if it is right, the server needs a new certificate",
            ),
            Tls::InvalidCertificate(_) => (
                format!("the server's certificate is not accepted: {error}"),
                "look at the server's certificate, or give its authority with --cacert",
            ),
            Tls::AlertReceived(_) => (
                format!("the server ended the TLS handshake: {error}"),
                "if it wants to see a client certificate, give one with --tls-client-cert",
            ),
            _ => (
                format!("there is no TLS at the other end: {error}"),
                "if the server speaks plain HTTP, write http:// into the location",
            ),
        };
        Self::Tls { why, advice }
    }

    /// Whether trying again can help.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self {
            Self::Connect(_) | Self::Stuck(_) | Self::Lost(_) => Failure::Transient,
            Self::Nobody(_) => Failure::Unreachable,
            Self::Tls { .. } | Self::TooLong(_) | Self::Setting { .. } => Failure::Permanent,
        }
    }

    /// What a person can do, where that is not the same for all failures of its class.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Tls { advice, .. } | Self::Setting { advice, .. } => Some(advice),
            Self::Connect(_) | Self::Nobody(_) => {
                Some("look at the location's host and port, and at the network")
            }
            Self::Stuck(_) | Self::Lost(_) | Self::TooLong(_) => None,
        }
    }

    /// As the failure of a call on `object`.
    #[must_use]
    pub fn on(self, action: &'static str, object: impl Into<String>) -> StoreError {
        let advice = self.advice();
        let error = StoreError::new(self.failure(), action, object, self);
        match advice {
            Some(advice) => error.advising(advice),
            None => error,
        }
    }
}

/// Whether a connection was not to be had because nobody listens, or because there is no such host.
fn is_nobody(error: &reqwest::Error, why: &str) -> bool {
    // The resolver's error has no kind of its own.
    why.contains("failed to lookup address")
        || find::<io::Error>(error).is_some_and(|io| {
            matches!(io.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
        })
}

/// The first cause of this type.
pub(in crate::store) fn find<'a, T: Error + 'static>(
    error: &'a (dyn Error + 'static),
) -> Option<&'a T> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        // An I/O error hides what it was made from.
        if let Some(io) = error.downcast_ref::<io::Error>()
            && let Some(inner) = io.get_ref()
            && let Some(found) = find(inner)
        {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// The causes of an error in one line, without the URL, which may hold a signature.
fn causes(error: &reqwest::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !texts.iter().any(|seen| seen.contains(&text)) {
            texts.push(text);
        }
        cause = error.source();
    }
    if texts.is_empty() {
        texts.push(if error.is_timeout() { "timed out" } else { "no cause given" }.into());
    }
    texts.join(": ")
}
