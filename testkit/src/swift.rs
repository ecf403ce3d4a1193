//! A server of OpenStack Swift in this process, its objects in memory, with all three ways to log in.
//!
//! Invariants
//! - It follows what is written of the protocol: pages for refusals with a number of their own, lists
//!   in parts without an announced length, digests compared, conditions kept. restic judges it: what
//!   one of both cannot do with it, it does wrong.
//! - It listens on loopback alone, on threads of its own that end when it is dropped.
//!
//! Not here: large objects in parts, several accounts, access lists.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, StatusCode, body::Incoming};
use md5::{Digest, Md5};

use crate::{
    loopback::Loopback,
    wire::{asked, decoded, http_date, listed_time, span},
};

/// Who is let in.
pub const USER: &str = "tester";
/// With this.
pub const KEY: &str = "testing of secrets";
/// Their project.
pub const PROJECT: &str = "project";

/// A running server.
#[derive(Debug)]
pub struct SwiftServer {
    state: Arc<State>,
    server: Loopback,
}

#[derive(Debug)]
struct State {
    address: Mutex<Option<SocketAddr>>,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    containers: BTreeMap<String, BTreeMap<String, Object>>,
    /// Tokens are numbered, and the newest counts.
    tokens: u64,
    expired: u64,
}

#[derive(Clone, Debug)]
struct Object {
    bytes: Bytes,
    modified: SystemTime,
}

/// Rows of a list, so few that every test has several parts.
const PAGE: usize = 7;
const ACCOUNT: &str = "/v1/AUTH_test";

type Answer = Response<Full<Bytes>>;

impl SwiftServer {
    /// Without containers.
    ///
    /// # Panics
    /// Where no port can be had.
    #[must_use]
    pub fn start() -> Self {
        let state = Arc::new(State { address: Mutex::default(), held: Mutex::default() });
        let serving = Arc::clone(&state);
        let server = Loopback::answering(move |request| serve(Arc::clone(&serving), request));
        *state.address.lock().unwrap_or_else(PoisonError::into_inner) = Some(server.address());
        Self { state, server }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Where to log in, by a version of the protocol.
    #[must_use]
    pub fn login(&self, version: u8) -> String {
        let path = ["auth/v1.0", "auth/v2.0", "auth/v3"][usize::from(version) - 1];
        format!("http://{}/{path}", self.address())
    }

    /// Every token handed out so far is taken no longer.
    pub fn expire_tokens(&self) {
        let mut held = self.state.held();
        held.expired = held.tokens;
    }

    /// How many tokens were handed out.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.state.held().tokens
    }

    /// The names of the objects in a container.
    #[must_use]
    pub fn names(&self, container: &str) -> Vec<String> {
        let held = self.state.held();
        held.containers.get(container).map(|it| it.keys().cloned().collect()).unwrap_or_default()
    }
}

impl State {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn storage_url(&self) -> String {
        let address = *self.address.lock().unwrap_or_else(PoisonError::into_inner);
        format!("http://{}{ACCOUNT}", address.expect("it listens"))
    }

    /// Lets somebody in who says the right things.
    fn log_in(&self, request: &Request<Incoming>, body: &[u8]) -> Answer {
        let token = || {
            let mut held = self.held();
            held.tokens += 1;
            format!("token-{}", held.tokens)
        };
        let text = String::from_utf8_lossy(body);
        let says = |what: &str| text.contains(&format!("\"{what}\""));
        let storage = self.storage_url();
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        match request.uri().path() {
            "/auth/v1.0"
                if header("x-auth-user") == Some(USER) && header("x-auth-key") == Some(KEY) =>
            {
                let answer = Response::builder().header("x-storage-url", storage);
                made(answer.header("x-auth-token", token()), StatusCode::OK, "")
            }
            "/auth/v2.0/tokens" if says(USER) && says(KEY) && says(PROJECT) => {
                let token = token();
                let text = format!(
                    r#"{{"access":{{"token":{{"id":"{token}","expires":"2099-01-01T00:00:00Z"}},
                    "serviceCatalog":[{{"type":"compute","endpoints":[]}},{{"type":"object-store",
                    "name":"swift","endpoints":[{{"region":"away","publicURL":"http://127.0.0.1:1"}},
                    {{"region":"here","publicURL":"{storage}"}}]}}],"user":{{}}}}}}"#
                );
                made(json(), StatusCode::OK, &text)
            }
            "/auth/v3/auth/tokens" if says(USER) && says(KEY) && says(PROJECT) => {
                let text = format!(
                    r#"{{"token":{{"methods":["password"],"expires_at":"2099-01-01T00:00:00Z",
                    "catalog":[{{"type":"object-store","id":"1","name":"swift","endpoints":[
                    {{"id":"a","interface":"admin","region":"here","url":"http://127.0.0.1:1"}},
                    {{"id":"b","interface":"public","region":"away","url":"http://127.0.0.1:1"}},
                    {{"id":"c","interface":"public","region":"here","url":"{storage}"}}]}}]}}}}"#
                );
                made(json().header("x-subject-token", token()), StatusCode::CREATED, &text)
            }
            _ => page(StatusCode::UNAUTHORIZED),
        }
    }

    /// Whether the token of a request is taken.
    fn is_in(&self, request: &Request<Incoming>) -> bool {
        let token = request.headers().get("x-auth-token").and_then(|value| value.to_str().ok());
        let number = token.and_then(|token| token.strip_prefix("token-")?.parse::<u64>().ok());
        let held = self.held();
        number.is_some_and(|number| number > held.expired && number <= held.tokens)
    }

    fn container(&self, request: &Request<Incoming>, name: &str) -> Answer {
        let mut held = self.held();
        match (request.method(), held.containers.get(name)) {
            (&Method::PUT, there) => {
                let status =
                    if there.is_some() { StatusCode::ACCEPTED } else { StatusCode::CREATED };
                held.containers.entry(name.to_owned()).or_default();
                made(Response::builder(), status, "")
            }
            (_, None) => page(StatusCode::NOT_FOUND),
            (&Method::HEAD, Some(objects)) => {
                let answer = Response::builder();
                let bytes: usize = objects.values().map(|object| object.bytes.len()).sum();
                let answer = answer.header("x-container-object-count", objects.len());
                let answer = answer.header("x-container-bytes-used", bytes);
                made(answer, StatusCode::NO_CONTENT, "")
            }
            (&Method::GET, Some(objects)) => list(objects, request.uri().query().unwrap_or("")),
            _ => page(StatusCode::METHOD_NOT_ALLOWED),
        }
    }

    fn object(
        &self,
        request: &Request<Incoming>,
        (container, name): (&str, &str),
        body: Bytes,
    ) -> Answer {
        let mut held = self.held();
        let Some(objects) = held.containers.get_mut(container) else {
            return page(StatusCode::NOT_FOUND);
        };
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        match (request.method(), objects.get(name)) {
            (&Method::PUT, there) => {
                if there.is_some() && header("if-none-match") == Some("*") {
                    return page(StatusCode::PRECONDITION_FAILED);
                }
                let tag = tag_of(&body);
                if header("etag").is_some_and(|told| told.trim_matches('"') != tag) {
                    return page(StatusCode::UNPROCESSABLE_ENTITY);
                }
                let modified = SystemTime::now();
                objects.insert(name.to_owned(), Object { bytes: body, modified });
                made(Response::builder().header("etag", tag), StatusCode::CREATED, "")
            }
            (_, None) => page(StatusCode::NOT_FOUND),
            (&Method::DELETE, Some(_)) => {
                objects.remove(name);
                made(Response::builder(), StatusCode::NO_CONTENT, "")
            }
            (&Method::GET | &Method::HEAD, Some(object)) => read(object, header("range")),
            _ => page(StatusCode::METHOD_NOT_ALLOWED),
        }
    }
}

async fn serve(state: Arc<State>, mut request: Request<Incoming>) -> Result<Answer, Infallible> {
    let Ok(body) = request.body_mut().collect().await else {
        return Ok(page(StatusCode::BAD_REQUEST));
    };
    let body = body.to_bytes();
    let path = request.uri().path().to_owned();
    let Some(rest) = path.strip_prefix(ACCOUNT) else {
        return Ok(state.log_in(&request, &body));
    };
    if !state.is_in(&request) {
        return Ok(page(StatusCode::UNAUTHORIZED));
    }
    let rest = decoded(rest.trim_start_matches('/'));
    let answer = match rest.split_once('/').filter(|(_container, name)| !name.is_empty()) {
        Some(at) => state.object(&request, at, body),
        None if rest.is_empty() => made(Response::builder(), StatusCode::NO_CONTENT, ""),
        None => state.container(&request, rest.trim_end_matches('/')),
    };
    // Of an answer to HEAD only the length is told.
    Ok(answer)
}

fn list(objects: &BTreeMap<String, Object>, query: &str) -> Answer {
    let asked = |name: &str| asked(query, name);
    let (prefix, marker) =
        (asked("prefix").unwrap_or_default(), asked("marker").unwrap_or_default());
    let delimiter = asked("delimiter").filter(|it| !it.is_empty());
    let limit = asked("limit").and_then(|text| text.parse().ok()).unwrap_or(PAGE).min(PAGE);
    let mut rows: Vec<String> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for (name, object) in objects.iter().filter(|(name, _)| name.starts_with(&prefix)) {
        if rows.len() == limit {
            break;
        }
        let group = delimiter.as_deref().and_then(|delimiter| {
            let (head, _) = name[prefix.len()..].split_once(delimiter)?;
            Some(format!("{prefix}{head}{delimiter}"))
        });
        let shown = group.clone().unwrap_or_else(|| name.clone());
        if shown.as_str() <= marker.as_str() || names.last() == Some(&shown) {
            continue;
        }
        rows.push(match group {
            Some(group) => format!(r#"{{"subdir":"{group}"}}"#),
            None => format!(
                r#"{{"name":"{name}","bytes":{},"hash":"{}","last_modified":"{}",
                "content_type":"application/octet-stream"}}"#,
                object.bytes.len(),
                tag_of(&object.bytes),
                listed_time(object.modified)
            ),
        });
        names.push(shown);
    }
    match asked("format").as_deref() {
        Some("json") => made(json(), StatusCode::OK, &format!("[{}]", rows.join(","))),
        _ => {
            let text: String = names.iter().map(|name| format!("{name}\n")).collect();
            made(Response::builder(), StatusCode::OK, &text)
        }
    }
}

fn read(object: &Object, range: Option<&str>) -> Answer {
    let seconds = object.modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let ceiling = Duration::from_secs(seconds.as_secs() + u64::from(seconds.subsec_nanos() > 0));
    let answer = Response::builder()
        .header("etag", tag_of(&object.bytes))
        .header("accept-ranges", "bytes")
        .header("content-type", "application/octet-stream")
        .header("last-modified", http_date(ceiling.as_secs()))
        .header("x-timestamp", format!("{}.{:05}", seconds.as_secs(), 0));
    let len = object.bytes.len();
    let Some(Range { start, end }) = span(range, len) else {
        return body(answer, StatusCode::OK, object.bytes.clone());
    };
    if start >= end {
        return page(StatusCode::RANGE_NOT_SATISFIABLE);
    }
    let told = format!("bytes {start}-{}/{len}", end - 1);
    let answer = answer.header("content-range", told);
    body(answer, StatusCode::PARTIAL_CONTENT, object.bytes.slice(start..end))
}

fn tag_of(bytes: &Bytes) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn json() -> hyper::http::response::Builder {
    Response::builder().header("content-type", "application/json; charset=utf-8")
}

fn made(answer: hyper::http::response::Builder, status: StatusCode, text: &str) -> Answer {
    body(answer, status, Bytes::copy_from_slice(text.as_bytes()))
}

fn body(answer: hyper::http::response::Builder, status: StatusCode, bytes: Bytes) -> Answer {
    let answer = answer.status(status).header("x-trans-id", "tx-test");
    answer.body(Full::new(bytes)).expect("an answer")
}

/// As such servers refuse.
fn page(status: StatusCode) -> Answer {
    let answer = Response::builder().header("content-type", "text/html; charset=UTF-8");
    made(answer, status, &format!("<html><h1>{status}</h1></html>"))
}
