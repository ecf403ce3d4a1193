//! Locations that are, or hold, a URL.

use std::{fmt, path::PathBuf};

use percent_encoding::percent_decode_str;
use url::Url;
use windlass_format::secret::Password;

use super::{LocationError, Scheme, clean};

/// A bucket behind the S3 protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3 {
    /// Host and, where given, port.
    pub endpoint: String,
    /// Whether it is spoken to without TLS.
    pub plain_http: bool,
    /// The bucket.
    pub bucket: String,
    /// What all objects' names begin with, without a slash at its end; may be empty.
    pub prefix: String,
}

/// A server that speaks the REST protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    /// The repository's URL without user and password; its path ends with a slash. Behind a socket
    /// the host is `localhost`.
    pub url: Url,
    /// The socket that the server listens on, where it is not on the network.
    pub socket: Option<PathBuf>,
    /// Who logs in, where the location says so.
    pub login: Option<Login>,
}

/// A directory behind WebDAV.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebDav {
    /// The directory's URL without user and password; its path ends with a slash.
    pub url: Url,
    /// Who logs in, where the location says so.
    pub login: Option<Login>,
}

/// A user and the password that goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password; may be empty.
    pub password: Password,
}

impl S3 {
    /// What follows `s3:`.
    pub(super) fn parse(text: &str) -> Result<Self, LocationError> {
        let malformed = |why| Scheme::S3.malformed(why);
        if text.starts_with("http") {
            let url = Url::parse(text).map_err(|_error| malformed("not a valid URL"))?;
            let (Some(host), "http" | "https") = (url.host_str(), url.scheme()) else {
                return Err(malformed("invalid format, host/region or bucket name not found"));
            };
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            let path = decoded(url.path());
            let path = path.strip_prefix('/').unwrap_or(&path);
            return Self::at(format!("{host}{port}"), path, url.scheme() == "http");
        }
        let text = text.strip_prefix("//").unwrap_or(text);
        let (endpoint, path) = text.split_once('/').unwrap_or((text, ""));
        Self::at(endpoint.to_owned(), path, false)
    }

    fn at(endpoint: String, path: &str, plain_http: bool) -> Result<Self, LocationError> {
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        if endpoint.is_empty() {
            let why = "invalid format, host/region or bucket name not found";
            return Err(Scheme::S3.malformed(why));
        }
        if bucket.is_empty() {
            return Err(Scheme::S3.malformed("bucket name not found"));
        }
        let prefix = if prefix.is_empty() { String::new() } else { clean(prefix) };
        Ok(Self { endpoint, plain_http, bucket: bucket.to_owned(), prefix })
    }
}

impl fmt::Display for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.plain_http { "http" } else { "https" };
        write!(f, "s3:{scheme}://{}/{}", self.endpoint, self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

impl Rest {
    /// What follows `rest:`.
    pub(super) fn parse(text: &str) -> Result<Self, LocationError> {
        let (mut url, login) = url_and_login(Scheme::Rest, text)?;
        let plain = match url.scheme() {
            "http" | "https" => return Ok(Self { url, socket: None, login }),
            "http+unix" => "http",
            "https+unix" => "https",
            _ => return Err(Scheme::Rest.malformed("the URL is neither http nor https")),
        };
        let path = decoded(url.path());
        let (socket, path) = path.split_once(':').unwrap_or((path.trim_end_matches('/'), "/"));
        if socket.is_empty() {
            return Err(Scheme::Rest.malformed("the URL names no socket"));
        }
        let socket = Some(PathBuf::from(socket));
        url = Url::parse(&format!("{plain}://localhost/"))
            .map_err(|_error| Scheme::Rest.malformed("not a valid URL"))?;
        url.set_path(path);
        Ok(Self { url, socket, login })
    }
}

impl fmt::Display for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let login = login_prefix(self.login.as_ref());
        let (scheme, path) = (self.url.scheme(), self.url.path());
        match &self.socket {
            Some(socket) => write!(f, "rest:{scheme}+unix://{login}{}:{path}", socket.display()),
            None => write!(f, "rest:{}", with_login(&self.url, &login)),
        }
    }
}

impl WebDav {
    /// What follows `webdav:`.
    pub(super) fn parse(text: &str) -> Result<Self, LocationError> {
        let (url, login) = url_and_login(Scheme::WebDav, text)?;
        match url.scheme() {
            "http" | "https" => Ok(Self { url, login }),
            _ => Err(Scheme::WebDav.malformed("the URL is neither http nor https")),
        }
    }
}

impl fmt::Display for WebDav {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "webdav:{}", with_login(&self.url, &login_prefix(self.login.as_ref())))
    }
}

fn url_and_login(scheme: Scheme, text: &str) -> Result<(Url, Option<Login>), LocationError> {
    let malformed = || scheme.malformed("not a valid URL");
    let slash = if text.ends_with('/') { "" } else { "/" };
    let mut url = Url::parse(&format!("{text}{slash}")).map_err(|_error| malformed())?;
    let user = decoded(url.username());
    let login = match url.password() {
        None if user.is_empty() => None,
        password => {
            Some(Login { user, password: Password::new(decoded(password.unwrap_or_default())) })
        }
    };
    // It refuses only for URLs that can have no user, which then have none.
    if login.is_some() {
        url.set_username("").and_then(|()| url.set_password(None)).map_err(|()| malformed())?;
    }
    Ok((url, login))
}

/// `user:***@`, as far as there is anything to show.
fn login_prefix(login: Option<&Login>) -> String {
    match login {
        None => String::new(),
        Some(Login { user, password }) if password.expose().is_empty() => format!("{user}@"),
        Some(Login { user, .. }) => format!("{user}:***@"),
    }
}

fn with_login(url: &Url, login: &str) -> String {
    url.as_str().replacen("://", &format!("://{login}"), 1)
}

/// Text out of a URL, which says `%20` for a space.
pub(super) fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
