//! What servers need that are reached by another protocol than an object store's.

use std::{ffi::OsString, time::Duration};

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
}

impl Default for Rclone {
    fn default() -> Self {
        Self {
            program: "rclone".into(),
            args: None,
            environment: Vec::new(),
            start_patience: Duration::from_mins(1),
        }
    }
}
