//! Requests to Google Drive: signed, with JSON in and out.
//!
//! Invariants
//! - A token that the service does not take any more is renewed within the call, once.
//! - A page for people is never taken for an answer of the service.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header, response::Parts};
use http_body_util::Full;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use url::Url;

use super::{
    login::{Login, Token},
    refusal::refused,
};
use crate::{
    clock::Clock,
    store::{
        Failure, StoreError,
        http::{HttpError, Kept, Transport, Tuning, is_page},
        limit::Limiter,
        settings::StoreSettings,
        trace::Observer,
    },
};

/// Carries requests.
#[derive(Debug)]
pub(super) struct Wire {
    transport: Transport,
    endpoint: String,
    login: Login,
    token: Kept<Token>,
}

/// A call, for messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    pub(super) action: &'static str,
    pub(super) object: &'a str,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Bytes,
}

/// A file or folder.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct File {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) mime_type: String,
    /// Numbers of 64 bits are text in JSON.
    #[serde(default)]
    pub(super) size: Option<String>,
    #[serde(default)]
    pub(super) created_time: String,
    #[serde(default)]
    pub(super) modified_time: String,
    #[serde(default)]
    pub(super) md5_checksum: Option<String>,
    #[serde(default)]
    pub(super) trashed: bool,
}

/// A part of a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Files {
    #[serde(default)]
    pub(super) files: Vec<File>,
    #[serde(default)]
    pub(super) next_page_token: Option<String>,
    #[serde(default)]
    incomplete_search: bool,
}

/// What is asked of each file.
pub(super) const FIELDS: &str =
    "id,name,mimeType,size,createdTime,modifiedTime,md5Checksum,trashed";
pub(super) const FOLDER: &str = "application/vnd.google-apps.folder";
const PUBLIC_ENDPOINT: &str = "https://www.googleapis.com";
/// Rows of a list: as many as the service gives at most.
const PAGE_ROWS: &str = "1000";
/// More than any object or list has.
const MOST_BYTES: usize = 4 << 30;

impl Wire {
    pub(super) fn new(
        location: &str,
        settings: &StoreSettings,
        limiter: &Arc<Limiter>,
        observer: &Observer,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let tuning = Tuning { http1_only: true, ..Tuning::default() };
        let transport = Transport::new(&settings.http, &tuning, limiter, observer)
            .map_err(|error| error.on("open", location))?;
        let endpoint = settings.drive.endpoint.as_deref().unwrap_or(PUBLIC_ENDPOINT);
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        let login = Login::new(&settings.drive, location, clock)?;
        Ok(Self { transport, endpoint, login, token: Kept::default() })
    }

    pub(super) fn account(&self) -> Option<&str> {
        self.login.account()
    }

    /// The address of a file, or of all of them.
    pub(super) fn files(&self, id: &str, query: &[(&str, &str)]) -> String {
        self.url("drive/v3/files", id, query)
    }

    /// The same for what is sent.
    pub(super) fn uploads(&self, id: &str, query: &[(&str, &str)]) -> String {
        self.url("upload/drive/v3/files", id, query)
    }

    fn url(&self, path: &str, id: &str, query: &[(&str, &str)]) -> String {
        let slash = if id.is_empty() { "" } else { "/" };
        let base = format!("{}/{path}{slash}{id}", self.endpoint);
        let pairs = query.iter().copied().chain([("supportsAllDrives", "true")]);
        // An address that is none is refused by whoever sends to it.
        Url::parse_with_params(&base, pairs).map_or(base, String::from)
    }

    /// The answer, unless it is a refusal or not of the service.
    pub(super) async fn ask(&self, call: Call<'_>, ask: Ask) -> Result<(Parts, Bytes), StoreError> {
        let token = self.token().await?;
        let (head, body) = self.send(call, &ask, Some(&token.header)).await?;
        if head.status != StatusCode::UNAUTHORIZED || !self.login.renews() {
            return good(call, head, body);
        }
        self.token.lose(&token).await;
        let token = self.token().await?;
        let (head, body) = self.send(call, &ask, Some(&token.header)).await?;
        good(call, head, body)
    }

    /// The answer as it is of an address that is a secret itself.
    pub(super) async fn ask_unsigned(
        &self,
        call: Call<'_>,
        ask: Ask,
    ) -> Result<(Parts, Bytes), StoreError> {
        let (head, body) = self.send(call, &ask, None).await?;
        good(call, head, body)
    }

    /// The answer as what it stands for.
    pub(super) async fn told<T: DeserializeOwned>(
        &self,
        call: Call<'_>,
        ask: Ask,
    ) -> Result<T, StoreError> {
        read(call, &self.ask(call, ask).await?.1)
    }

    /// A part of the files that a query finds, the oldest first.
    pub(super) async fn list(
        &self,
        call: Call<'_>,
        query: &str,
        page: Option<&str>,
    ) -> Result<Files, StoreError> {
        let fields = format!("nextPageToken,incompleteSearch,files({FIELDS})");
        let mut pairs = vec![
            ("q", query),
            ("fields", fields.as_str()),
            ("pageSize", PAGE_ROWS),
            ("orderBy", "createdTime"),
            ("includeItemsFromAllDrives", "true"),
        ];
        pairs.extend(page.map(|page| ("pageToken", page)));
        let files: Files = self.told(call, Ask::get(self.files("", &pairs))).await?;
        if files.incomplete_search {
            let why = "the service did not look everywhere for this list";
            return Err(StoreError::new(Failure::Transient, call.action, call.object, why));
        }
        Ok(files)
    }

    /// All the files that a query finds, the oldest first.
    pub(super) async fn list_all(
        &self,
        call: Call<'_>,
        query: &str,
    ) -> Result<Vec<File>, StoreError> {
        let (mut all, mut page) = (Vec::new(), None);
        loop {
            let part = self.list(call, query, page.as_deref()).await?;
            all.extend(part.files);
            page = part.next_page_token;
            if page.is_none() {
                return Ok(all);
            }
        }
    }

    async fn token(&self) -> Result<Arc<Token>, StoreError> {
        self.token.get(Token::is_good, self.login.log_in(&self.transport)).await
    }

    async fn send(
        &self,
        call: Call<'_>,
        ask: &Ask,
        token: Option<&HeaderValue>,
    ) -> Result<(Parts, Bytes), StoreError> {
        let mut request = Request::new(Full::new(ask.body.clone()));
        *request.method_mut() = ask.method.clone();
        *request.uri_mut() = ask.url.parse().map_err(|_secret| {
            let why = "the address of the service is no URL";
            StoreError::new(Failure::Permanent, call.action, call.object, why)
        })?;
        *request.headers_mut() = ask.headers.clone();
        if let Some(token) = token {
            request.headers_mut().insert(header::AUTHORIZATION, token.clone());
        }
        let failed = |error: HttpError| error.on(call.action, call.object);
        let (head, body) = self.transport.send(request).await.map_err(failed)?.into_parts();
        Ok((head, body.collect(MOST_BYTES).await.map_err(failed)?))
    }
}

/// What JSON stands for.
pub(super) fn read<T: DeserializeOwned>(call: Call<'_>, body: &Bytes) -> Result<T, StoreError> {
    serde_json::from_slice(body).map_err(|error| {
        let why = format!("the service's answer cannot be read: {error}");
        StoreError::new(Failure::Permanent, call.action, call.object, why)
    })
}

fn good(call: Call<'_>, head: Parts, body: Bytes) -> Result<(Parts, Bytes), StoreError> {
    match head.status.is_success() && !is_page(&head.headers) {
        true => Ok((head, body)),
        false => Err(refused(call.action, call.object, &head, &body)),
    }
}

impl Ask {
    fn new(method: Method, url: String) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Bytes::new() }
    }

    pub(super) fn get(url: String) -> Self {
        Self::new(Method::GET, url)
    }

    pub(super) fn delete(url: String) -> Self {
        Self::new(Method::DELETE, url)
    }

    pub(super) fn post(url: String) -> Self {
        Self::new(Method::POST, url)
    }

    pub(super) fn patch(url: String) -> Self {
        Self::new(Method::PATCH, url)
    }

    pub(super) fn put(url: String) -> Self {
        Self::new(Method::PUT, url)
    }

    pub(super) fn json(self, body: &Value) -> Self {
        let kind = HeaderValue::from_static("application/json; charset=UTF-8");
        self.with(header::CONTENT_TYPE, kind).sending(Bytes::from(body.to_string()))
    }

    pub(super) fn sending(self, body: Bytes) -> Self {
        Self { body, ..self }
    }

    pub(super) fn with(mut self, name: impl header::IntoHeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}

impl File {
    pub(super) fn is_folder(&self) -> bool {
        self.mime_type == FOLDER
    }

    /// Whether it has no bytes of its own: documents, links.
    pub(super) fn is_foreign(&self) -> bool {
        self.mime_type.starts_with("application/vnd.google-apps.")
    }

    /// What decides between several of one name: the first of them counts.
    pub(super) fn age(&self) -> (&str, &str) {
        (&self.created_time, &self.id)
    }
}

/// Text within a query.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Those that lie in one of these folders.
pub(super) fn within(folders: &[String]) -> String {
    let each: Vec<_> = folders.iter().map(|id| format!("{} in parents", quoted(id))).collect();
    format!("({}) and trashed = false", each.join(" or "))
}
