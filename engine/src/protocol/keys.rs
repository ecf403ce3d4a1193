//! What all formats say about passwords, and why a repository is not opened.
//!
//! Invariants: a wrong password is told apart from damage wherever the format lets anyone tell.

use windlass_format::time::Timestamp;

use crate::fault::{Class, Fault};

/// Keys that are tried before giving up, where a repository has several.
pub(super) const MOST_KEYS: usize = 20;

/// Who a key belongs to.
#[derive(Clone, Debug)]
pub struct Owner {
    /// A user name.
    pub username: String,
    /// A host name.
    pub hostname: String,
    /// When the key was made.
    pub created: Timestamp,
}

/// Why a repository could not be opened or created.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store says there is none.
    #[error("repository does not exist: unable to open config file at {location}{}",
        because.as_ref().map(|because| format!(": {because}")).unwrap_or_default())]
    NoRepository {
        /// Where.
        location: String,
        /// What is missing, where it is more than an object.
        because: Option<String>,
    },
    /// None of its keys opens with this password.
    #[error("wrong password or no key found for the repository at {location}")]
    WrongPassword {
        /// Where.
        location: String,
    },
    /// More keys than are tried, and no hint.
    #[error(
        "the repository has more than {MOST_KEYS} keys and none of the first ones opens: name the key with --key-hint"
    )]
    TooManyKeys,
    /// Something is there already.
    #[error("{what} at {location} already: not creating a repository over it")]
    Exists {
        /// Where.
        location: String,
        /// What.
        what: &'static str,
    },
    /// The key that opened the repository was to be removed.
    #[error("the key in use cannot be removed")]
    KeyInUse,
    /// No key has a name that begins so.
    #[error("no key begins with {prefix}, or more than one does")]
    NoSuchKey {
        /// The beginning.
        prefix: String,
    },
    /// Two repositories of different formats share the location.
    #[error("both a restic and a kopia repository are at {location}")]
    Ambiguous {
        /// Where.
        location: String,
    },
    /// Another client is changing the repository's format, or has announced that it will.
    #[error("the repository is being upgraded by {owner}: {message}")]
    Upgrading {
        /// Who.
        owner: String,
        /// What they want others to know.
        message: String,
    },
    /// Anything else.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl OpenError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::NoRepository { .. } => Class::NoRepository,
            Self::WrongPassword { .. } | Self::TooManyKeys => Class::WrongPassword,
            Self::Exists { .. }
            | Self::KeyInUse
            | Self::NoSuchKey { .. }
            | Self::Ambiguous { .. } => Class::WrongInput,
            Self::Upgrading { .. } => Class::Busy,
            Self::Fault(fault) => fault.class(),
        }
    }

    /// What a person can do next.
    #[must_use]
    pub fn advice(&self) -> &str {
        match self {
            Self::NoRepository { .. } => "look at the location, or create one with `init`",
            Self::WrongPassword { .. } => "look at the password, its file or its command",
            Self::TooManyKeys => "name the key with --key-hint",
            Self::Exists { .. } => "use the repository that is there, or another location",
            Self::KeyInUse => "open the repository with another password first",
            Self::NoSuchKey { .. } => "`key list` shows the names of all keys",
            Self::Ambiguous { .. } => "move one of them to a location of its own",
            Self::Upgrading { .. } => "run again when the upgrade is done or rolled back",
            Self::Fault(fault) => fault.advice(),
        }
    }
}

/// A key as it is listed.
#[derive(Clone, Debug)]
pub struct ListedKey {
    /// Its name.
    pub name: String,
    /// Whom it belongs to.
    pub owner: Owner,
}
