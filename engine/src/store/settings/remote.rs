//! What servers need that are reached by another protocol than an object store's.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use super::{super::location::Login, SecretText};

/// A REST server.
#[derive(Clone, Debug, Default)]
pub struct Rest {
    /// Who logs in where the location does not say.
    pub login: Option<Login>,
}

/// A WebDAV server.
#[derive(Clone, Debug, Default)]
pub struct WebDav {
    /// Who logs in where the location does not say.
    pub login: Option<Login>,
}

/// A server behind SSH.
#[derive(Clone, Debug, Default)]
pub struct Sftp {
    /// The command that is run to reach it, in words as a shell splits them, instead of `ssh`.
    pub command: Option<String>,
    /// What is added to the arguments of `ssh`, in words as a shell splits them.
    pub args: Option<String>,
    /// The password, where no key is used.
    pub password: Option<SecretText>,
}

/// rclone.
#[derive(Clone, Debug)]
pub struct Rclone {
    /// The program, in words as a shell splits them.
    pub program: String,
    /// Its arguments, likewise; `None` for those that make it a REST server on its own pipes.
    pub args: Option<String>,
    /// Variables that it gets besides those of this process.
    pub environment: Vec<(OsString, OsString)>,
    /// How long it may take to be ready.
    pub start_patience: Duration,
    /// Whether it serves files, to be read only, instead of speaking the REST protocol, and how.
    pub files: Option<RcloneFiles>,
}

/// rclone as a server of files.
#[derive(Clone, Debug)]
pub struct RcloneFiles {
    /// The program by its name or path; `None` for the usual one.
    pub program: Option<OsString>,
    /// What is added to its arguments.
    pub args: Vec<OsString>,
    /// What its configuration holds, where that is not in a file of its own.
    pub config: Option<SecretText>,
    /// Where a file for that is made, for as long as it runs, in a directory that nobody else reads.
    pub room: PathBuf,
}

impl Default for Rclone {
    fn default() -> Self {
        Self {
            program: "rclone".into(),
            args: None,
            environment: Vec::new(),
            start_patience: Duration::from_mins(1),
            files: None,
        }
    }
}
