//! A container of OpenStack Swift.
//!
//! Invariants
//! - A token that the server does not take any more is renewed within the call, once.
//! - What is put goes along with its digest, which the server compares, and with the condition that
//!   nothing has its name.
//! - A page for people is never taken for an answer of the server.
//!
//! Not here: where tokens come from ([`login`]).

mod login;
mod refusal;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LAST_MODIFIED, RANGE},
};
use http_body_util::Full;
use jiff::{civil, fmt::rfc2822, tz::TimeZone};
use md5::{Digest, Md5};
use serde::Deserialize;
use url::Url;
use windlass_format::id::to_hex;

use self::{login::Session, refusal::is_foreign};
use super::{
    Existing, Failure, Range, StoreError,
    http::{Kept, Transport, Tuning},
    limit::Limiter,
    location::{Bucket, Location},
    remote::{Page, PutRules, Remote, Row, Stat, Traits},
    settings::{self, StoreSettings},
    trace::Observer,
};

/// A container, or what is in it below a prefix.
pub struct Swift {
    bucket: Bucket,
    settings: settings::Swift,
    transport: Transport,
    session: Kept<Session>,
}

/// Requests at once.
const CONNECTIONS: usize = 5;
/// More than any object or list has.
const MOST_BYTES: usize = 4 << 30;
const TOKEN: &str = "x-auth-token";
const POLICY: &str = "x-storage-policy";

/// A call, for messages.
#[derive(Clone, Copy, Debug)]
struct Call<'a> {
    action: &'static str,
    object: &'a str,
}

/// An object in a list.
#[derive(Debug, Deserialize)]
struct Listed {
    name: String,
    bytes: u64,
    last_modified: String,
}

impl Swift {
    /// Asks nothing of the server yet.
    pub fn new(
        bucket: &Bucket,
        settings: &StoreSettings,
        limiter: &Arc<Limiter>,
        observer: &Observer,
    ) -> Result<Self, StoreError> {
        let name = Location::Swift(bucket.clone()).to_string();
        let tuning = Tuning { http1_only: true, ..Tuning::default() };
        let transport = Transport::new(&settings.http, &tuning, limiter, observer)
            .map_err(|error| error.on("open", name))?;
        let (bucket, settings) = (bucket.clone(), settings.swift.clone());
        Ok(Self { bucket, settings, transport, session: Kept::default() })
    }

    /// An object's name in the container, or what such names begin with.
    fn full(&self, name: &str) -> String {
        match self.bucket.prefix.trim_end_matches('/') {
            "" => name.to_owned(),
            prefix => format!("{prefix}/{name}"),
        }
    }

    async fn session(&self) -> Result<Arc<Session>, StoreError> {
        let location = self.location();
        let log_in = login::log_in(&self.settings, &self.transport, &location);
        self.session.get(|_it_does_not_say_when_it_ends| true, log_in).await
    }

    /// Where an object is; the container itself without a name.
    fn url(&self, session: &Session, name: Option<&str>) -> Url {
        let mut url = session.storage.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push(&self.bucket.name);
            if let Some(name) = name {
                path.extend(self.full(name).split('/'));
            }
        }
        url
    }

    /// Sends a request with a token that is taken, and gives the answer whatever it is.
    async fn send(
        &self,
        call: Call<'_>,
        method: &Method,
        url: impl Fn(&Session) -> Url,
        (headers, body): (HeaderMap, Bytes),
    ) -> Result<Response<Bytes>, StoreError> {
        let session = self.session().await?;
        let request = |session: &Session| {
            let mut request = Request::new(Full::new(body.clone()));
            *request.method_mut() = method.clone();
            *request.uri_mut() = url(session).as_str().parse().map_err(|error| {
                StoreError::new(Failure::Permanent, call.action, call.object, error)
            })?;
            *request.headers_mut() = headers.clone();
            request.headers_mut().insert(TOKEN, session.token.clone());
            Ok::<_, StoreError>(request)
        };
        let answer = self.once(call, request(&session)?).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        self.session.lose(&session).await;
        let session = self.session().await?;
        self.once(call, request(&session)?).await
    }

    async fn once(
        &self,
        call: Call<'_>,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, StoreError> {
        let failed = |error: super::http::HttpError| error.on(call.action, call.object);
        let (head, body) = self.transport.send(request).await.map_err(failed)?.into_parts();
        Ok(Response::from_parts(head, body.collect(MOST_BYTES).await.map_err(failed)?))
    }

    /// The same, where everything but success is a failure.
    async fn expect(
        &self,
        call: Call<'_>,
        method: &Method,
        url: impl Fn(&Session) -> Url,
        content: (HeaderMap, Bytes),
    ) -> Result<Response<Bytes>, StoreError> {
        good(call, self.send(call, method, url, content).await?)
    }

    /// Whether the object that has the name already is the same. It is where an answer was lost.
    async fn is_stored(&self, name: &str, bytes: &Bytes) -> Result<(), StoreError> {
        if self.read(name, Range::All).await? == bytes {
            return Ok(());
        }
        let why = "an object with other content has this name";
        Err(StoreError::new(Failure::Permanent, "write", name, why))
    }
}

/// An answer, unless it is a refusal or not of the server.
fn good(call: Call<'_>, answer: Response<Bytes>) -> Result<Response<Bytes>, StoreError> {
    match answer.status().is_success() && !is_foreign(answer.headers()) {
        true => Ok(answer),
        false => Err(refusal::refused(call.action, call.object, answer)),
    }
}

fn nothing() -> (HeaderMap, Bytes) {
    (HeaderMap::new(), Bytes::new())
}

/// A moment as lists write it, in UTC and without saying so. Single answers round it up to a second,
/// and both must agree.
fn listed_time(text: &str) -> Option<SystemTime> {
    let time = text.parse::<civil::DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp();
    let seconds = time.as_second() + i64::from(time.subsec_nanosecond() > 0);
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).ok()?))
}

fn header_time(headers: &HeaderMap) -> Option<SystemTime> {
    let time = rfc2822::parse(headers.get(LAST_MODIFIED)?.to_str().ok()?).ok()?;
    let seconds = u64::try_from(time.timestamp().as_second()).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

impl fmt::Debug for Swift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Swift({})", self.location())
    }
}

#[async_trait]
impl Remote for Swift {
    fn location(&self) -> String {
        Location::Swift(self.bucket.clone()).to_string()
    }

    fn traits(&self) -> Traits {
        Traits { connections: CONNECTIONS, flaky: false, limits_itself: true }
    }

    async fn create(&self, _there_are_none: &[String]) -> Result<(), StoreError> {
        let call = Call { action: "create", object: &self.bucket.name };
        let mut headers = HeaderMap::new();
        if let Some(policy) = &self.settings.container_policy {
            let policy = HeaderValue::from_str(policy).map_err(|error| {
                StoreError::new(Failure::Permanent, call.action, call.object, error)
                    .advising("look at SWIFT_DEFAULT_CONTAINER_POLICY")
            })?;
            headers.insert(POLICY, policy);
        }
        let url = |session: &Session| self.url(session, None);
        // The policy of a container that is there cannot be asked for again.
        let there = self.send(call, &Method::HEAD, url, nothing()).await?;
        if there.status().is_success() {
            return Ok(());
        }
        self.expect(call, &Method::PUT, url, (headers, Bytes::new())).await.map(drop)
    }

    async fn page(&self, prefix: &str, next: Option<String>) -> Result<Page, StoreError> {
        let call = Call { action: "list", object: &self.bucket.name };
        let url = |session: &Session| {
            let mut url = self.url(session, None);
            let mut query = url.query_pairs_mut();
            query.append_pair("format", "json").append_pair("prefix", &self.full(prefix));
            if let Some(marker) = &next {
                query.append_pair("marker", marker);
            }
            drop(query);
            url
        };
        let answer = self.expect(call, &Method::GET, url, nothing()).await?;
        let listed: Vec<Listed> = match answer.body().is_empty() {
            true => Vec::new(),
            false => serde_json::from_slice(answer.body()).map_err(|error| {
                let why = format!("the server's list cannot be read: {error}");
                StoreError::new(Failure::Permanent, call.action, call.object, why)
            })?,
        };
        // How long a list may be is the server's secret: the end is one without objects.
        let next = listed.last().map(|last| last.name.clone());
        let below = self.full("");
        let row = |listed: Listed| {
            let name = listed.name.strip_prefix(&below)?.to_owned();
            let modified = listed_time(&listed.last_modified).unwrap_or(SystemTime::UNIX_EPOCH);
            Some(Row { name, stored_bytes: listed.bytes, modified })
        };
        Ok(Page { rows: listed.into_iter().filter_map(row).collect(), next })
    }

    async fn stat(&self, name: &str) -> Result<Stat, StoreError> {
        let call = Call { action: "stat", object: name };
        let url = |session: &Session| self.url(session, Some(name));
        let answer = self.expect(call, &Method::HEAD, url, nothing()).await?;
        let length = answer.headers().get(CONTENT_LENGTH).and_then(|it| it.to_str().ok());
        let stored_bytes = length.and_then(|text| text.parse().ok()).ok_or_else(|| {
            StoreError::new(Failure::Permanent, "stat", name, "the server does not say its size")
        })?;
        let modified = header_time(answer.headers()).unwrap_or(SystemTime::UNIX_EPOCH);
        Ok(Stat { stored_bytes, modified })
    }

    async fn read(&self, name: &str, range: Range) -> Result<Bytes, StoreError> {
        let call = Call { action: "read", object: name };
        let mut headers = HeaderMap::new();
        let wanted = match range {
            Range::All => None,
            Range::At { start, len } => Some(format!("bytes={start}-{}", start + (len - 1))),
            Range::Last { len } => Some(format!("bytes=-{len}")),
        };
        if let Some(wanted) = wanted.and_then(|wanted| HeaderValue::try_from(wanted).ok()) {
            headers.insert(RANGE, wanted);
        }
        let url = |session: &Session| self.url(session, Some(name));
        match self.expect(call, &Method::GET, url, (headers, Bytes::new())).await {
            // Of an empty object there are no last bytes to be had.
            Err(error)
                if error.failure == Failure::Short && matches!(range, Range::Last { .. }) =>
            {
                Ok(Bytes::new())
            }
            answer => answer.map(Response::into_body),
        }
    }

    async fn put(&self, name: &str, bytes: Bytes, rules: PutRules) -> Result<(), StoreError> {
        let call = Call { action: "write", object: name };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let digest = to_hex(&<[u8; 16]>::from(Md5::digest(&bytes)));
        if let Ok(digest) = HeaderValue::try_from(digest) {
            headers.insert(ETAG, digest);
        }
        if rules.existing == Existing::Keep {
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        let url = |session: &Session| self.url(session, Some(name));
        let answer = self.send(call, &Method::PUT, url, (headers, bytes.clone())).await?;
        match answer.status() {
            StatusCode::PRECONDITION_FAILED if rules.existing == Existing::Keep => {
                self.is_stored(name, &bytes).await
            }
            _ => good(call, answer).map(drop),
        }
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        let call = Call { action: "delete", object: name };
        let url = |session: &Session| self.url(session, Some(name));
        self.expect(call, &Method::DELETE, url, nothing()).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_single_answers_say_the_same_time() {
        let mut headers = HeaderMap::new();
        let text = HeaderValue::from_static("Wed, 15 Jan 2014 16:41:50 GMT");
        headers.insert(LAST_MODIFIED, text);
        let listed = listed_time("2014-01-15T16:41:49.390270");
        assert!(listed.is_some());
        assert_eq!(listed, header_time(&headers));
        assert_eq!(listed_time("2014-01-15T16:41:50"), header_time(&headers));
    }
}
