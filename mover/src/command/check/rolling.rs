//! A check that reads everything once in a number of days, a part with every run: what is due, and
//! where it is noted how far it came.
//!
//! Invariants
//! - Each pack is due at a moment of the period that follows from its name; a run reads what became
//!   due since the last one that came to its end. However far apart runs are, each pack is read once
//!   in the period, and none is left out.
//! - What is noted is one moment. Where it is lost or makes no sense, the last run counts as a day
//!   ago: then a pack may be read up to one period later than it should be.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use windlass_engine::{check::Read, repository::Repository};

use crate::{failure::Failure, session::Session};

const DAY: i64 = 86_400;

/// Where a rolling check is.
#[derive(Debug)]
pub(super) struct Rolling {
    days: u16,
    /// Where it is noted; `None` where there is no place for it.
    file: Option<PathBuf>,
    /// When the last run began, as far as that is known.
    last_seconds: Option<i64>,
    now_seconds: i64,
}

#[derive(Serialize, Deserialize)]
struct Noted {
    checked_until: i64,
}

impl Rolling {
    /// Reads what was noted.
    pub(super) fn of(
        days: u16,
        repository: &Repository,
        session: &Session,
    ) -> Result<Self, Failure> {
        let now_seconds = session.environment.clock.now().seconds;
        let directory = session.settings.cache_directory()?;
        let name = format!("{}.json", repository.identity().id);
        let file = directory.map(|directory| directory.join("windlass-check").join(name));
        let noted = file.as_deref().map(|file| (file, fs::read(file)));
        let last_seconds = noted.and_then(|(file, bytes)| {
            let why = match bytes {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
                Err(error) => error.to_string(),
                Ok(bytes) => match serde_json::from_slice::<Noted>(&bytes) {
                    Ok(noted) if noted.checked_until <= now_seconds => {
                        return Some(noted.checked_until);
                    }
                    Ok(_later) => "it is from the future".into(),
                    Err(error) => error.to_string(),
                },
            };
            let file = file.display();
            session.output.warn(&format!("{file} says nothing of the last check: {why}"));
            None
        });
        Ok(Self { days, file, last_seconds, now_seconds })
    }

    /// What is to be read.
    pub(super) fn due(&self) -> Read {
        Read::Due {
            period_seconds: u64::from(self.days) * DAY as u64,
            after_seconds: self.last_seconds.unwrap_or(self.now_seconds - DAY),
            until_seconds: self.now_seconds,
        }
    }

    /// Says what is read.
    pub(super) fn tell(&self, session: &Session) {
        let days = self.days;
        let since = match self.last_seconds {
            Some(seconds) => {
                let hours = (self.now_seconds - seconds) / 3600;
                format!("what became due in the {hours} hours since the last check")
            }
            None => "the share of a day, because nothing is known of a check before".to_owned(),
        };
        session.output.line(&format!("everything is read once in {days} days; now {since}"));
        if self.file.is_none() {
            session.output.warn(
                "there is no cache directory to note in how far it came; each check without one \
                 reads the share of the last day",
            );
        }
    }

    /// Notes that this run came to its end.
    pub(super) fn note(&self, session: &Session) {
        let Some(file) = &self.file else { return };
        if let Err(error) = write(file, &Noted { checked_until: self.now_seconds }) {
            let file = file.display();
            session
                .output
                .warn(&format!("{file}: {error}; the next check reads the same once more"));
        }
    }
}

fn write(file: &Path, noted: &Noted) -> io::Result<()> {
    let directory = file.parent().ok_or(io::ErrorKind::NotFound)?;
    fs::create_dir_all(directory)?;
    let new = file.with_extension(format!("new-{}", std::process::id()));
    let written = serde_json::to_vec(noted).map_err(io::Error::other);
    let written = written.and_then(|bytes| fs::write(&new, bytes));
    let renamed = written.and_then(|()| fs::rename(&new, file));
    if renamed.is_err() {
        let _may_not_be_there = fs::remove_file(&new);
    }
    renamed
}
