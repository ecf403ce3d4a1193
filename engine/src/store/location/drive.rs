//! `gdrive:folder` and `gdrive:folder:path`.

use std::fmt;

use super::{LocationError, Scheme, clean};

/// A folder in Google Drive, or a directory below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drive {
    /// The folder's id: the last part of its address in a browser.
    pub folder: String,
    /// Names of folders below it; neither starts nor ends with a slash; may be empty.
    pub path: String,
}

impl Drive {
    /// What follows `gdrive:`.
    pub(super) fn parse(text: &str) -> Result<Self, LocationError> {
        let (folder, path) = text.split_once(':').unwrap_or((text, ""));
        let malformed = |why| Scheme::Drive.malformed(why);
        if folder.is_empty() {
            return Err(malformed("the id of a folder is not found"));
        }
        let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        // It becomes part of requests as it is.
        if !folder.bytes().all(is_digit) || path.starts_with("//") {
            return Err(malformed(
                "that is no id of a folder; it is the last part of the folder's address",
            ));
        }
        let path = clean(&format!("/{path}")).trim_matches('/').to_owned();
        Ok(Self { folder: folder.to_owned(), path })
    }
}

impl fmt::Display for Drive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gdrive:{}", self.folder)?;
        if self.path.is_empty() { Ok(()) } else { write!(f, ":{}", self.path) }
    }
}
