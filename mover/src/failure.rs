//! Why a command failed, in words for people and as an exit code.
//!
//! Invariants: the class of an error decides the exit code; every failure that a person can do
//! something about says what.

use std::{error::Error, io};

use windlass_engine::{
    backup::BackupError,
    copy::CopyError,
    fault::{Class, Fault},
    filter::FilterError,
    forget::ForgetError,
    model::root::RootId,
    protocol::{AnnounceError, keys::OpenError},
    reclaim::ReclaimError,
    repair::{heal::HealError, packs::PacksError},
    restore::RestoreError,
    rewrite::RewriteError,
};

/// The exit code of a command that was told to stop.
pub(crate) const INTERRUPTED: u8 = 130;

/// A command that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All was done.
    Done,
    /// The rest was done.
    Partial(&'static str),
}

/// A command that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// What was asked for cannot be.
    #[error("{message}")]
    Input { message: String, advice: String },
    /// The file system or the system refused something.
    #[error("{what}: {error}")]
    Io { what: String, error: io::Error },
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Announce(#[from] AnnounceError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error(transparent)]
    Forget(#[from] ForgetError),
    #[error(transparent)]
    Reclaim(#[from] ReclaimError),
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error(transparent)]
    Rewrite(#[from] RewriteError),
    #[error(transparent)]
    RepairPacks(#[from] PacksError),
    #[error(transparent)]
    Heal(#[from] HealError),
    /// A decision about all snapshots cannot do without one.
    #[error("could not read snapshot {}, nothing was removed", id.short())]
    UnreadableSnapshot {
        id: RootId,
        #[source]
        fault: Fault,
    },
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The repository was looked at and is damaged.
    #[error("repository contains errors")]
    Damage { advice: String },
    #[error("interrupted")]
    Interrupted,
}

impl Failure {
    /// Something was asked for that cannot be.
    pub(crate) fn input(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::Input { message: message.into(), advice: advice.into() }
    }

    /// The system refused something.
    pub(crate) fn io(what: impl Into<String>, error: io::Error) -> Self {
        Self::Io { what: what.into(), error }
    }

    fn class(&self) -> Class {
        match self {
            Self::Input { .. } | Self::Io { .. } => Class::WrongInput,
            Self::Damage { .. } => Class::Damaged,
            Self::Open(error) => error.class(),
            Self::Announce(error) => error.class(),
            Self::Backup(error) => error.class(),
            Self::Restore(error) => error.class(),
            Self::Filter(error) => error.class(),
            Self::Forget(error) => error.class(),
            Self::Reclaim(error) => error.class(),
            Self::Copy(error) => error.class(),
            Self::Rewrite(error) => error.class(),
            Self::RepairPacks(error) => error.class(),
            Self::Heal(error) => error.class(),
            Self::UnreadableSnapshot { fault, .. } => fault.class(),
            Self::Fault(fault) => fault.class(),
            Self::Interrupted => Class::Cancelled,
        }
    }

    /// What the process ends with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self.class() {
            Class::NoRepository => 10,
            Class::Busy => 11,
            Class::WrongPassword => 12,
            Class::Cancelled => INTERRUPTED,
            Class::Retry | Class::WrongInput | Class::Damaged | Class::Unsupported | Class::Bug => {
                1
            }
        }
    }

    /// Whether it may be otherwise a little later.
    pub(crate) fn may_pass(&self) -> bool {
        self.class() == Class::Retry
    }

    /// What went wrong, with its causes. Scripts match the first words of some of these.
    pub(crate) fn message(&self) -> String {
        if let Self::Open(OpenError::WrongPassword { .. }) = self {
            return "wrong password or no key found".into();
        }
        if self.class() == Class::Cancelled {
            return "interrupted".into();
        }
        let mut message = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = error.source();
        }
        message
    }

    /// What to do next, where there is something to do.
    pub(crate) fn advice(&self) -> Option<String> {
        let advice = match self {
            Self::Input { advice, .. } | Self::Damage { advice } => advice.clone(),
            Self::Open(OpenError::NoRepository { location, .. }) => {
                // Volume replication looks for these words to know that it has to create one.
                return Some(format!(
                    "Is there a repository at the following location?\n{location}"
                ));
            }
            Self::Open(OpenError::WrongPassword { location }) => {
                format!(
                    "the repository is {location}: look at the password, its file or its command"
                )
            }
            Self::Open(error) => error.advice().into(),
            Self::Announce(AnnounceError::Busy { .. })
            | Self::Reclaim(ReclaimError::Announce(AnnounceError::Busy { .. }))
            | Self::Backup(BackupError::Announce(AnnounceError::Busy { .. })) => {
                "wait with --retry-lock; if its holder is dead, run `windlass unlock`".into()
            }
            Self::Announce(AnnounceError::Overtaken)
            | Self::Backup(BackupError::Announce(AnnounceError::Overtaken)) => {
                "somebody prunes or repairs without a lock: run again when that is done".into()
            }
            Self::Announce(AnnounceError::Fault(fault))
            | Self::Backup(
                BackupError::Announce(AnnounceError::Fault(fault)) | BackupError::Fault(fault),
            )
            | Self::Fault(fault) => fault.advice().into(),
            Self::Backup(BackupError::NoSource { .. }) => "look at the paths to back up".into(),
            Self::Backup(BackupError::NoSuchParent { .. }) => {
                "`windlass snapshots` lists those there are; leave --parent out to have one chosen"
                    .into()
            }
            Self::Backup(BackupError::Empty) => "look at the excludes and at permissions".into(),
            Self::Restore(RestoreError::SuspiciousDelete { .. }) => {
                "look at the snapshot and the target; if this is meant, add \
                 --allow-suspicious-delete"
                    .into()
            }
            Self::Restore(error) => error.advice().into(),
            Self::Forget(error) => error.advice().into(),
            Self::Reclaim(error) => error.advice().into(),
            Self::Copy(error) => error.advice().into(),
            Self::Rewrite(error) => error.advice().into(),
            Self::RepairPacks(error) => error.advice().into(),
            Self::Heal(error) => error.advice().into(),
            Self::UnreadableSnapshot { fault, .. } => match fault.class() {
                Class::Retry | Class::WrongInput => fault.advice().into(),
                _ => "snapshots can still be removed by their ids".into(),
            },
            Self::Filter(_) => "look at the pattern or list".into(),
            Self::Io { .. } | Self::Interrupted => return None,
        };
        (!advice.is_empty()).then(|| format!("Next step: {advice}"))
    }
}
