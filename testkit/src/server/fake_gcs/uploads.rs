//! What the emulator leaves out of the protocol: objects put under their own URL, as the service
//! takes them. Such a request becomes one of the other protocol, which the emulator knows.
//!
//! Invariants: everything else passes as it is; a condition is judged by the emulator and not here.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    thread::JoinHandle,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode, Uri, body::Incoming, header::HeaderValue,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

/// A running translator.
#[derive(Debug)]
pub(super) struct Uploads {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Uploads {
    pub(super) fn before(emulator: SocketAddrV4) -> Self {
        let (tell, told) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let listener =
                    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a loopback port");
                tell.send(listener.local_addr().expect("bound")).expect("somebody waits");
                tokio::select! {
                    () = accept(listener, emulator) => {}
                    _ = stopped => {}
                }
            });
        });
        let address = told.recv().expect("it listens");
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Uploads {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _or_it_has_ended = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _panicked_or_not = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, emulator: SocketAddrV4) {
    while let Ok((stream, _peer)) = listener.accept().await {
        tokio::spawn(async move {
            let service = service_fn(move |request| serve(emulator, request));
            let server = hyper::server::conn::http1::Builder::new();
            // A client may break off.
            drop(server.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn serve(
    emulator: SocketAddrV4,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, io::Error> {
    let (mut head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let is_put = head.method == Method::PUT;
    if is_put && let Some((bucket, name)) = head.uri.path()[1..].split_once('/') {
        let condition = head.headers.remove("x-goog-if-generation-match");
        let condition = condition.as_ref().and_then(|value| value.to_str().ok());
        let condition = condition.map(|value| format!("&ifGenerationMatch={value}"));
        let target = format!(
            "/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}{}",
            condition.unwrap_or_default()
        );
        head.method = Method::POST;
        head.uri = target.parse::<Uri>().map_err(io::Error::other)?;
    }
    // The emulator tells buckets by the host that it is asked at.
    let host = HeaderValue::from_str(&emulator.to_string()).map_err(io::Error::other)?;
    head.headers.insert("host", host);
    let stream = TcpStream::connect(emulator).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(connection);
    let request = Request::from_parts(head, Full::new(body));
    let answer = sender.send_request(request).await.map_err(io::Error::other)?;
    let (mut head, body) = answer.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    if is_put && head.status == StatusCode::OK {
        head.headers.insert("etag", HeaderValue::from_static("\"etag\""));
    }
    Ok(Response::from_parts(head, Full::new(body)))
}
