//! `sftp:user@host:path` and `sftp://user@host:port/path`.

use std::fmt;

use url::Url;

use super::{LocationError, Scheme, clean, web::decoded};

/// A directory behind SSH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sftp {
    /// Who logs in; `None` leaves it to the client's configuration.
    pub user: Option<String>,
    /// Name or address of the host, without the brackets of an IPv6 address.
    pub host: String,
    /// Its port; `None` leaves it to the client's configuration.
    pub port: Option<u16>,
    /// The directory, relative to where a login begins unless it starts with a slash.
    pub path: String,
}

impl Sftp {
    /// What follows `sftp:`.
    pub(super) fn parse(text: &str) -> Result<Self, LocationError> {
        let found = if text.starts_with("//") { Self::of_url(text)? } else { Self::of_scp(text)? };
        if found.path.starts_with('~') {
            return Err(Scheme::Sftp.malformed(
                "the path starts with the tilde (~) character, which most servers do not \
                 understand; a relative path starts at the user's home directory",
            ));
        }
        Ok(found)
    }

    fn of_url(text: &str) -> Result<Self, LocationError> {
        let malformed = |why| Scheme::Sftp.malformed(why);
        let url = Url::parse(&format!("sftp:{text}")).map_err(|_| malformed("not a valid URL"))?;
        let host = url.host_str().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        // The path as it was typed: what comes after the host, not what a URL library makes of it.
        let after_host = text.get(2..).and_then(|rest| rest.split_once('/'));
        let (_host, path) = after_host.ok_or(malformed("no directory specified"))?;
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let user = decoded(url.username());
        Ok(Self {
            user: Some(user).filter(|user| !user.is_empty()),
            host: decoded(host),
            port: url.port(),
            path: clean(&decoded(path)),
        })
    }

    fn of_scp(text: &str) -> Result<Self, LocationError> {
        let (host, path) =
            text.split_once(':').ok_or(Scheme::Sftp.malformed("hostname or path not found"))?;
        // A user may be named `me@domain`.
        let (user, host) = match host.match_indices('@').nth(1).or(host.match_indices('@').next()) {
            Some((at, _)) => (Some(host[..at].to_owned()), &host[at + 1..]),
            None => (None, host),
        };
        let user = user.filter(|user| !user.is_empty());
        Ok(Self { user, host: host.to_owned(), port: None, path: clean(path) })
    }
}

impl fmt::Display for Sftp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        match self.port {
            Some(port) => {
                let host = match self.host.contains(':') {
                    true => format!("[{}]", self.host),
                    false => self.host.clone(),
                };
                write!(f, "sftp://{user}{host}:{port}/{}", self.path)
            }
            None if self.host.contains(':') => {
                write!(f, "sftp://{user}[{}]/{}", self.host, self.path)
            }
            None => write!(f, "sftp:{user}{}:{}", self.host, self.path),
        }
    }
}
