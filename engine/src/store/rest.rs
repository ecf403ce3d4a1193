//! The REST protocol for repositories: one URL for each object, lists of names with sizes.
//!
//! Invariants
//! - Only an answer of a server that speaks the protocol counts. A page of HTML comes from
//!   something in between: it is never taken for an object, for success or for absence.
//! - "404" for a list is an empty list only where the repository itself is there.
//! - A refused write is success where the same object is there already, since a server of this
//!   protocol does not overwrite and an earlier answer may have been lost.
//!
//! Not here: what carries the requests ([`Wire`]): the network, a socket, the pipes of a program.

mod answer;
mod list;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE},
};
use http_body_util::Full;
use url::Url;

use self::answer::refusal;
use super::{
    Existing, Failure, Range, StoreError,
    http::{Transport, Tuning, authorization, is_page},
    limit::Limiter,
    location,
    remote::{Page, PutRules, Remote, Stat, Traits},
    settings::StoreSettings,
    trace::Observer,
};

/// Carries requests and whole answers.
#[async_trait]
pub(super) trait Wire: Send + Sync + fmt::Debug {
    /// Sends a request once. An answer with more than `most` bytes is an error.
    async fn ask(
        &self,
        call: Call<'_>,
        request: Request<Bytes>,
        most: usize,
    ) -> Result<Response<Bytes>, StoreError>;
}

/// What a request is for, for messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    pub(super) action: &'static str,
    pub(super) object: &'a str,
}

/// A repository on a server. Clones are the same.
#[derive(Clone, Debug)]
pub struct Rest(Arc<Server>);

#[derive(Debug)]
struct Server {
    name: String,
    url: Url,
    login: Option<HeaderValue>,
    wire: Box<dyn Wire>,
    traits: Traits,
    /// Whether the server said that it has created the repository.
    created: AtomicBool,
}

const VERSION_2: &str = "application/vnd.x.restic.rest.v2";
const OCTETS: &str = "application/octet-stream";
/// Requests at once; as many connections.
const CONNECTIONS: usize = 5;
/// More than any object a repository can hold.
const MAX_READ_BYTES: usize = 4 << 30;
/// More than anyone says who has only yes or no to say.
const MAX_REMARK_BYTES: usize = 1 << 20;
const SHARDED_TYPE: &str = "data/";

impl Rest {
    /// The repository at `location`.
    pub fn new(
        location: &location::Rest,
        settings: &StoreSettings,
        limiter: &Arc<Limiter>,
        observer: &Observer,
    ) -> Result<Self, StoreError> {
        let name = location.to_string();
        let socket = location.socket.clone();
        let tuning = Tuning { http1_only: true, socket, ..Tuning::default() };
        let transport = Transport::new(&settings.http, &tuning, limiter, observer)
            .map_err(|error| error.on("open", name.as_str()))?;
        let login = location.login.as_ref().or(settings.rest.login.as_ref());
        let login = login.map(authorization).transpose();
        let login =
            login.map_err(|why| StoreError::new(Failure::Permanent, "open", name.as_str(), why))?;
        let traits = Traits { connections: CONNECTIONS, flaky: false, limits_itself: true };
        Ok(Self::over(Box::new(Network(transport)), name, location.url.clone(), login, traits))
    }

    /// A repository at `url`, which is asked over `wire`.
    pub(super) fn over(
        wire: Box<dyn Wire>,
        name: String,
        url: Url,
        login: Option<HeaderValue>,
        traits: Traits,
    ) -> Self {
        let created = AtomicBool::new(false);
        Self(Arc::new(Server { name, url, login, wire, traits, created }))
    }
}

/// The network, or a socket.
#[derive(Debug)]
struct Network(Transport);

#[async_trait]
impl Wire for Network {
    async fn ask(
        &self,
        call: Call<'_>,
        request: Request<Bytes>,
        most: usize,
    ) -> Result<Response<Bytes>, StoreError> {
        let failed = |error: super::http::HttpError| error.on(call.action, call.object);
        let (head, body) = self.0.send(request.map(Full::new)).await.map_err(failed)?.into_parts();
        Ok(Response::from_parts(head, body.collect(most).await.map_err(failed)?))
    }
}

#[async_trait]
impl Remote for Rest {
    fn location(&self) -> String {
        self.0.name.clone()
    }

    fn traits(&self) -> Traits {
        self.0.traits
    }

    async fn create(&self, _the_server_knows_them: &[String]) -> Result<(), StoreError> {
        let call = Call { action: "create", object: &self.0.name };
        let mut url = self.0.url.clone();
        url.query_pairs_mut().append_pair("create", "true");
        let request = self.0.request(call, Method::POST, &url, &[], Bytes::new())?;
        self.0.expect(call, request, MAX_REMARK_BYTES).await?;
        self.0.created.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn page(&self, prefix: &str, next: Option<String>) -> Result<Page, StoreError> {
        list::page(&self.0, prefix, next).await
    }

    async fn stat(&self, name: &str) -> Result<Stat, StoreError> {
        let stored_bytes = self.0.size("stat", name).await?;
        // Lists have no times, so there are none at all.
        Ok(Stat { stored_bytes, modified: SystemTime::UNIX_EPOCH })
    }

    async fn read(&self, name: &str, range: Range) -> Result<Bytes, StoreError> {
        self.0.read(name, range).await
    }

    async fn put(&self, name: &str, bytes: Bytes, rules: PutRules) -> Result<(), StoreError> {
        match rules.existing {
            Existing::Keep => self.0.put(name, bytes).await,
            Existing::Replace => {
                // What is half done must be finished, whether or not anyone still waits for it.
                let (server, name) = (Arc::clone(&self.0), name.to_owned());
                let work = tokio::spawn(async move { server.replace(&name, bytes).await });
                work.await.unwrap_or_else(|stopped| {
                    let location = self.0.name.as_str();
                    Err(StoreError::new(Failure::Permanent, "write", location, stopped))
                })
            }
        }
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.0.delete(name).await
    }
}

impl Server {
    /// Where an object is. Servers keep directories within directories to themselves.
    fn object(&self, call: Call<'_>, name: &str) -> Result<Url, StoreError> {
        let path = match name.strip_prefix(SHARDED_TYPE).and_then(|rest| rest.split_once('/')) {
            Some((_shard, rest)) => format!("{SHARDED_TYPE}{rest}"),
            None => name.to_owned(),
        };
        self.url
            .join(&path)
            .map_err(|error| StoreError::new(Failure::Permanent, call.action, call.object, error))
    }

    fn request(
        &self,
        call: Call<'_>,
        method: Method,
        url: &Url,
        headers: &[(http::HeaderName, &str)],
        body: Bytes,
    ) -> Result<Request<Bytes>, StoreError> {
        let mut request = Request::builder().method(method).uri(url.as_str());
        request = request.header(ACCEPT, VERSION_2);
        if let Some(login) = &self.login {
            request = request.header(AUTHORIZATION, login);
        }
        for (header, value) in headers {
            request = request.header(header, *value);
        }
        request
            .body(body)
            .map_err(|error| StoreError::new(Failure::Permanent, call.action, call.object, error))
    }

    /// Sends a request, whatever the answer says.
    async fn ask(
        &self,
        call: Call<'_>,
        request: Request<Bytes>,
        most: usize,
    ) -> Result<Response<Bytes>, StoreError> {
        self.wire.ask(call, request, most).await
    }

    /// Sends a request and takes nothing but success for an answer.
    async fn expect(
        &self,
        call: Call<'_>,
        request: Request<Bytes>,
        most: usize,
    ) -> Result<Response<Bytes>, StoreError> {
        let method = request.method().clone();
        let answer = self.ask(call, request, most).await?;
        if answer.status().is_success() && !is_page(answer.headers()) {
            return Ok(answer);
        }
        Err(refusal(call, &method, &answer, self.login.is_some()))
    }

    async fn size(&self, action: &'static str, name: &str) -> Result<u64, StoreError> {
        let call = Call { action, object: name };
        let url = self.object(call, name)?;
        let request = self.request(call, Method::HEAD, &url, &[], Bytes::new())?;
        let answer = self.expect(call, request, MAX_REMARK_BYTES).await?;
        number(answer.headers(), &CONTENT_LENGTH).ok_or_else(|| {
            let why = "the server does not tell the object's size";
            StoreError::new(Failure::Permanent, action, name, why)
        })
    }

    async fn read(&self, name: &str, range: Range) -> Result<Bytes, StoreError> {
        let call = Call { action: "read", object: name };
        let url = self.object(call, name)?;
        let span = match range {
            Range::All => None,
            Range::At { start, len } => Some((start, start.saturating_add(len))),
            // Some servers break off when asked for more last bytes than there are.
            Range::Last { .. } => match range.within(self.size("read", name).await?) {
                Some((start, end)) if start < end => Some((start, end)),
                _ => return Ok(Bytes::new()),
            },
        };
        let span = span.map(|(start, end)| format!("bytes={start}-{}", end.saturating_sub(1)));
        let header = span.as_deref().map(|span| (RANGE, span));
        let headers = header.as_slice();
        let request = self.request(call, Method::GET, &url, headers, Bytes::new())?;
        let answer = self.ask(call, request, MAX_READ_BYTES).await?;
        let is_object = !is_page(answer.headers());
        match answer.status() {
            StatusCode::PARTIAL_CONTENT if is_object && span.is_some() => part(call, range, answer),
            // A server need not know ranges; then all of it comes.
            StatusCode::OK if is_object => {
                let bytes = answer.into_body();
                let (start, end) = range.within(bytes.len() as u64).ok_or_else(|| {
                    let why = format!("the object has only {} bytes", bytes.len());
                    StoreError::new(Failure::Short, "read", name, why)
                })?;
                // Both are at most the length, which is a usize.
                Ok(bytes.slice(start as usize..end as usize))
            }
            _ => Err(refusal(call, &Method::GET, &answer, self.login.is_some())),
        }
    }

    async fn post(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        let call = Call { action: "write", object: name };
        let url = self.object(call, name)?;
        let headers = [(CONTENT_TYPE, OCTETS)];
        let request = self.request(call, Method::POST, &url, &headers, bytes)?;
        self.expect(call, request, MAX_REMARK_BYTES).await.map(drop)
    }

    async fn put(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        let refused = match self.post(name, bytes.clone()).await {
            Err(error) if error.failure == Failure::Denied => error,
            result => return result,
        };
        // A server says this of an object that is there, too.
        match self.size("write", name).await {
            Ok(size)
                if size == bytes.len() as u64 && self.read(name, Range::All).await? == bytes =>
            {
                Ok(())
            }
            Ok(_) => {
                let why = "an object with other content has this name";
                Err(StoreError::new(Failure::Permanent, "write", name, why))
            }
            Err(_) => Err(refused),
        }
    }

    /// Writes an object over another one. The protocol has no way to do so at once.
    async fn replace(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        let refused = match self.post(name, bytes.clone()).await {
            Err(error) if error.failure == Failure::Denied => error,
            result => return result,
        };
        let old = match self.read(name, Range::All).await {
            Ok(old) if old == bytes => return Ok(()),
            Ok(old) => old,
            Err(_) => return Err(refused),
        };
        self.delete(name).await?;
        match self.post(name, bytes).await {
            Ok(()) => Ok(()),
            Err(error) => {
                // Better the old one than none. Where this fails too, the error says which it was.
                let _as_good_as_can_be = self.post(name, old).await;
                Err(error)
            }
        }
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        let call = Call { action: "delete", object: name };
        let url = self.object(call, name)?;
        let request = self.request(call, Method::DELETE, &url, &[], Bytes::new())?;
        self.expect(call, request, MAX_REMARK_BYTES).await.map(drop)
    }
}

/// The bytes of an answer that says which part of the object it holds.
fn part(call: Call<'_>, range: Range, answer: Response<Bytes>) -> Result<Bytes, StoreError> {
    let other = |what: &str| {
        let why = format!("the server answered with {what} than was asked for");
        StoreError::new(Failure::Permanent, call.action, call.object, why)
    };
    let told = answer.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let first = told
        .and_then(|told| told.trim().strip_prefix("bytes "))
        .and_then(|told| told.split('-').next()?.trim().parse::<u64>().ok());
    let most = match range {
        Range::At { start, .. } if first.is_some_and(|first| first != start) => {
            return Err(other("another part of the object"));
        }
        Range::At { len, .. } | Range::Last { len } => len,
        Range::All => u64::MAX,
    };
    let bytes = answer.into_body();
    if bytes.len() as u64 > most { Err(other("more bytes")) } else { Ok(bytes) }
}

fn number(headers: &HeaderMap, name: &http::HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}
