//! Waiting for a person, where the controller was told that somebody wants to look.
//!
//! Invariants: behind the gate nothing is done by itself; it opens when its file is removed, and for
//! whoever comes by the link it made.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use windlass_engine::cancel::Cancel;

use super::{
    Mover,
    ending::{Ending, Halt},
};
use crate::{failure::Failure, output::Output, settings::environment::Variables};

const KEEP_FILE: &str = "exit-debug-if-removed";
const LOOK_EVERY: Duration = Duration::from_secs(1);
const RULE: &str = "##################################################################";

/// A gate that is closed.
pub(super) struct Gate {
    room: PathBuf,
    mover: &'static Path,
}

/// The gate, where it is asked for.
pub(super) fn closed(mover: Mover, variables: &Variables) -> Option<Gate> {
    if variables.get("DEBUG_MOVER").is_none_or(|text| text != "1") {
        return None;
    }
    let room = std::env::temp_dir();
    let name = std::env::args_os().next()?;
    let is_by_link = Path::new(&name).parent() == Some(&room);
    (!is_by_link).then(|| Gate { room, mover: mover.path() })
}

impl Gate {
    /// Waits until its file is gone.
    pub(super) async fn hold(
        &self,
        words: &[String],
        output: &Output,
        cancel: &Cancel,
    ) -> Result<Ending, Halt> {
        let (keep, link) = (self.room.join(KEEP_FILE), self.room.join("entry.sh"));
        let failed =
            |error| Halt::from(Failure::io(format!("making {} ready", self.room.display()), error));
        fs::write(&keep, b"").map_err(failed)?;
        match symlink(self.mover, &link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed(error));
            }
            _ => {}
        }
        for line in [
            "",
            RULE,
            "DEBUG_MOVER is enabled, this pod waits and does nothing by itself.",
            "",
            "To do what it would have done, run:",
            &format!("{} {}", link.display(), words.join(" ")),
            "To look into the repository, run windlass, which has the same environment.",
            "",
            "To end this pod, remove the file",
            &keep.display().to_string(),
            RULE,
        ] {
            output.line(line);
        }
        while matches!(keep.try_exists(), Ok(true) | Err(_)) {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = cancel.cancelled() => return Err(Failure::Interrupted.into()),
            }
        }
        output.line("Debug done, exiting.");
        Ok(Ending::Done)
    }
}
