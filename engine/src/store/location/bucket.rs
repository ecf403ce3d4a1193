//! `scheme:bucket:/prefix`, which four services share.

use std::fmt;

use super::{LocationError, Scheme, clean};

/// A bucket or container and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// What all objects' names begin with; neither starts nor ends with a slash; may be empty.
    pub prefix: String,
}

impl Bucket {
    /// `name:prefix`; the colon must be there.
    pub(super) fn with_colon(scheme: Scheme, text: &str) -> Result<Self, LocationError> {
        let (name, prefix) =
            text.split_once(':').ok_or(scheme.malformed("bucket name or path not found"))?;
        Ok(Self { name: name.to_owned(), prefix: relative(prefix) })
    }

    /// `name` or `name:prefix`, with a name that the service allows.
    pub(super) fn of_b2(text: &str) -> Result<Self, LocationError> {
        let (name, prefix) = text.split_once(':').unwrap_or((text, ""));
        let wrong = |why| Err(Scheme::B2.malformed(why));
        match name.len() {
            0 => return wrong("bucket name not found"),
            1..6 => return wrong("bucket name is too short"),
            51.. => return wrong("bucket name is too long"),
            _ => {}
        }
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return wrong(
                "bucket name contains invalid characters, allowed are: a-z, 0-9, dash (-)",
            );
        }
        let prefix = if prefix.is_empty() { String::new() } else { relative(prefix) };
        Ok(Self { name: name.to_owned(), prefix })
    }

    /// `name:/prefix`; what follows the slash is taken as it is.
    pub(super) fn of_swift(text: &str) -> Result<Self, LocationError> {
        let (name, prefix) = text.split_once(':').unwrap_or((text, ""));
        if prefix.is_empty() {
            return Err(Scheme::Swift.malformed("prefix is empty"));
        }
        let prefix = prefix
            .strip_prefix('/')
            .ok_or(Scheme::Swift.malformed("prefix does not start with slash (/)"))?;
        Ok(Self { name: name.to_owned(), prefix: prefix.to_owned() })
    }

    pub(super) fn write(&self, scheme: Scheme, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:/{}", scheme.word(), self.name, self.prefix)
    }
}

/// A cleaned path without its first slash. A path that is empty stays what the original tool makes
/// of it: one directory named `.`, so that both find the same objects.
fn relative(path: &str) -> String {
    let clean = clean(path);
    clean.strip_prefix('/').unwrap_or(&clean).to_owned()
}
