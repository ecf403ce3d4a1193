//! Why a kopia repository is not opened.
//!
//! Invariants: an algorithm or feature we do not know is named as the repository names it, cut to
//! [`NAME_LEN_MAX`] characters, because that name is what the user needs to look up.

use core::fmt;

use crate::damage::Damage;

/// Characters of a name or message that are kept.
pub const NAME_LEN_MAX: usize = 200;

/// Why a repository's format is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The bytes are not what they should be; [`Damage::BadTag`] is also what a wrong password
    /// looks like.
    Damage(Damage),
    /// An algorithm this reader does not have.
    Algorithm {
        /// What it is for: "hash", "encryption".
        kind: &'static str,
        /// Its name in the repository.
        name: String,
    },
    /// A feature the repository requires of every client.
    Feature {
        /// Its name in the repository.
        name: String,
        /// What the repository wants users to be told, perhaps empty.
        message: String,
    },
}

impl Refusal {
    pub(super) fn algorithm(kind: &'static str, name: &str) -> Self {
        Self::Algorithm { kind, name: shorten(name) }
    }
}

/// At most [`NAME_LEN_MAX`] characters of text that came from a repository.
pub(super) fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(NAME_LEN_MAX).collect()
}

impl From<Damage> for Refusal {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damage(damage) => damage.fmt(f),
            Self::Algorithm { kind, name } => write!(f, "unsupported {kind} algorithm {name:?}"),
            Self::Feature { name, message } if message.is_empty() => {
                write!(f, "unsupported required feature {name:?}")
            }
            Self::Feature { name, message } => {
                write!(f, "unsupported required feature {name:?}: {message}")
            }
        }
    }
}

impl core::error::Error for Refusal {}
