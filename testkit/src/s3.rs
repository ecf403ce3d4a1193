//! An S3 server in this process, its objects in memory: the one that always runs.
//!
//! Invariants: it listens on loopback alone, on threads of its own that end when it is dropped; one
//! pair of keys is let in.
//!
//! Not here: what this server leaves out of the protocol (versions, regions, uploads in parts).

mod bucket;

use std::{
    net::{Ipv4Addr, SocketAddr},
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
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Who is let in.
struct OneKey;

#[async_trait::async_trait]
impl S3Auth for OneKey {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match access_key {
            KEY_ID => Ok(SecretKey::from(SECRET_KEY)),
            _ => Err(s3_error!(InvalidAccessKeyId)),
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
        builder.set_auth(OneKey);
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
        Self { buckets, address, stop: Some(stop), thread: Some(thread) }
    }

    /// Makes a bucket.
    pub fn make(&self, bucket: &str) {
        self.buckets.make(bucket);
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
