//! What the emulator leaves out of the protocol: objects put under their own URL, as the service
//! takes them. Such a request becomes one of the other protocol, which the emulator knows.
//!
//! Invariants: everything else passes as it is; a condition is judged by the emulator and not here.

use std::{
    io,
    net::{SocketAddr, SocketAddrV4},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode, Uri, body::Incoming, header::HeaderValue,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::loopback::Loopback;

/// A running translator.
#[derive(Debug)]
pub(super) struct Uploads(Loopback);

impl Uploads {
    pub(super) fn before(emulator: SocketAddrV4) -> Self {
        Self(Loopback::start(move |stream| {
            let service = service_fn(move |request| serve(emulator, request));
            let server = hyper::server::conn::http1::Builder::new();
            // A client may break off.
            async move { drop(server.serve_connection(TokioIo::new(stream), service).await) }
        }))
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.0.address()
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
