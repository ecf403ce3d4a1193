//! What is answered to a request.
//!
//! Invariants
//! - `GET`, `HEAD`, `OPTIONS` and `PROPFIND` are all there is; whatever would write is refused.
//! - A part of a path is a name as it stands: none leads upwards or is taken for two.
//! - An answer never lets a browser run anything or fetch anything from elsewhere.

use std::{sync::Arc, time::Duration};

use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body as _, Bytes, Incoming},
    header::{self, HeaderName, HeaderValue},
    http::{request::Parts, response::Builder},
};
use percent_encoding::percent_decode_str;
use tokio::{runtime::Handle, sync::Semaphore};
use windlass_engine::{
    browse::{Attributes, BrowseError, Browser, File, Item, Node, Shape},
    cancel::Cancel,
    dump::{Dumper, Format},
    fault::Fault,
    repository::Repository,
    target::fs::is_safe_name,
};

use super::{
    body::{Answer, PIECE_BYTES, Pieces, Pipe},
    door::{Door, Refusal},
    media, moment, page,
    properties::{self, Resource, Wanted},
    range::{self, Part},
};
use crate::{command::reading, output::Output, session::Session};

/// What may read at once; further ones wait.
const MOST_READERS: usize = 16;
/// Archives that are made at once; a further one is refused.
const MOST_ARCHIVES: usize = 2;
/// Bytes of a request that are read.
const MOST_REQUEST_BYTES: usize = 64 << 10;
/// Names of a directory that are asked for at once.
const PAGE_ITEMS: usize = 512;
/// How long a wrong login takes.
const LOGIN_PAUSE: Duration = Duration::from_secs(1);

const ALLOW: HeaderValue = HeaderValue::from_static("OPTIONS, GET, HEAD, PROPFIND");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

/// What is served.
#[derive(Debug)]
pub(super) struct Site {
    browser: Browser,
    repository: Arc<Repository>,
    door: Door,
    output: Arc<Output>,
    cancel: Cancel,
    readers: Semaphore,
    archives: Arc<Semaphore>,
}

/// What a request is about.
struct Found {
    names: Vec<Vec<u8>>,
    node: Node,
    attributes: Attributes,
}

impl Found {
    fn name(&self) -> &[u8] {
        self.names.last().map_or(b"", Vec::as_slice)
    }

    /// Its path as a link.
    fn href(&self) -> String {
        let mut href = String::new();
        for name in &self.names {
            href.push('/');
            href.push_str(&page::encoded(name));
        }
        if self.attributes.shape == Shape::Directory || href.is_empty() {
            href.push('/');
        }
        href
    }

    fn path(&self) -> Vec<u8> {
        [b"/", self.names.join(&b'/').as_slice()].concat()
    }
}

impl Site {
    pub(super) fn new(
        browser: Browser,
        repository: Arc<Repository>,
        door: Door,
        session: &Session,
    ) -> Self {
        Self {
            browser,
            repository,
            door,
            output: Arc::clone(&session.output),
            cancel: session.cancel.clone(),
            readers: Semaphore::new(MOST_READERS),
            archives: Arc::new(Semaphore::new(MOST_ARCHIVES)),
        }
    }

    /// Whether whoever connects from there may ask.
    pub(super) async fn lets_in(self: &Arc<Self>, peer: std::net::SocketAddr) -> bool {
        let site = Arc::clone(self);
        tokio::task::spawn_blocking(move || site.door.lets_in(peer)).await.unwrap_or(false)
    }

    /// Answers on a connection that `line` ends.
    pub(super) async fn answer(
        self: &Arc<Self>,
        request: Request<Incoming>,
        line: &Cancel,
    ) -> Response<Answer> {
        let (head, body) = request.into_parts();
        match self.door.check(&head) {
            Ok(()) => {}
            Err(Refusal::Host) => {
                let why = "This is not the name of the machine that snapshots are served on.\n";
                return plain(StatusCode::MISDIRECTED_REQUEST, why);
            }
            Err(Refusal::Login) => {
                tokio::time::sleep(LOGIN_PAUSE).await;
                let mut answer = plain(StatusCode::UNAUTHORIZED, "A name and password, please.\n");
                let ask = HeaderValue::from_static("Basic realm=\"snapshots\", charset=\"UTF-8\"");
                answer.headers_mut().insert(header::WWW_AUTHENTICATE, ask);
                return answer;
            }
        }
        match head.method.as_str() {
            "GET" | "HEAD" => match self.find(&head).await {
                Ok(found) => self.get(&head, found, line).await,
                Err(answer) => answer,
            },
            "PROPFIND" => self.properties(&head, body, line).await,
            "OPTIONS" => {
                let mut answer = built(StatusCode::OK, |answer| answer, Answer::empty());
                add(&mut answer, header::ALLOW, ALLOW);
                add(&mut answer, DAV, HeaderValue::from_static("1"));
                // What Windows asks for before it takes this for WebDAV.
                add(&mut answer, MS_AUTHOR_VIA, HeaderValue::from_static("DAV"));
                answer
            }
            _ => {
                let why = "Snapshots are only read.\n";
                let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, why);
                add(&mut answer, header::ALLOW, ALLOW);
                answer
            }
        }
    }

    /// What the path of a request leads to.
    async fn find(self: &Arc<Self>, head: &Parts) -> Result<Found, Response<Answer>> {
        let parts = head.uri.path().split('/').filter(|part| !part.is_empty());
        let names: Vec<Vec<u8>> = parts.map(|part| percent_decode_str(part).collect()).collect();
        if !names.iter().all(|name| is_safe_name(name)) {
            return Err(not_found());
        }
        let (browser, asked) = (self.browser.clone(), names.clone());
        let found = self.blocking(move || browser.find(asked.iter().map(Vec::as_slice))).await;
        match found {
            Ok((node, attributes)) => Ok(Found { names, node, attributes }),
            Err(error) => Err(self.failed(head.uri.path().as_bytes(), &error)),
        }
    }

    async fn get(self: &Arc<Self>, head: &Parts, found: Found, line: &Cancel) -> Response<Answer> {
        let has_body = head.method != Method::HEAD;
        match found.attributes.shape {
            Shape::File => self.file(head, found, line).await,
            Shape::Directory => {
                if !head.uri.path().ends_with('/') {
                    let to = HeaderValue::from_str(&found.href());
                    let mut answer = plain(StatusCode::MOVED_PERMANENTLY, "It is a directory.\n");
                    to.into_iter().for_each(|to| add(&mut answer, header::LOCATION, to));
                    return answer;
                }
                match head.uri.query() {
                    Some("tar") => self.archive(Format::Tar, found, has_body, line).await,
                    Some("zip") => self.archive(Format::Zip, found, has_body, line).await,
                    _ => self.directory(found, has_body, line),
                }
            }
            shape => {
                let what = page::word(shape);
                plain(StatusCode::NOT_FOUND, format!("There is a {what}, which has no content.\n"))
            }
        }
    }

    async fn file(self: &Arc<Self>, head: &Parts, found: Found, line: &Cancel) -> Response<Answer> {
        let (browser, node) = (self.browser.clone(), found.node.clone());
        let file = match self.blocking(move || browser.open(&node)).await {
            Ok(file) => file,
            Err(error) => return self.failed(&found.path(), &error),
        };
        let tag = tag(&found.node).unwrap_or_default();
        let date = moment::http(&found.attributes.mtime);
        let size = file.size_bytes();
        let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        let describe = |answer: Builder| {
            let answer = answer
                .header(header::ETAG, &tag)
                .header(header::ACCEPT_RANGES, "bytes")
                .header(header::CACHE_CONTROL, "private, no-cache");
            match &date {
                Some(date) => answer.header(header::LAST_MODIFIED, date),
                None => answer,
            }
        };
        let is_known = match (text(header::IF_NONE_MATCH), text(header::IF_MODIFIED_SINCE)) {
            (Some(tags), _) => tags
                .split(',')
                .any(|one| one.trim() == "*" || one.trim().trim_start_matches("W/") == tag),
            (None, Some(since)) => moment::second(since)
                .is_some_and(|since| date.is_some() && found.attributes.mtime.seconds <= since),
            (None, None) => false,
        };
        if is_known {
            return built(StatusCode::NOT_MODIFIED, describe, Answer::empty());
        }
        // A part of what it was before is no part of what it is now.
        let is_same = text(header::IF_RANGE).is_none_or(|if_range| {
            if_range == tag || date.as_deref().is_some_and(|date| date == if_range)
        });
        let part = match text(header::RANGE).filter(|_| is_same) {
            Some(range) => range::part(range, size),
            None => Part::Whole,
        };
        let (status, from, end) = match part {
            Part::Whole => (StatusCode::OK, 0, size),
            Part::Range { from, end } => (StatusCode::PARTIAL_CONTENT, from, end),
            Part::Beyond => {
                let mut answer = plain(StatusCode::RANGE_NOT_SATISFIABLE, "It is not that long.\n");
                if let Ok(all) = HeaderValue::from_str(&format!("bytes */{size}")) {
                    add(&mut answer, header::CONTENT_RANGE, all);
                }
                return answer;
            }
        };
        let media = media::of(found.name());
        let describe = |answer: Builder| {
            let answer = describe(answer)
                .header(header::CONTENT_TYPE, media.name)
                .header(header::CONTENT_LENGTH, end - from)
                .header(header::CONTENT_DISPOSITION, disposition(found.name(), media.is_shown));
            match part {
                Part::Range { from, end } => {
                    let range = format!("bytes {from}-{}/{size}", end - 1);
                    answer.header(header::CONTENT_RANGE, range)
                }
                _ => answer,
            }
        };
        if head.method == Method::HEAD || from == end {
            return built(status, describe, Answer::empty());
        }
        let (pieces, body) = Answer::made(Some(end - from), line);
        let answer = built(status, describe, body);
        tokio::spawn(Arc::clone(self).send_file(file, from..end, found, pieces));
        answer
    }

    async fn send_file(
        self: Arc<Self>,
        file: File,
        range: std::ops::Range<u64>,
        found: Found,
        pieces: Pieces,
    ) {
        let file = Arc::new(file);
        let mut at = range.start;
        while at < range.end {
            let most = (range.end - at).min(PIECE_BYTES as u64) as usize;
            let (browser, of) = (self.browser.clone(), Arc::clone(&file));
            match self.blocking(move || Ok(browser.read(&of, at, most)?)).await {
                Ok(bytes) => {
                    at += bytes.len() as u64;
                    if pieces.send(bytes).await.is_err() {
                        return;
                    }
                }
                Err(error) => return self.break_off(&found, &error, pieces).await,
            }
        }
    }

    fn directory(
        self: &Arc<Self>,
        found: Found,
        has_body: bool,
        line: &Cancel,
    ) -> Response<Answer> {
        let describe = |answer: Builder| {
            answer
                .header(header::CONTENT_TYPE, "text/html; charset=utf-8")
                .header(header::CACHE_CONTROL, "no-store")
        };
        if !has_body {
            return built(StatusCode::OK, describe, Answer::empty());
        }
        let (pieces, body) = Answer::made(None, line);
        let site = Arc::clone(self);
        tokio::spawn(async move {
            let begin = page::begin(&found.names, found.node.is_stored());
            let row = |page: &mut String, browser: &Browser, item: &Item| {
                let is_link = item.attributes.shape == Shape::Symlink;
                let target = is_link.then(|| browser.target(&item.node).ok()).flatten();
                page::row(page, item, target.as_deref());
            };
            site.send_list(&found, begin, row, page::end, pieces).await;
        });
        built(StatusCode::OK, describe, body)
    }

    /// Sends something for each name in a directory, a few at a time.
    async fn send_list(
        self: &Arc<Self>,
        found: &Found,
        begin: String,
        each: impl Fn(&mut String, &Browser, &Item) + Clone + Send + 'static,
        end: impl FnOnce(bool) -> String,
        pieces: Pieces,
    ) {
        let (browser, node) = (self.browser.clone(), found.node.clone());
        let listing = match self.blocking(move || browser.list(&node)).await {
            Ok(listing) => listing,
            Err(error) => return self.break_off(found, &error, pieces).await,
        };
        if pieces.send(begin).await.is_err() {
            return;
        }
        let (mut from, mut is_empty) = (Some(0), true);
        while let Some(at) = from {
            let (browser, listing, each) = (self.browser.clone(), listing.clone(), each.clone());
            let made = move || {
                let page = browser.page(&listing, at, PAGE_ITEMS)?;
                let mut text = String::new();
                page.items.iter().for_each(|item| each(&mut text, &browser, item));
                Ok((text, page.next))
            };
            match self.blocking(made).await {
                Ok((text, next)) => {
                    is_empty &= text.is_empty();
                    from = next;
                    if !text.is_empty() && pieces.send(text).await.is_err() {
                        return;
                    }
                }
                Err(error) => return self.break_off(found, &error, pieces).await,
            }
        }
        let _gone_or_not = pieces.send(end(is_empty)).await;
    }

    async fn archive(
        self: &Arc<Self>,
        format: Format,
        found: Found,
        has_body: bool,
        line: &Cancel,
    ) -> Response<Answer> {
        let (browser, node) = (self.browser.clone(), found.node.clone());
        let tree = match self.blocking(move || browser.tree(&node)).await {
            Ok(tree) => tree,
            Err(BrowseError::NotADirectory) => return not_found(),
            Err(error) => return self.failed(&found.path(), &error),
        };
        let Ok(place) = Arc::clone(&self.archives).try_acquire_owned() else {
            let why = "Other archives are being made; try again in a moment.\n";
            let mut answer = plain(StatusCode::SERVICE_UNAVAILABLE, why);
            add(&mut answer, header::RETRY_AFTER, HeaderValue::from_static("10"));
            return answer;
        };
        let dumper = match Dumper::new(&self.repository, &self.cancel).await {
            Ok(dumper) => dumper,
            Err(fault) => return self.failed(&found.path(), &fault.into()),
        };
        let (media, extension) = match format {
            Format::Tar => ("application/x-tar", "tar"),
            Format::Zip => ("application/zip", "zip"),
        };
        let name = [found.name(), b".", extension.as_bytes()].concat();
        let describe = |answer: Builder| {
            answer
                .header(header::CONTENT_TYPE, media)
                .header(header::CACHE_CONTROL, "no-store")
                .header(header::CONTENT_DISPOSITION, disposition(&name, false))
        };
        if !has_body {
            return built(StatusCode::OK, describe, Answer::empty());
        }
        let (pieces, body) = Answer::made(None, line);
        let (site, runtime) = (Arc::clone(self), Handle::current());
        tokio::task::spawn_blocking(move || {
            let top = [b"/", found.name()].concat();
            let mut pipe = Pipe { pieces: &pieces, runtime: runtime.clone() };
            let mut refused = |path: &[u8], why: &windlass_engine::dump::Refused| {
                reading::problem(&site.output, "serve", path, why);
            };
            let made = dumper.archive(format, &tree, &top, &mut pipe, &mut refused);
            drop(place);
            if let Err(error) = made {
                if !matches!(error, windlass_engine::dump::DumpError::Write(_)) {
                    reading::problem(&site.output, "serve", &found.path(), &error);
                }
                runtime.block_on(pieces.break_off());
            }
        });
        built(StatusCode::OK, describe, body)
    }

    async fn properties(
        self: &Arc<Self>,
        head: &Parts,
        body: Incoming,
        line: &Cancel,
    ) -> Response<Answer> {
        let found = match self.find(head).await {
            Ok(found) => found,
            Err(answer) => return answer,
        };
        let depth = head.headers.get("depth").map(HeaderValue::as_bytes);
        let with_content = match depth {
            Some(b"0") => false,
            Some(b"1") => true,
            // Everything below at once is the whole repository.
            _ => return xml(StatusCode::FORBIDDEN, Answer::text(properties::NOT_ALL_AT_ONCE)),
        };
        let is_stored = found.node.is_stored();
        let Some(is_directory) = properties::is_directory(found.attributes.shape, is_stored) else {
            return not_found();
        };
        let Some(wanted) = read(body).await.and_then(|body| Wanted::read(&body)) else {
            return plain(StatusCode::BAD_REQUEST, "This is no list of properties.\n");
        };
        let href = found.href();
        let tag = tag_of(&found.node, is_directory);
        let of_it = Resource {
            href: &href,
            name: found.name(),
            attributes: &found.attributes,
            is_directory,
            tag: tag.as_deref(),
        };
        let mut begin = properties::BEGIN.to_owned();
        properties::push(&mut begin, &wanted, &of_it);
        if !(with_content && is_directory) {
            begin.push_str(properties::END);
            return xml(StatusCode::MULTI_STATUS, Answer::text(begin));
        }
        let (pieces, body) = Answer::made(None, line);
        let site = Arc::clone(self);
        tokio::spawn(async move {
            let each = move |out: &mut String, _browser: &Browser, item: &Item| {
                let shape = item.attributes.shape;
                let is_directory = properties::is_directory(shape, item.node.is_stored());
                let Some(is_directory) = is_directory else { return };
                let slash = if is_directory { "/" } else { "" };
                let href = format!("{href}{}{slash}", page::encoded(&item.name));
                let tag = tag_of(&item.node, is_directory);
                let resource = Resource {
                    href: &href,
                    name: &item.name,
                    attributes: &item.attributes,
                    is_directory,
                    tag: tag.as_deref(),
                };
                properties::push(out, &wanted, &resource);
            };
            let end = |_is_empty| properties::END.to_owned();
            site.send_list(&found, begin, each, end, pieces).await;
        });
        xml(StatusCode::MULTI_STATUS, body)
    }

    /// Does what may block, of which there is a bounded number at once.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, BrowseError> + Send + 'static,
    ) -> Result<T, BrowseError> {
        let _place = self.readers.acquire().await;
        let panicked = |_panic| Err(Fault::Bug("reading a snapshot panicked").into());
        tokio::task::spawn_blocking(work).await.unwrap_or_else(panicked)
    }

    fn failed(&self, path: &[u8], error: &BrowseError) -> Response<Answer> {
        match error {
            BrowseError::Fault(_) => {
                self.tell(path, error);
                plain(StatusCode::INTERNAL_SERVER_ERROR, format!("It cannot be read: {error}\n"))
            }
            _ => not_found(),
        }
    }

    /// Ends an answer in its middle.
    async fn break_off(&self, found: &Found, error: &BrowseError, pieces: Pieces) {
        self.tell(&found.path(), error);
        pieces.break_off().await;
    }

    fn tell(&self, path: &[u8], error: &BrowseError) {
        if !self.cancel.is_cancelled() {
            reading::problem(&self.output, "serve", path, error);
        }
    }
}

const DAV: HeaderName = HeaderName::from_static("dav");
const MS_AUTHOR_VIA: HeaderName = HeaderName::from_static("ms-author-via");

/// What is said to those who may not ask.
pub(super) fn not_let_in() -> Response<Answer> {
    let why = "Only the user who serves these snapshots may see them without a login; \
        see `windlass serve --user`.\n";
    plain(StatusCode::FORBIDDEN, why)
}

fn not_found() -> Response<Answer> {
    plain(StatusCode::NOT_FOUND, "There is nothing of this name.\n")
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Answer> {
    let media = "text/plain; charset=utf-8";
    let describe = |answer: Builder| answer.header(header::CONTENT_TYPE, media);
    built(status, describe, Answer::text(text))
}

fn xml(status: StatusCode, body: Answer) -> Response<Answer> {
    let media = "application/xml; charset=utf-8";
    built(status, |answer| answer.header(header::CONTENT_TYPE, media), body)
}

/// An answer with what every answer has.
fn built(
    status: StatusCode,
    describe: impl FnOnce(Builder) -> Builder,
    body: Answer,
) -> Response<Answer> {
    let answer = Response::builder()
        .status(status)
        .header(header::CONTENT_SECURITY_POLICY, POLICY)
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(header::REFERRER_POLICY, "no-referrer")
        .header("cross-origin-resource-policy", "same-origin");
    describe(answer).body(body).unwrap_or_else(|_header_that_cannot_be| {
        let mut answer = Response::new(Answer::empty());
        *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        answer
    })
}

fn add(answer: &mut Response<Answer>, name: HeaderName, value: HeaderValue) {
    answer.headers_mut().insert(name, value);
}

/// What tells the content from every other.
fn tag(node: &Node) -> Option<String> {
    node.fingerprint().map(|fingerprint| format!("\"{fingerprint}\""))
}

fn tag_of(node: &Node, is_directory: bool) -> Option<String> {
    if is_directory { None } else { tag(node) }
}

/// Whether a browser stores or shows it, and under which name.
fn disposition(name: &[u8], is_shown: bool) -> String {
    let kind = if is_shown { "inline" } else { "attachment" };
    let text = String::from_utf8_lossy(name);
    format!("{kind}; filename*=UTF-8''{}", page::encoded(text.as_bytes()))
}

/// The body of a request; `None` if it is too long or breaks off.
async fn read(mut body: Incoming) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let frame =
            std::future::poll_fn(|context| std::pin::Pin::new(&mut body).poll_frame(context));
        let Some(frame) = frame.await else { return Some(bytes) };
        if let Ok(data) = frame.ok()?.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > MOST_REQUEST_BYTES {
            return None;
        }
    }
}
