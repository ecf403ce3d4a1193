//! Connections: how many, for how long, and their end.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use windlass_engine::cancel::Cancel;

use super::answer::{self, Site};

/// Connections at once; further ones wait to be accepted.
const MOST_CONNECTIONS: usize = 64;
/// How long a request may take to arrive, and a connection to be idle.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// What hyper keeps of a connection.
const CONNECTION_BYTES: usize = 64 << 10;
/// How long to wait after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Answers until it is cancelled; then connections end where they are.
pub(super) async fn serve(listener: &TcpListener, site: &Arc<Site>, cancel: &Cancel) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            // It is never closed.
            let place = Arc::clone(&room).acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            accepted = next => accepted,
            () = cancel.cancelled() => return,
        };
        while connections.try_join_next().is_some() {}
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (site, line) = (Arc::clone(site), cancel.child());
        connections.spawn(async move {
            connection(stream, peer, &site, &line).await;
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, site: &Arc<Site>, line: &Cancel) {
    // Without it, it is only slower.
    let _as_good_as_can_be = stream.set_nodelay(true);
    let is_let_in = site.lets_in(peer).await;
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (site, line) = (Arc::clone(site), line.clone());
        async move {
            let answer = match is_let_in {
                true => site.answer(request, &line).await,
                false => answer::not_let_in(),
            };
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(CONNECTION_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ended = connection => {}
        () = line.cancelled() => {}
    }
}
