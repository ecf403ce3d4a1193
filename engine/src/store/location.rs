//! Where a repository is, as users of its tools write it: a path, or `scheme:rest`.
//!
//! Invariants
//! - What the original tool takes is taken and means the same place; so are its refusals.
//! - Printing a location never shows a password. What it prints without one parses back to it.
//!
//! Not here: options and credentials ([`settings`](super::settings)), opening
//! ([`open`](super::open)).

mod bucket;
mod drive;
mod sftp;
mod web;

use std::{fmt, path::PathBuf};

pub use bucket::Bucket;
pub use drive::Drive;
pub use sftp::Sftp;
pub use web::{Login, Rest, S3, WebDav};

use crate::filter::lexical;

/// A place for a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A directory.
    Local(PathBuf),
    /// A bucket behind the S3 protocol.
    S3(S3),
    /// A server that speaks the REST protocol of repositories.
    Rest(Rest),
    /// A directory behind SSH.
    Sftp(Sftp),
    /// A container of Azure Blob Storage.
    Azure(Bucket),
    /// A bucket of Google Cloud Storage.
    Gcs(Bucket),
    /// A bucket of Backblaze B2 behind its own protocol.
    B2(Bucket),
    /// A container of OpenStack Swift.
    Swift(Bucket),
    /// A remote of rclone, which is run for it: `remote:path`.
    Rclone(String),
    /// A directory behind WebDAV.
    WebDav(WebDav),
    /// A folder in Google Drive.
    Drive(Drive),
}

/// What comes before the first colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// See [`Location::Local`]; the others as there.
    Local,
    #[expect(missing_docs, reason = "as the variants of `Location`")]
    S3,
    #[expect(missing_docs, reason = "as the variants of `Location`")]
    Rest,
    #[expect(missing_docs, reason = "as the variants of `Location`")]
    Sftp,
    #[expect(missing_docs, reason = "as the variants of `Location`")]
    Azure,
    #[expect(missing_docs, reason = "as the variants of `Location`")]
    Gcs,
    #[expect(missing_docs, reason = "as the variants of `Location`")]
    B2,
    #[expect(missing_docs, reason = "as the variants of `Location`")]
    Swift,
    #[expect(missing_docs, reason = "as the variants of `Location`")]
    Rclone,
    #[expect(missing_docs, reason = "as the variants of `Location`")]
    WebDav,
    #[expect(missing_docs, reason = "as the variants of `Location`")]
    Drive,
}

/// Text that names no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// What comes before the colon is no scheme, and the text is no path.
    #[error("invalid backend in {0:?}")]
    UnknownScheme(String),
    /// The rest does not fit the scheme. The text may hold a password and is not repeated.
    #[error("{}: {why}", scheme.word())]
    Malformed {
        /// The scheme.
        scheme: Scheme,
        /// What is wrong.
        why: &'static str,
    },
}

impl Scheme {
    const ALL: [Self; 11] = [
        Self::Local,
        Self::S3,
        Self::Rest,
        Self::Sftp,
        Self::Azure,
        Self::Gcs,
        Self::B2,
        Self::Swift,
        Self::Rclone,
        Self::WebDav,
        Self::Drive,
    ];

    /// As it is written, in locations and before the dot of `-o` options.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::S3 => "s3",
            Self::Rest => "rest",
            Self::Sftp => "sftp",
            Self::Azure => "azure",
            Self::Gcs => "gs",
            Self::B2 => "b2",
            Self::Swift => "swift",
            Self::Rclone => "rclone",
            Self::WebDav => "webdav",
            Self::Drive => "gdrive",
        }
    }

    fn malformed(self, why: &'static str) -> LocationError {
        LocationError::Malformed { scheme: self, why }
    }
}

impl Location {
    /// Reads a location.
    pub fn parse(text: &str) -> Result<Self, LocationError> {
        let word = text.split_once(':').map_or(text, |(word, _rest)| word);
        let Some(scheme) = Scheme::ALL.into_iter().find(|scheme| scheme.word() == word) else {
            if !is_path(text) && text.contains(':') {
                return Err(LocationError::UnknownScheme(word.to_owned()));
            }
            return Ok(Self::Local(text.into()));
        };
        // A relative directory may have the name of a scheme.
        let Some(rest) = text.strip_prefix(word).and_then(|rest| rest.strip_prefix(':')) else {
            return Ok(Self::Local(text.into()));
        };
        match scheme {
            Scheme::Local => Ok(Self::Local(rest.into())),
            Scheme::S3 => S3::parse(rest).map(Self::S3),
            Scheme::Rest => Rest::parse(rest).map(Self::Rest),
            Scheme::Sftp => Sftp::parse(rest).map(Self::Sftp),
            Scheme::Azure => Bucket::with_colon(scheme, rest).map(Self::Azure),
            Scheme::Gcs => Bucket::with_colon(scheme, rest).map(Self::Gcs),
            Scheme::B2 => Bucket::of_b2(rest).map(Self::B2),
            Scheme::Swift => Bucket::of_swift(rest).map(Self::Swift),
            Scheme::Rclone => Ok(Self::Rclone(rest.to_owned())),
            Scheme::WebDav => WebDav::parse(rest).map(Self::WebDav),
            Scheme::Drive => Drive::parse(rest).map(Self::Drive),
        }
    }

    /// What comes before its colon.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        match self {
            Self::Local(_) => Scheme::Local,
            Self::S3(_) => Scheme::S3,
            Self::Rest(_) => Scheme::Rest,
            Self::Sftp(_) => Scheme::Sftp,
            Self::Azure(_) => Scheme::Azure,
            Self::Gcs(_) => Scheme::Gcs,
            Self::B2(_) => Scheme::B2,
            Self::Swift(_) => Scheme::Swift,
            Self::Rclone(_) => Scheme::Rclone,
            Self::WebDav(_) => Scheme::WebDav,
            Self::Drive(_) => Scheme::Drive,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Without its scheme, except where it would be taken for another place.
            Self::Local(path) => {
                let text = path.to_string_lossy();
                if !is_path(&text) && text.contains(':') {
                    f.write_str("local:")?;
                }
                f.write_str(&text)
            }
            Self::S3(s3) => s3.fmt(f),
            Self::Rest(rest) => rest.fmt(f),
            Self::Sftp(sftp) => sftp.fmt(f),
            Self::Azure(bucket) | Self::Gcs(bucket) | Self::B2(bucket) | Self::Swift(bucket) => {
                bucket.write(self.scheme(), f)
            }
            Self::Rclone(remote) => write!(f, "rclone:{remote}"),
            Self::WebDav(dav) => dav.fmt(f),
            Self::Drive(drive) => drive.fmt(f),
        }
    }
}

/// Whether text is a path however many colons it has.
fn is_path(text: &str) -> bool {
    let drive = |text: &[u8]| matches!(text, [letter, b':', b'/' | b'\\', ..] if letter.is_ascii_alphabetic());
    ["../", "..\\", "/", "\\"].iter().any(|start| text.starts_with(start)) || drive(text.as_bytes())
}

/// The shortest text for the same path of objects.
fn clean(path: &str) -> String {
    // Cleaning only removes whole components between slashes.
    String::from_utf8_lossy(&lexical::clean(path.as_bytes())).into_owned()
}

#[cfg(test)]
mod tests;
