//! HTTP and TLS, the same for every store that is reached by them.

use std::time::Duration;

use bytes::Bytes;

use super::SecretText;

/// How HTTP requests are made.
#[derive(Clone, Debug)]
pub struct Http {
    /// Certificates in PEM that are trusted instead of the system's.
    pub ca_certificates: Vec<Bytes>,
    /// Certificate and key in PEM that this client shows.
    pub client_certificate: Option<SecretText>,
    /// Whether the server may show any certificate.
    pub insecure_tls: bool,
    /// What this client calls itself.
    pub user_agent: String,
    /// A request that makes no progress for so long is given up and tried again.
    pub stuck_after: Duration,
    /// Proxies on the way.
    pub proxies: Proxies,
}

/// Which requests go through which proxy; URLs, perhaps with a password.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// For `http://`.
    pub http: Option<SecretText>,
    /// For `https://`.
    pub https: Option<SecretText>,
    /// Hosts, domains, addresses and networks that are reached without one, separated by commas.
    pub except: Option<String>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            ca_certificates: Vec::new(),
            client_certificate: None,
            insecure_tls: false,
            user_agent: concat!("windlass/", env!("CARGO_PKG_VERSION")).to_owned(),
            stuck_after: Duration::from_mins(5),
            proxies: Proxies::default(),
        }
    }
}
