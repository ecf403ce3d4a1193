//! An S3 server in this process, its objects in memory: the one that always runs.
//!
//! Invariants: it listens on loopback alone, on threads of its own that end when it is dropped; one
//! pair of keys is let in at a time.
//!
//! Not here: what this server leaves out of the protocol (versions, regions, uploads in parts).

mod bucket;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
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
use tokio::{net::TcpListener, sync::oneshot};

/// The key that is let in.
pub const KEY_ID: &str = "test-key-id";
/// Its secret half.
pub const SECRET_KEY: &str = "test-secret-key";

/// A running server.
#[derive(Debug)]
pub struct S3Server {
    buckets: Buckets,
    keys: Keys,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
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
        let (tell, told) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async move {
                let listener =
                    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a loopback port");
                tell.send(listener.local_addr().expect("bound")).expect("somebody waits");
                let accept = async {
                    while let Ok((stream, _peer)) = listener.accept().await {
                        let service = service.clone();
                        let connection = hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service);
                        tokio::spawn(connection);
                    }
                };
                tokio::select! {
                    () = accept => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        let address = told.recv().expect("the server listens");
        Self { buckets, keys, address, stop: Some(stop), thread: Some(thread) }
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
        self.address
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _or_it_has_ended = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _panicked_or_not = thread.join();
        }
    }
}
