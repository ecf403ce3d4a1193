//! An S3 server in this process, its objects in memory: the one that always runs.
//!
//! Invariants: it listens on loopback alone, on threads of its own that end when it is dropped; one
//! pair of keys is let in at a time.
//!
//! Not here: what this server leaves out of the protocol (versions, regions, uploads in parts).

mod bucket;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bucket::Buckets;
pub use bucket::{Retention, Rules};

use hyper_util::rt::TokioIo;
use s3s::{
    S3Result,
    auth::{S3Auth, SecretKey},
    s3_error,
    service::S3ServiceBuilder,
};

use crate::loopback::Loopback;

/// The key that is let in.
pub const KEY_ID: &str = "test-key-id";
/// Its secret half.
pub const SECRET_KEY: &str = "test-secret-key";

/// A running server.
#[derive(Debug)]
pub struct S3Server {
    buckets: Buckets,
    keys: Keys,
    server: Loopback,
}

/// Who is let in.
#[derive(Clone, Debug)]
struct Keys(Arc<Mutex<Let>>);

#[derive(Debug)]
struct Let {
    id: String,
    secret: String,
    /// Who was let in before.
    expired: Vec<String>,
}

impl Keys {
    fn lock(&self) -> MutexGuard<'_, Let> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let keys = self.lock();
        if access_key == keys.id {
            return Ok(SecretKey::from(keys.secret.as_str()));
        }
        match keys.expired.iter().any(|id| id == access_key) {
            true => Err(s3_error!(ExpiredToken)),
            false => Err(s3_error!(InvalidAccessKeyId)),
        }
    }
}

impl S3Server {
    /// Without any bucket.
    ///
    /// # Panics
    /// Where no port can be had.
    #[must_use]
    pub fn start() -> Self {
        let buckets = Buckets::default();
        let mut builder = S3ServiceBuilder::new(buckets.clone());
        let (id, secret) = (KEY_ID.to_owned(), SECRET_KEY.to_owned());
        let keys = Keys(Arc::new(Mutex::new(Let { id, secret, expired: Vec::new() })));
        builder.set_auth(keys.clone());
        let service = builder.build();
        let server = Loopback::start(move |stream| {
            let (service, server) = (service.clone(), hyper::server::conn::http1::Builder::new());
            async move { drop(server.serve_connection(TokioIo::new(stream), service).await) }
        });
        Self { buckets, keys, server }
    }

    /// Makes a bucket.
    pub fn make(&self, bucket: &str) {
        self.buckets.make(bucket);
    }

    /// From now on this pair of keys is let in, and the one before has expired.
    pub fn change_keys(&self, id: &str, secret: &str) {
        let mut keys = self.keys.lock();
        let before = std::mem::replace(&mut keys.id, id.to_owned());
        keys.secret = secret.to_owned();
        keys.expired.push(before);
    }

    /// Changes what the credentials may do.
    pub fn set_rules(&self, rules: Rules) {
        self.buckets.set_rules(rules);
    }

    /// The keys of the objects in a bucket.
    #[must_use]
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        self.buckets.keys(bucket)
    }

    /// How long an object is kept from deletion.
    #[must_use]
    pub fn retention(&self, bucket: &str, key: &str) -> Option<Retention> {
        self.buckets.retention(bucket, key)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }
}
