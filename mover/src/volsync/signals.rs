//! Signals to a process that may be the first of its container.
//!
//! Invariants
//! - The first signal cancels; the process is gone ten seconds later at the latest, whatever the
//!   store does. The second one ends it at once.
//! - Which signal it was decides the exit code: 143 for SIGTERM, 130 for SIGINT.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use windlass_engine::cancel::Cancel;

use super::{ending::Halt, result::Ledger};
use crate::{
    failure::{self, Failure},
    output::Output,
};

/// How long the work may take to come to its own end.
const GRACE: Duration = Duration::from_secs(9);
/// How long its last words may take then.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A signal that ends a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Terminate,
    Interrupt,
}

impl Stop {
    /// What the process ends with.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Terminate => 143,
            Self::Interrupt => failure::INTERRUPTED,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        }
    }
}

/// Whether one came.
#[derive(Debug)]
pub(super) struct Signals(Arc<AtomicU8>);

const NONE: u8 = 0;

impl Signals {
    /// Cancels when the first one comes.
    pub(super) fn listen(
        cancel: &Cancel,
        output: &Arc<Output>,
        ledger: &Ledger,
    ) -> Result<Self, Failure> {
        let listen =
            |kind| signal(kind).map_err(|error| Failure::io("listening for signals", error));
        let mut terminate = listen(SignalKind::terminate())?;
        let mut interrupt = listen(SignalKind::interrupt())?;
        // Being listened for, a limit on the size of files is an error of the write, not the end.
        let _stays_installed = listen(SignalKind::from_raw(Signal::XFSZ.as_raw()))?;
        let first = Arc::new(AtomicU8::new(NONE));
        let (noted, cancel) = (Arc::clone(&first), cancel.clone());
        let (output, ledger) = (Arc::clone(output), ledger.clone());
        tokio::spawn(async move {
            loop {
                let stop = tokio::select! {
                    _ = terminate.recv() => Stop::Terminate,
                    _ = interrupt.recv() => Stop::Interrupt,
                };
                if cancel.is_cancelled() {
                    std::process::exit(stop.code().into());
                }
                noted.store(stop.code(), Ordering::Release);
                cancel.cancel();
                let (output, ledger) = (Arc::clone(&output), ledger.clone());
                std::thread::spawn(move || leave_after(stop, &output, &ledger));
            }
        });
        Ok(Self(first))
    }

    /// The first one that came.
    pub(super) fn first(&self) -> Option<Stop> {
        let code = self.0.load(Ordering::Acquire);
        [Stop::Terminate, Stop::Interrupt].into_iter().find(|stop| stop.code() == code)
    }
}

/// Ends the process after the grace; whoever is done before has left already.
fn leave_after(stop: Stop, output: &Arc<Output>, ledger: &Ledger) {
    std::thread::sleep(GRACE);
    let (output, ledger) = (Arc::clone(output), ledger.clone());
    // Whoever reads the output may have stopped to.
    std::thread::spawn(move || {
        let mut halt = Halt::stopped(stop);
        halt.lines.push("the store did not answer in time: a lock may be left behind".into());
        ledger.close(&halt);
        ledger.write_termination_message();
        halt.lines.iter().for_each(|line| output.result(line));
        output.flush();
    });
    std::thread::sleep(LAST_WORDS);
    std::process::exit(stop.code().into());
}
