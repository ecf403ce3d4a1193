//! Google Drive in this process, its files in memory, with the service that gives tokens.
//!
//! Invariants
//! - It follows what is written of the service where that is awkward: several files may have one
//!   name, lists come in parts and can be late, a folder that is not shared is one that there is
//!   not, ends of ranges behind the object are cut, numbers are text.
//! - A query that it does not know is refused, so that nothing is found by chance.
//! - It listens on loopback alone, on threads of its own that end when it is dropped.
//!
//! Not here: quotas, several accounts, revisions, and uploads in several pieces.

mod query;
mod robot;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, StatusCode, body::Incoming};
use md5::{Digest, Md5};
use serde_json::{Value, json};

use self::{query::Query, robot::Robot};
use crate::{
    loopback::Loopback,
    wire::{asked, listed_time, span},
};

/// The folder that is shared.
pub const FOLDER: &str = "folder-That_is-shared";
/// The token that renews itself.
pub const REFRESH_TOKEN: &str = "refresh me";

/// A running server.
#[derive(Debug)]
pub struct DriveServer {
    state: Arc<State>,
    server: Loopback,
}

#[derive(Debug, Default)]
struct State {
    address: Mutex<Option<SocketAddr>>,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    nodes: BTreeMap<String, Node>,
    sessions: BTreeMap<String, Draft>,
    last_id: u64,
    /// Tokens are numbered, and the newest counts.
    tokens: u64,
    expired: u64,
    robot: Option<Robot>,
    /// Whether lists leave out what comes from now on.
    is_late: bool,
    may_delete: bool,
    may_trash: bool,
}

/// A file or folder.
#[derive(Clone, Debug)]
struct Node {
    name: String,
    kind: String,
    parent: String,
    bytes: Bytes,
    created: SystemTime,
    modified: SystemTime,
    is_trashed: bool,
    is_hidden: bool,
}

/// What is to be stored, and as what.
#[derive(Clone, Debug)]
struct Draft {
    id: Option<String>,
    about: Value,
}

/// Rows of a list at most.
const PAGE: usize = 40;
const FOLDER_KIND: &str = "application/vnd.google-apps.folder";
const FILES: &str = "/drive/v3/files";
const UPLOADS: &str = "/upload/drive/v3/files";

type Answer = Response<Full<Bytes>>;

impl DriveServer {
    /// With one folder, and nothing in it.
    ///
    /// # Panics
    /// Where no port can be had.
    #[must_use]
    pub fn start() -> Self {
        let state = Arc::new(State::default());
        let mut held = state.held();
        (held.may_delete, held.may_trash) = (true, true);
        held.nodes.insert(FOLDER.to_owned(), Node::new("shared", FOLDER_KIND, "elsewhere"));
        drop(held);
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

    /// The login of a user, as a file of it holds it.
    #[must_use]
    pub fn user(&self) -> String {
        json!({
            "type": "authorized_user",
            "client_id": "a client",
            "client_secret": "its secret",
            "refresh_token": REFRESH_TOKEN,
            "token_uri": self.token_uri(),
        })
        .to_string()
    }

    /// The key of a service account, as a file of it holds it; `None` where there is no OpenSSL to
    /// make one in `directory`.
    #[must_use]
    pub fn robot(&self, directory: &Path) -> Option<String> {
        let robot = Robot::new(directory)?;
        let file = robot.file(&self.token_uri());
        self.state.held().robot = Some(robot);
        Some(file)
    }

    fn token_uri(&self) -> String {
        format!("http://{}/token", self.address())
    }

    /// A token that ends with [`Self::expire_tokens`].
    #[must_use]
    pub fn token(&self) -> String {
        self.state.held().token()
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

    /// Whether lists leave out what is stored from now on; those that were left out are shown again
    /// where they do not.
    pub fn be_late(&self, is_late: bool) {
        let mut held = self.state.held();
        held.is_late = is_late;
        if !is_late {
            held.nodes.values_mut().for_each(|node| node.is_hidden = false);
        }
    }

    /// Whether files may be removed for good, and into the trash.
    pub fn allow(&self, may_delete: bool, may_trash: bool) {
        let mut held = self.state.held();
        (held.may_delete, held.may_trash) = (may_delete, may_trash);
    }

    /// Shares the folder with nobody any more.
    pub fn unshare(&self) {
        self.state.held().nodes.remove(FOLDER);
    }

    /// Puts the folder itself into the trash.
    ///
    /// # Panics
    /// Never: it is there.
    pub fn trash_folder(&self) {
        self.state.held().nodes.get_mut(FOLDER).expect("the folder").is_trashed = true;
    }

    /// Stores a file beside all that there are, however many have its name, and gives its id. The
    /// folders on the way have to be there.
    ///
    /// # Panics
    /// Where one is not.
    pub fn plant(&self, path: &str, bytes: impl Into<Bytes>) -> String {
        self.plant_as(path, "application/octet-stream", bytes)
    }

    /// Makes a folder beside all that there are, however many have its name.
    ///
    /// # Panics
    /// Where one on the way is not there.
    pub fn plant_folder(&self, path: &str) -> String {
        self.plant_as(path, FOLDER_KIND, Bytes::new())
    }

    /// The same for any kind of file.
    ///
    /// # Panics
    /// Where a folder on the way is not there.
    pub fn plant_as(&self, path: &str, kind: &str, bytes: impl Into<Bytes>) -> String {
        let mut held = self.state.held();
        let (way, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut parent = FOLDER.to_owned();
        for name in way.split('/').filter(|name| !name.is_empty()) {
            let mut here = held.nodes.iter().filter(|(_id, node)| node.is_in(&parent));
            let found = here.find(|(_id, node)| node.name == name).map(|(id, _node)| id.clone());
            parent = found.unwrap_or_else(|| panic!("there is no folder {name}"));
        }
        let mut node = Node { bytes: bytes.into(), ..Node::new(name, kind, &parent) };
        // Nobody has to guess which of two is older.
        let latest = held.nodes.values().map(|node| node.created).max();
        node.created = latest.map_or(node.created, |latest| latest + Duration::from_millis(1));
        held.add(node)
    }

    /// The names of all files that are not in the trash, with their way from the folder, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let held = self.state.held();
        let files = held.nodes.values().filter(|node| node.kind != FOLDER_KIND && !node.is_trashed);
        let mut names: Vec<_> = files.map(|node| held.path(node)).collect();
        names.sort();
        names
    }

    /// Writes all files that are not in the trash into a directory, the oldest of each name.
    ///
    /// # Panics
    /// Where they cannot be written.
    pub fn copy_to(&self, directory: &Path) {
        let held = self.state.held();
        let mut nodes: Vec<_> = held.nodes.iter().filter(|(_id, node)| !node.is_trashed).collect();
        nodes.sort_by_key(|(id, node)| std::cmp::Reverse((node.created, *id)));
        for (id, node) in nodes {
            let path = directory.join(held.path(node));
            match node.kind.as_str() {
                _ if id == FOLDER => {}
                FOLDER_KIND => fs::create_dir_all(path).expect("made"),
                _ => {
                    fs::create_dir_all(path.parent().expect("a directory")).expect("made");
                    fs::write(path, &node.bytes).expect("written");
                }
            }
        }
    }

    /// How many files are in the trash.
    #[must_use]
    pub fn trashed(&self) -> usize {
        self.state.held().nodes.values().filter(|node| node.is_trashed).count()
    }
}

impl Node {
    fn new(name: &str, kind: &str, parent: &str) -> Self {
        // The service knows no shorter time.
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let millis = u64::try_from(since.as_millis()).expect("not yet");
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        Self {
            name: name.to_owned(),
            kind: kind.to_owned(),
            parent: parent.to_owned(),
            bytes: Bytes::new(),
            created: now,
            modified: now,
            is_trashed: false,
            is_hidden: false,
        }
    }

    fn is_in(&self, parent: &str) -> bool {
        self.parent == parent
    }

    fn json(&self, id: &str) -> Value {
        let mut told = json!({
            "kind": "drive#file",
            "id": id,
            "name": self.name,
            "mimeType": self.kind,
            "createdTime": time(self.created),
            "modifiedTime": time(self.modified),
            "trashed": self.is_trashed,
        });
        if !self.kind.starts_with("application/vnd.google-apps.") {
            told["size"] = json!(self.bytes.len().to_string());
            let digest = Md5::digest(&self.bytes);
            let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            told["md5Checksum"] = json!(digest);
        }
        told
    }
}

impl Held {
    fn token(&mut self) -> String {
        self.tokens += 1;
        format!("token-{}", self.tokens)
    }

    fn add(&mut self, mut node: Node) -> String {
        self.last_id += 1;
        // Later ones are not greater.
        let id = format!("{:04x}-{}", (self.last_id * 40_503) % 65_536, self.last_id);
        let latest = self.nodes.values().map(|node| node.created).max();
        node.created = latest.map_or(node.created, |latest| node.created.max(latest));
        node.is_hidden = self.is_late;
        self.nodes.insert(id.clone(), node);
        id
    }

    fn path(&self, node: &Node) -> String {
        match self.nodes.get(&node.parent) {
            Some(parent) if node.parent != FOLDER => format!("{}/{}", self.path(parent), node.name),
            _ => node.name.clone(),
        }
    }

    /// What a query finds, a part of it, the oldest first.
    fn list(&self, query: &str) -> Answer {
        let asked = |name: &str| asked(query, name);
        let Some(wanted) = asked("q").as_deref().and_then(Query::parse) else {
            return refusal(StatusCode::BAD_REQUEST, "invalid", "Invalid Value");
        };
        if asked("includeItemsFromAllDrives").as_deref() != Some("true") {
            return refusal(StatusCode::BAD_REQUEST, "invalid", "shared drives are left out");
        }
        if wanted.parents().any(|parent| !self.nodes.contains_key(parent)) {
            return refusal(StatusCode::NOT_FOUND, "notFound", "File not found: .");
        }
        let mut found: Vec<_> = self
            .nodes
            .iter()
            .filter(|(_id, node)| {
                !node.is_hidden
                    && wanted.fits(&node.parent, &node.name, &node.kind, node.is_trashed)
            })
            .collect();
        found.sort_by_key(|(id, node)| (node.created, *id));
        let from: usize = asked("pageToken").and_then(|token| token.parse().ok()).unwrap_or(0);
        let size = asked("pageSize").and_then(|text| text.parse().ok()).unwrap_or(PAGE).min(PAGE);
        let rows = found.iter().skip(from).take(size).map(|(id, node)| node.json(id));
        let mut told = json!({ "kind": "drive#fileList", "files": rows.collect::<Vec<_>>() });
        if from + size < found.len() {
            told["nextPageToken"] = json!((from + size).to_string());
        }
        made(StatusCode::OK, &told)
    }

    fn one(&mut self, request: &Request<Incoming>, id: &str, body: &Bytes) -> Answer {
        let query = request.uri().query().unwrap_or("");
        let not_found =
            || refusal(StatusCode::NOT_FOUND, "notFound", &format!("File not found: {id}."));
        let Some(node) = self.nodes.get_mut(id) else { return not_found() };
        let refused = || {
            let why = "The user does not have sufficient permissions for this file.";
            refusal(StatusCode::FORBIDDEN, "insufficientFilePermissions", why)
        };
        match *request.method() {
            Method::GET if asked(query, "alt").as_deref() == Some("media") => {
                let range = request.headers().get("range").and_then(|value| value.to_str().ok());
                content(node, range)
            }
            Method::GET => made(StatusCode::OK, &node.json(id)),
            Method::DELETE if !self.may_delete => refused(),
            Method::DELETE => {
                self.nodes.remove(id);
                Response::builder().status(204).body(Full::default()).expect("an answer")
            }
            Method::PATCH if !self.may_trash => refused(),
            Method::PATCH => {
                let about: Value = serde_json::from_slice(body).unwrap_or_default();
                node.is_trashed = about["trashed"] == true;
                made(StatusCode::OK, &node.json(id))
            }
            _ => refusal(StatusCode::METHOD_NOT_ALLOWED, "methodNotAllowed", "no"),
        }
    }

    /// Stores a whole file, new or in the place of another's content.
    fn store(&mut self, draft: Draft, bytes: Bytes) -> Answer {
        let text = |key: &str| draft.about[key].as_str().unwrap_or_default().to_owned();
        let id = match draft.id {
            Some(id) => id,
            None => {
                let parent = draft.about["parents"][0].as_str().unwrap_or("root").to_owned();
                if !self.nodes.contains_key(&parent) {
                    let why = format!("File not found: {parent}.");
                    return refusal(StatusCode::NOT_FOUND, "notFound", &why);
                }
                self.add(Node::new(&text("name"), &text("mimeType"), &parent))
            }
        };
        let Some(node) = self.nodes.get_mut(&id) else {
            return refusal(StatusCode::NOT_FOUND, "notFound", "File not found.");
        };
        (node.bytes, node.modified) = (bytes, Node::new("", "", "").modified);
        made(StatusCode::OK, &node.json(&id))
    }
}

impl State {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn address(&self) -> SocketAddr {
        let address = *self.address.lock().unwrap_or_else(PoisonError::into_inner);
        address.expect("it listens")
    }

    /// Lets somebody in who says the right things.
    fn log_in(&self, form: &str) -> Answer {
        let said = |name: &str| asked(form, name).unwrap_or_default();
        let mut held = self.held();
        let why = match said("grant_type").as_str() {
            "refresh_token"
                if said("refresh_token") == REFRESH_TOKEN
                    && said("client_id") == "a client"
                    && said("client_secret") == "its secret" =>
            {
                None
            }
            "urn:ietf:params:oauth:grant-type:jwt-bearer" => {
                let uri = format!("http://{}/token", self.address());
                match &held.robot {
                    Some(robot) => robot.doubt(&said("assertion"), &uri),
                    None => Some("account not found".to_owned()),
                }
            }
            _ => Some("Bad Request".to_owned()),
        };
        match why {
            None => {
                let token = held.token();
                let told =
                    json!({ "access_token": token, "expires_in": 3599, "token_type": "Bearer" });
                made(StatusCode::OK, &told)
            }
            Some(why) => {
                let told = json!({ "error": "invalid_grant", "error_description": why });
                made(StatusCode::BAD_REQUEST, &told)
            }
        }
    }

    /// Whether the token of a request is taken.
    fn is_in(&self, request: &Request<Incoming>) -> bool {
        let token = request.headers().get("authorization").and_then(|value| value.to_str().ok());
        let number = token.and_then(|it| it.strip_prefix("Bearer token-")?.parse::<u64>().ok());
        let held = self.held();
        number.is_some_and(|number| number > held.expired && number <= held.tokens)
    }

    fn answer(&self, request: &Request<Incoming>, body: Bytes) -> Answer {
        let path = request.uri().path();
        let query = request.uri().query().unwrap_or("");
        if path == "/token" {
            return self.log_in(&String::from_utf8_lossy(&body));
        }
        if let Some(session) = path.strip_prefix("/session/") {
            let mut held = self.held();
            return match held.sessions.remove(session) {
                Some(draft) => held.store(draft, body),
                None => refusal(StatusCode::NOT_FOUND, "notFound", "no session"),
            };
        }
        if !self.is_in(request) {
            return refusal(StatusCode::UNAUTHORIZED, "authError", "Invalid Credentials");
        }
        if asked(query, "supportsAllDrives").as_deref() != Some("true") {
            return refusal(StatusCode::NOT_FOUND, "notFound", "File not found: a shared drive.");
        }
        if let Some(rest) = path.strip_prefix(UPLOADS) {
            let id = rest.strip_prefix('/').map(str::to_owned);
            return self.upload(request, id, &body);
        }
        let mut held = self.held();
        match path.strip_prefix(FILES).map(|rest| rest.strip_prefix('/')) {
            Some(None) if *request.method() == Method::POST => {
                let about = serde_json::from_slice(&body).unwrap_or_default();
                held.store(Draft { id: None, about }, Bytes::new())
            }
            Some(None) => held.list(query),
            Some(Some(id)) => held.one(request, id, &body),
            None => refusal(StatusCode::NOT_FOUND, "notFound", "Not Found"),
        }
    }

    fn upload(&self, request: &Request<Incoming>, id: Option<String>, body: &Bytes) -> Answer {
        let query = request.uri().query().unwrap_or("");
        let wanted = if id.is_some() { Method::PATCH } else { Method::POST };
        if *request.method() != wanted {
            return refusal(StatusCode::METHOD_NOT_ALLOWED, "methodNotAllowed", "no");
        }
        let mut held = self.held();
        match asked(query, "uploadType").as_deref() {
            Some("multipart") => {
                let kind = request.headers().get("content-type");
                let kind = kind.and_then(|value| value.to_str().ok()).unwrap_or_default();
                match parts(kind, body) {
                    Some((about, bytes)) => held.store(Draft { id, about }, bytes),
                    None => refusal(StatusCode::BAD_REQUEST, "badContent", "malformed"),
                }
            }
            Some("resumable") => {
                let about = serde_json::from_slice(body).unwrap_or_default();
                let name = format!("{}", held.sessions.len() + 1);
                held.last_id += 1;
                let name = format!("{name}-{}", held.last_id);
                held.sessions.insert(name.clone(), Draft { id, about });
                let host = request.headers().get("host").and_then(|host| host.to_str().ok());
                let place = format!("http://{}/session/{name}", host.unwrap_or_default());
                let answer = Response::builder().header("location", place);
                answer.body(Full::default()).expect("an answer")
            }
            _ => refusal(StatusCode::BAD_REQUEST, "invalid", "uploadType"),
        }
    }
}

async fn serve(state: Arc<State>, mut request: Request<Incoming>) -> Result<Answer, Infallible> {
    match request.body_mut().collect().await {
        Ok(body) => Ok(state.answer(&request, body.to_bytes())),
        Err(_broken_off) => Ok(refusal(StatusCode::BAD_REQUEST, "badRequest", "broken off")),
    }
}

/// Description and content out of a body of two parts.
fn parts(kind: &str, body: &Bytes) -> Option<(Value, Bytes)> {
    let boundary = kind.strip_prefix("multipart/related; boundary=")?;
    let find = |what: &str, from: usize| {
        let at = body.get(from..)?.windows(what.len()).position(|it| it == what.as_bytes())?;
        Some(from + at)
    };
    let mark = format!("--{boundary}\r\n");
    let first = find(&mark, 0)?;
    let about = find("\r\n\r\n", first)? + 4;
    let second = find(&format!("\r\n{mark}"), about)?;
    let content = find("\r\n\r\n", second + mark.len())? + 4;
    let end = body.len().checked_sub(format!("\r\n--{boundary}--\r\n").len())?;
    let about = serde_json::from_slice(body.get(about..second)?).ok()?;
    Some((about, body.slice(content..end)))
}

fn content(node: &Node, range: Option<&str>) -> Answer {
    let answer = Response::builder().header("content-type", node.kind.as_str());
    let whole = node.bytes.clone();
    match span(range, whole.len()) {
        None => answer.body(Full::new(whole)),
        Some(span) if span.is_empty() => {
            let why = "Request range not satisfiable";
            return refusal(StatusCode::RANGE_NOT_SATISFIABLE, "requestedRangeNotSatisfiable", why);
        }
        Some(span) => answer.status(206).body(Full::new(whole.slice(span))),
    }
    .expect("an answer")
}

fn time(time: SystemTime) -> String {
    let text = listed_time(time);
    format!("{}Z", text.get(..23).unwrap_or(&text))
}

fn made(status: StatusCode, told: &Value) -> Answer {
    let answer = Response::builder().status(status);
    let answer = answer.header("content-type", "application/json; charset=UTF-8");
    answer.body(Full::new(Bytes::from(told.to_string()))).expect("an answer")
}

/// As the service refuses.
#[must_use]
pub fn refusal_text(code: u16, reason: &str, why: &str) -> String {
    let errors = json!([{ "domain": "global", "reason": reason, "message": why }]);
    json!({ "error": { "errors": errors, "code": code, "message": why } }).to_string()
}

fn refusal(status: StatusCode, reason: &str, why: &str) -> Answer {
    let text = refusal_text(status.as_u16(), reason, why);
    let answer = Response::builder().status(status);
    let answer = answer.header("content-type", "application/json; charset=UTF-8");
    answer.body(Full::new(Bytes::from(text))).expect("an answer")
}
