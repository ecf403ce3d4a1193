//! Draws the state of a running operation every now and then.
//!
//! Invariants: a drawer ends when it is dropped, and nothing is left of its last line.

use std::{
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::Output;

/// Something with a state that can be drawn.
pub(crate) trait Draw: Send + Sync + 'static {
    /// Prints the state.
    fn draw(&self, output: &Output, elapsed: Duration);
}

/// A thread that draws.
#[derive(Debug)]
pub(crate) struct Drawer {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    output: Arc<Output>,
}

impl Drawer {
    /// Draws `what` as often as `output` wants it, which may be never.
    pub(crate) fn start(output: &Arc<Output>, what: Arc<dyn Draw>) -> Self {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = output.status_interval().map(|interval| {
            let output = Arc::clone(output);
            std::thread::spawn(move || {
                let started = Instant::now();
                while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(interval) {
                    what.draw(&output, started.elapsed());
                }
            })
        });
        Self { stop: Some(stop), thread, output: Arc::clone(output) }
    }
}

impl Drop for Drawer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ended_or_panicked = thread.join();
            self.output.end_status();
        }
    }
}

/// How much of `total` is left to do, judging by the speed so far.
pub(crate) fn remaining(done: u64, total: u64, elapsed: Duration) -> Option<Duration> {
    if done == 0 || done >= total || elapsed < Duration::from_secs(1) {
        return None;
    }
    let left = elapsed.as_secs_f64() * (total - done) as f64 / done as f64;
    Duration::try_from_secs_f64(left).ok()
}

/// The share that is done, at most one.
pub(crate) fn share(done: u64, total: u64) -> f64 {
    if total == 0 { 0.0 } else { (done as f64 / total as f64).min(1.0) }
}

/// `[=====>    ]`.
pub(crate) fn bar(share: f64) -> String {
    const CELLS: usize = 20;
    let full = ((share * CELLS as f64) as usize).min(CELLS);
    let tip = if full < CELLS { ">" } else { "" };
    format!("[{}{tip}{}]", "=".repeat(full), " ".repeat(CELLS - full - tip.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_one_width() {
        assert_eq!(bar(0.0), "[>                   ]");
        assert_eq!(bar(0.5), "[==========>         ]");
        assert_eq!(bar(1.0), "[====================]");
    }

    #[test]
    fn what_is_left_follows_from_the_speed_so_far() {
        let second = Duration::from_secs(1);
        assert_eq!(remaining(25, 100, second), Some(3 * second));
        assert_eq!(remaining(0, 100, second), None);
        assert_eq!(remaining(100, 100, second), None);
        assert_eq!(remaining(1, 100, second / 10), None);
        assert!((share(150, 100) - 1.0).abs() < f64::EPSILON);
    }
}
