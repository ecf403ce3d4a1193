//! How long someone waits for others who are in the way.
//!
//! Invariants: without patience an operation fails at the first look, but for what is no other's
//! presence and over already: then it begins again at once, a few times.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    AnnounceError,
    listener::{Listener, Met},
};
use crate::{cancel::Cancel, fault::Fault};

const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Times that an operation begins again because an index was replaced under it.
const MOST_OVERTAKEN: u32 = 3;

/// What is left of someone's patience.
#[derive(Debug)]
pub struct Patience {
    give_up: Instant,
    wait: Duration,
    overtaken: u32,
    listener: Listener,
}

impl Patience {
    /// Waits for others for `total`, counted from now.
    #[must_use]
    pub fn new(total: Duration) -> Self {
        let listener = Listener::default();
        Self { give_up: Instant::now() + total, wait: FIRST_WAIT, overtaken: 0, listener }
    }

    /// Whether anything was in the way so far.
    #[must_use]
    pub(crate) fn was_needed(&self) -> bool {
        self.overtaken > 0 || self.wait > FIRST_WAIT
    }

    /// Whoever waits tells it to this one.
    #[must_use]
    pub fn told(self, listener: Listener) -> Self {
        Self { listener, ..self }
    }

    /// Waits before another attempt, longer each time, or fails with what ended the last one.
    pub async fn outlast(
        &mut self,
        error: AnnounceError,
        cancel: &Cancel,
    ) -> Result<(), AnnounceError> {
        match error {
            AnnounceError::Busy { by } if Instant::now() < self.give_up => {
                let left = self.give_up - Instant::now();
                let next = self.wait.min(left);
                self.listener.hear(Met::Waiting { by: &by, next, left });
                tokio::select! {
                    () = sleep(next) => {}
                    () = cancel.cancelled() => return Err(Fault::Cancelled.into()),
                }
                self.wait = (self.wait * 2).min(LONGEST_WAIT);
                Ok(())
            }
            AnnounceError::Overtaken if self.overtaken < MOST_OVERTAKEN => {
                self.overtaken += 1;
                Ok(())
            }
            error => Err(error),
        }
    }
}
