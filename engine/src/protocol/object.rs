//! Objects outside packs, as they are: for people who look into a repository.

use crate::{
    fault::{Class, Fault},
    store::{Failure, Key, Range, Store},
};

/// The kinds of objects people know by name; which of them there are is the format's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// What the repository is like.
    Config,
    /// A part of the index.
    Index,
    /// A root.
    Root,
    /// What a password opens.
    Key,
    /// What everything is sealed with.
    MasterKey,
    /// What a writer announces.
    Lock,
    /// Chunks.
    Pack,
}

/// An object as it is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawObject {
    /// Its text, opened; or its bytes, where it is a pack.
    pub bytes: Vec<u8>,
    /// The hash of its bytes, where it is not the one it is named by.
    pub differs: Option<String>,
}

/// Why an object cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// There is none with that name.
    #[error("no matching ID found for prefix {prefix:?}")]
    NotFound {
        /// What was asked for.
        prefix: String,
    },
    /// There are several whose names begin so.
    #[error("multiple IDs with prefix {prefix:?} found")]
    Ambiguous {
        /// What was asked for.
        prefix: String,
    },
    /// The format has no such objects.
    #[error("a repository of this format has no objects of this kind: {0}")]
    NoSuchKind(&'static str),
    /// It cannot be read.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl ObjectError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::NotFound { .. } | Self::Ambiguous { .. } | Self::NoSuchKind(_) => {
                Class::WrongInput
            }
            Self::Fault(fault) => fault.class(),
        }
    }
}

/// The one object below `directory` whose last part begins with `prefix`.
pub(super) async fn one(store: &Store, directory: &str, prefix: &str) -> Result<Key, ObjectError> {
    let owned = || prefix.to_owned();
    let mut keys = Vec::new();
    if !prefix.is_empty() {
        let mut each = |row: crate::store::Listed| {
            let name = row.key.as_str().rsplit('/').next().unwrap_or_default();
            if name.starts_with(prefix) {
                keys.push(row.key);
            }
        };
        store.list(directory, &mut each).await.map_err(Fault::from)?;
    }
    match keys.pop() {
        None => Err(ObjectError::NotFound { prefix: owned() }),
        Some(key) if keys.is_empty() => Ok(key),
        Some(_) => Err(ObjectError::Ambiguous { prefix: owned() }),
    }
}

/// A whole object.
pub(super) async fn read(store: &Store, key: &Key) -> Result<Vec<u8>, ObjectError> {
    match store.read(key, Range::All).await {
        Ok(bytes) => Ok(bytes.to_vec()),
        Err(error) if error.failure == Failure::NotFound => {
            Err(ObjectError::NotFound { prefix: key.to_string() })
        }
        Err(error) => Err(Fault::from(error).into()),
    }
}
