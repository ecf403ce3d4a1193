//! Doing one step again, so that not the whole run has to be.
//!
//! Invariants: only what may pass is tried again, a few times; every call to a store has been
//! before.

use std::time::Duration;

use crate::{failure::Failure, session::Session};

const WAITS: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(20)];

/// Does it until it works, or fails in a way that does not pass.
pub(super) async fn steadily<T>(
    session: &Session,
    step: impl AsyncFn() -> Result<T, Failure>,
) -> Result<T, Failure> {
    for wait in WAITS {
        match step().await {
            Err(failure) if failure.may_pass() => {
                let (what, seconds) = (failure.message(), wait.as_secs());
                session.output.warn(&format!("{what}: trying this step again in {seconds} s"));
                let slept = async {
                    tokio::time::sleep(wait).await;
                    Ok(())
                };
                session.unless_cancelled(slept).await?;
            }
            result => return result,
        }
    }
    step().await
}
