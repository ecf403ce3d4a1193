//! Draws the state of a running operation every now and then.
//!
//! Invariants: a drawer ends when it is dropped, and nothing is left of its last line.

use std::{
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::Output;
use crate::units;

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

/// `[0:05] [==>       ] 34.2%, ETA 0:09, 120.1 MiB/s, 345.0 MiB of 1.0 GiB`: what matters most
/// comes first, because a terminal may be narrow.
pub(crate) fn line(done: u64, total: Option<u64>, elapsed: Duration) -> String {
    let clock = units::clock(elapsed);
    let rate = units::rough_bytes((done as f64 / elapsed.as_secs_f64().max(0.001)) as u64);
    let Some(total) = total.map(|total| total.max(done)) else {
        return format!("[{clock}] {rate}/s, {}", units::rough_bytes(done));
    };
    let share = share(done, total);
    let eta = remaining(done, total, elapsed);
    let eta = eta.map(|left| format!(" ETA {},", units::clock(left))).unwrap_or_default();
    format!(
        "[{clock}] {} {:.1}%,{eta} {rate}/s, {} of {}",
        bar(share),
        share * 100.0,
        units::rough_bytes(done),
        units::rough_bytes(total)
    )
}

/// `[=====>    ]`.
fn bar(share: f64) -> String {
    const CELLS: usize = 10;
    let full = ((share * CELLS as f64) as usize).min(CELLS);
    let tip = if full < CELLS { ">" } else { "" };
    format!("[{}{tip}{}]", "=".repeat(full), " ".repeat(CELLS - full - tip.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_one_width() {
        assert_eq!(bar(0.0), "[>         ]");
        assert_eq!(bar(0.5), "[=====>    ]");
        assert_eq!(bar(1.0), "[==========]");
    }

    #[test]
    fn a_line_has_share_time_left_and_speed() {
        let elapsed = Duration::from_secs(10);
        let expected = "[0:10] [==>       ] 25.0%, ETA 0:30, 25.6 MiB/s, 256.0 MiB of 1.0 GiB";
        assert_eq!(line(256 << 20, Some(1 << 30), elapsed), expected);
        assert_eq!(line(1000, None, elapsed), "[0:10] 100 B/s, 1000 B");
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
