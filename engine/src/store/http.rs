//! HTTP and TLS for every store that is reached by them: one client, one set of roots, one place
//! where bytes are limited, progress is watched and requests are told of.
//!
//! Invariants
//! - A request that makes no progress is given up; one that makes any, however slow, is not.
//! - Nothing is read from the environment, redirects are not followed unless asked for, and a
//!   request is sent once: trying again is for whoever knows what it means.
//! - A failure to agree on TLS is told apart from a lost connection, because only one of them
//!   passes by itself.
//!
//! Not here: what a status means (adapters), trying again (`steady`).

mod body;
mod fault;
mod head;
mod kept;
mod room;
mod tls;
mod watch;
mod witness;

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body::Body;
use reqwest::{Client, NoProxy, Proxy, redirect::Policy};
use tokio::time::Instant;

pub use body::Incoming;
pub use fault::HttpError;
pub(super) use fault::find;
pub(super) use head::authorization;
pub(super) use head::{asked_pause, is_page};
pub(super) use kept::Kept;
pub(super) use room::Rooms;
pub(super) use witness::seen;
pub(super) use witness::{Meaning, Seen};

use self::{body::Outgoing, watch::Watch};
use super::{
    limit::Limiter,
    settings::{Http, SecretText},
    trace::{Observer, StoreEvent},
};

const CONNECT_PATIENCE: Duration = Duration::from_secs(30);
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);
const MOST_REDIRECTS: usize = 10;

/// A client; cheap to clone, and clones share its connections.
#[derive(Clone, Debug)]
pub struct Transport {
    client: Client,
    stuck_after: Duration,
    limiter: Arc<Limiter>,
    observer: Observer,
    rooms: Rooms,
}

/// What differs between services.
#[derive(Clone, Debug, Default)]
pub struct Tuning {
    /// Never HTTP/2: one connection for each request carries more than many streams on one.
    pub http1_only: bool,
    /// The socket to talk through instead of the network.
    pub socket: Option<PathBuf>,
    /// Whether redirects are followed.
    pub redirects: bool,
}

impl Transport {
    /// A client. Fails where certificates or proxies cannot be read.
    pub fn new(
        settings: &Http,
        tuning: &Tuning,
        limiter: &Arc<Limiter>,
        observer: &Observer,
    ) -> Result<Self, HttpError> {
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls::config(settings, tuning.http1_only)?)
            .user_agent(&settings.user_agent)
            .connect_timeout(CONNECT_PATIENCE)
            .tcp_keepalive(TCP_KEEPALIVE)
            .referer(false)
            .no_proxy();
        builder = builder.redirect(match tuning.redirects {
            true => Policy::limited(MOST_REDIRECTS),
            false => Policy::none(),
        });
        if tuning.http1_only {
            builder = builder.http1_only();
        }
        if let Some(socket) = &tuning.socket {
            builder = builder.unix_socket(socket.clone());
        }
        let except = settings.proxies.except.as_deref().and_then(NoProxy::from_string);
        for (url, make) in [
            (&settings.proxies.http, Proxy::http as fn(String) -> reqwest::Result<Proxy>),
            (&settings.proxies.https, Proxy::https),
        ] {
            let Some(url) = url else { continue };
            let proxy = make(proxy_url(url)?).map_err(|_secret| HttpError::proxy())?;
            builder = builder.proxy(proxy.no_proxy(except.clone()));
        }
        let client = builder.build().map_err(HttpError::build)?;
        Ok(Self {
            client,
            stuck_after: settings.stuck_after,
            limiter: Arc::clone(limiter),
            observer: observer.clone(),
            rooms: Rooms::default(),
        })
    }

    /// Room for what comes in.
    pub(super) fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// Sends a request and waits for the head of its answer. The body that comes with it fails
    /// where the connection does, and where it makes no progress.
    pub async fn send<B>(
        &self,
        request: http::Request<B>,
    ) -> Result<http::Response<Incoming>, HttpError>
    where
        B: Body<Data = Bytes> + Send + Sync + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let began = Instant::now();
        let method = request.method().as_str().to_owned();
        let target = target(request.uri());
        let watch = Watch::new(self.stuck_after);
        let under_way = self.rooms.expect();
        let request = request.map(|body| {
            reqwest::Body::wrap(Outgoing::new(body, Arc::clone(&self.limiter), watch.clone()))
        });
        let sent = async {
            let request = reqwest::Request::try_from(request).map_err(HttpError::request)?;
            self.client.execute(request).await.map_err(HttpError::request)
        };
        let answer = tokio::select! {
            answer = sent => answer,
            () = watch.stuck() => Err(HttpError::Stuck(self.stuck_after)),
        };
        let mut event = Ending { method, target, began, watch, status: None, received: 0 };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.observer.tell(|| event.told());
                return Err(error);
            }
        };
        event.status = Some(answer.status().as_u16());
        let answer = http::Response::<reqwest::Body>::from(answer);
        let limiter = Arc::clone(&self.limiter);
        Ok(answer.map(|body| Incoming::new(body, limiter, under_way, event, self.observer.clone())))
    }
}

/// What will be told of a request when it ends.
#[derive(Debug)]
struct Ending {
    method: String,
    target: String,
    began: Instant,
    watch: Watch,
    status: Option<u16>,
    received: u64,
}

impl Ending {
    fn told(&self) -> StoreEvent {
        StoreEvent::Request {
            method: self.method.clone(),
            target: self.target.clone(),
            status: self.status,
            sent: self.watch.sent(),
            received: self.received,
            took: self.began.elapsed(),
        }
    }
}

/// Host and path: a query may hold a signature.
fn target(uri: &http::Uri) -> String {
    format!("{}{}", uri.host().unwrap_or_default(), uri.path())
}

/// Proxies are often given as a mere host and port.
fn proxy_url(url: &SecretText) -> Result<String, HttpError> {
    let text = std::str::from_utf8(url.expose()).map_err(|_error| HttpError::proxy())?;
    Ok(if text.contains("://") { text.to_owned() } else { format!("http://{text}") })
}
