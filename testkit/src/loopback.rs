//! A server in this process, for as long as somebody holds it.
//!
//! Invariants: it listens on loopback alone, on threads of its own that end when it is dropped.

use std::{
    error::Error,
    net::{Ipv4Addr, SocketAddr},
    thread::JoinHandle,
};

use hyper::{
    Request, Response,
    body::{Body, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

const THREADS: usize = 2;

/// A running server.
#[derive(Debug)]
pub(crate) struct Loopback {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Loopback {
    /// Gives every connection to `serve`.
    ///
    /// # Panics
    /// Where no port can be had.
    pub(crate) fn start<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (tell, told) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(THREADS)
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async move {
                let listener =
                    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a loopback port");
                tell.send(listener.local_addr().expect("bound")).expect("somebody waits");
                let accept = async {
                    while let Ok((stream, _peer)) = listener.accept().await {
                        tokio::spawn(serve(stream));
                    }
                };
                tokio::select! {
                    () = accept => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        let address = told.recv().expect("it listens");
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    /// Answers every request of HTTP/1.1 by `answer`.
    pub(crate) fn answering<F, B, E>(
        answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Response<B>, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
        B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        Self::start(move |stream| {
            let service = service_fn(answer.clone());
            let server = hyper::server::conn::http1::Builder::new();
            async move { drop(server.serve_connection(TokioIo::new(stream), service).await) }
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _or_it_has_ended = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _panicked_or_not = thread.join();
        }
    }
}
