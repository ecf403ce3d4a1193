//! How a run ends: its exit code and its last lines.
//!
//! Invariants
//! - 0 is for what the original calls success: done, an empty volume, nothing to restore.
//! - What failed has a line that begins with `Fatal` or `ERROR`, which the controller keeps.
//! - Ended by a signal is told apart from failed.

use super::signals::Stop;
use crate::failure::{self, Failure};

/// A run that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// All was done.
    Done,
    /// The volume is empty: nothing was done.
    EmptyVolume,
    /// The repository has nothing that was asked for.
    NothingRestored,
}

/// How it went, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    Success,
    EmptyVolume,
    NothingRestored,
    /// A snapshot was made, or had been made before, without what could not be read.
    Partial,
    Failed,
    /// Ended by a signal.
    Stopped,
}

/// The end of a run.
#[derive(Debug)]
pub(super) struct Halt {
    pub(super) code: u8,
    pub(super) outcome: Outcome,
    /// What is still to be said.
    pub(super) lines: Vec<String>,
}

impl Halt {
    /// What was asked for cannot be.
    pub(super) fn misused(code: u8, what: &str) -> Self {
        Self { code, outcome: Outcome::Failed, lines: vec![format!("ERROR: {what}")] }
    }

    /// Something could not be read; the rest was saved.
    pub(super) fn partial(lines: Vec<String>) -> Self {
        Self { code: 3, outcome: Outcome::Partial, lines }
    }

    /// A failure under a code of its own, and what it means here; an interrupted one stays that.
    pub(super) fn because(failure: &Failure, code: u8, what: &str) -> Self {
        let mut halt = Self::from(failure);
        if halt.code != failure::INTERRUPTED {
            halt.code = code;
            halt.lines.push(format!("ERROR: {what}"));
        }
        halt
    }

    /// The same, if it is a signal that cut it short.
    pub(super) fn caused_by(self, signal: Option<Stop>) -> Self {
        match signal {
            Some(stop) if self.code == failure::INTERRUPTED => Self::stopped(stop),
            _ => self,
        }
    }

    /// Ended by a signal.
    pub(super) fn stopped(stop: Stop) -> Self {
        let line = format!(
            "ERROR: stopped by {}: what was stored until now is kept, the next run goes on from \
             there",
            stop.name()
        );
        Self { code: stop.code(), outcome: Outcome::Stopped, lines: vec![line] }
    }
}

impl From<&Failure> for Halt {
    fn from(failure: &Failure) -> Self {
        let mut lines = vec![format!("Fatal: {}", failure.message())];
        lines.extend(failure.advice());
        Self { code: failure.exit_code(), outcome: Outcome::Failed, lines }
    }
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::from(&failure)
    }
}

impl From<Ending> for Halt {
    fn from(ending: Ending) -> Self {
        let outcome = match ending {
            Ending::Done => Outcome::Success,
            Ending::EmptyVolume => Outcome::EmptyVolume,
            Ending::NothingRestored => Outcome::NothingRestored,
        };
        Self { code: 0, outcome, lines: Vec::new() }
    }
}
