//! Lending the terminal to a program while it starts, so that it can ask for a password.
//!
//! Invariants
//! - The terminal is lent only by a process that has it, and is taken back by dropping this.
//! - Without a terminal nothing happens.

use std::fs::{File, OpenOptions};

use nix::sys::signal::{SigSet, Signal};
use rustix::{
    process::{Pid, getpgrp},
    termios::{tcgetpgrp, tcsetpgrp},
};

/// The terminal while a program has it.
#[derive(Debug)]
pub(super) struct Foreground {
    terminal: File,
    ours: Pid,
}

impl Foreground {
    /// Makes the process group of `child` the one that the terminal listens to.
    pub(super) fn give_to(child: u32) -> Option<Self> {
        let child = Pid::from_raw(i32::try_from(child).ok()?)?;
        let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").ok()?;
        let ours = getpgrp();
        // A process in the background has nothing to lend.
        if tcgetpgrp(&terminal).ok()? != ours {
            return None;
        }
        tcsetpgrp(&terminal, child).ok()?;
        Some(Self { terminal, ours })
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        // Whoever takes a terminal from the background is stopped by this signal, unless this
        // thread blocks it.
        let mut stop = SigSet::empty();
        stop.add(Signal::SIGTTOU);
        let Ok(before) = stop.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK) else {
            return;
        };
        // Without it the program goes on in the background; there is nothing better to do.
        let _as_good_as_can_be = tcsetpgrp(&self.terminal, self.ours);
        let _as_good_as_can_be = before.thread_set_mask();
    }
}
