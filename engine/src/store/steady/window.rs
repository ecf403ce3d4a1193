//! How many requests are under way at once.
//!
//! Invariants
//! - Never more than the most that was given, and never fewer than one.
//! - It grows only while more requests carry more, halves when the store asks for less or takes much
//!   longer to carry less, and does neither because of requests that began before the last halving.
//!
//! Not here: waiting (`turn`). This is plain data: the time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// An epoch is judged when so many requests have ended for each place in the window…
const REQUESTS_PER_PLACE: u32 = 2;
/// …and so much time has passed.
const EPOCH: Duration = Duration::from_millis(200);
/// A gain that is no noise.
const GAIN: f64 = 1.1;
/// A loss that is no noise.
const LOSS: f64 = 0.5;
/// What one request costs beside its bytes, so that small ones count.
const REQUEST_BYTES: u64 = 64 * 1024;

/// The size of the window, and what it is judged by.
#[derive(Clone, Debug)]
pub(super) struct Window {
    size: usize,
    most: usize,
    /// Whether it still doubles: until it first stopped paying.
    is_opening: bool,
    /// The best rate seen, and how long a request took then for its weight.
    best: Option<Pace>,
    epoch: Option<Epoch>,
    halved_at: Option<Instant>,
}

/// What an epoch came to.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Weight in a second, of all requests together.
    rate: f64,
    /// Seconds for a weight, of one request.
    cost: f64,
}

#[derive(Clone, Copy, Debug)]
struct Epoch {
    began: Instant,
    ended_requests: u32,
    weight: u64,
    spent: Duration,
    /// Whether somebody had to wait. A window that nobody fills tells nothing about a larger one.
    was_full: bool,
}

impl Window {
    pub(super) fn new(first: usize, most: usize) -> Self {
        let most = most.max(1);
        Self {
            size: first.clamp(1, most),
            most,
            is_opening: true,
            best: None,
            epoch: None,
            halved_at: None,
        }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Somebody has to wait.
    pub(super) fn is_full(&mut self) {
        if let Some(epoch) = &mut self.epoch {
            epoch.was_full = true;
        }
    }

    /// A request that began at `began` has carried `bytes`. Whether the size has changed.
    pub(super) fn carried(&mut self, began: Instant, now: Instant, bytes: u64) -> bool {
        if self.halved_at.is_some_and(|halved_at| began < halved_at) {
            return false;
        }
        let epoch = self.epoch.get_or_insert(Epoch {
            began,
            ended_requests: 0,
            weight: 0,
            spent: Duration::ZERO,
            was_full: false,
        });
        epoch.ended_requests += 1;
        epoch.weight += bytes + REQUEST_BYTES;
        epoch.spent += now.duration_since(began);
        let lasted = now.duration_since(epoch.began);
        let places = u32::try_from(self.size).unwrap_or(u32::MAX);
        if lasted < EPOCH || epoch.ended_requests < places.saturating_mul(REQUESTS_PER_PLACE) {
            return false;
        }
        let epoch = *epoch;
        self.epoch = None;
        let weight = epoch.weight as f64;
        let pace =
            Pace { rate: weight / lasted.as_secs_f64(), cost: epoch.spent.as_secs_f64() / weight };
        self.judge(now, pace, epoch.was_full)
    }

    /// The store asked for less. Whether the size has changed: many requests may hear it at once.
    pub(super) fn throttled(&mut self, began: Instant, now: Instant) -> bool {
        if self.halved_at.is_some_and(|halved_at| began < halved_at) {
            return false;
        }
        // What came through before was too much: growth is measured by what comes through now.
        self.best = None;
        self.halve(now)
    }

    fn judge(&mut self, now: Instant, pace: Pace, was_full: bool) -> bool {
        let Some(best) = self.best else {
            self.best = Some(pace);
            return was_full && self.grow();
        };
        // Less comes through, and each request takes much longer for it: the store is choking.
        if pace.rate < best.rate * LOSS && pace.cost > best.cost / LOSS {
            self.best = Some(pace);
            return self.halve(now);
        }
        if pace.rate > best.rate * GAIN {
            self.best = Some(pace);
            return was_full && self.grow();
        }
        // As much as before: what was opened last did not help. Looked at again from here.
        self.is_opening = false;
        let towards = |old: f64, new: f64| old + (new - old) / 8.0;
        self.best =
            Some(Pace { rate: towards(best.rate, pace.rate), cost: towards(best.cost, pace.cost) });
        false
    }

    fn grow(&mut self) -> bool {
        let before = self.size;
        let larger = if self.is_opening { self.size * 2 } else { self.size + 1 };
        self.size = larger.min(self.most);
        self.size != before
    }

    fn halve(&mut self, now: Instant) -> bool {
        let before = self.size;
        self.size = (self.size / 2).max(1);
        self.is_opening = false;
        self.epoch = None;
        self.halved_at = Some(now);
        self.size != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A store that serves `wanted` requests side by side, and what happens to the window.
    struct Model {
        window: Window,
        now: Instant,
    }

    impl Model {
        fn new(first: usize, most: usize) -> Self {
            Self { window: Window::new(first, most), now: Instant::now() }
        }

        /// Rounds of a full window; a request of 1 MiB takes what `took` says of the window's size.
        fn rounds(&mut self, rounds: usize, took: impl Fn(usize) -> Duration) {
            for _round in 0..rounds {
                let (began, size) = (self.now, self.window.size());
                self.now += took(size);
                for _request in 0..size {
                    self.window.is_full();
                    self.window.carried(began, self.now, MIB);
                }
            }
        }
    }

    #[test]
    fn a_store_that_scales_is_used_up_to_the_most() {
        let mut model = Model::new(4, 20);
        model.rounds(60, |_size| Duration::from_millis(100));
        assert_eq!(model.window.size(), 20);
    }

    #[test]
    fn a_line_that_is_full_is_not_filled_further() {
        let mut model = Model::new(2, 64);
        // Eight side by side are as fast as the line is; more only wait for each other.
        model.rounds(200, |size| Duration::from_millis(100) * (size.div_ceil(8) as u32));
        assert!((8..=20).contains(&model.window.size()), "{}", model.window.size());
    }

    #[test]
    fn a_window_that_nobody_fills_does_not_grow() {
        let mut window = Window::new(4, 64);
        let mut now = Instant::now();
        for _request in 0..100 {
            let began = now;
            now += Duration::from_millis(50);
            window.carried(began, now, MIB);
        }
        assert_eq!(window.size(), 4);
    }

    #[test]
    fn a_burst_of_refusals_halves_once() {
        let mut model = Model::new(16, 16);
        let began = model.now;
        model.now += Duration::from_millis(10);
        let changes = (0..16).filter(|_| model.window.throttled(began, model.now)).count();
        assert_eq!((changes, model.window.size()), (1, 8));
        let began = model.now;
        model.now += Duration::from_millis(10);
        assert!(model.window.throttled(began, model.now));
        assert_eq!(model.window.size(), 4);
        for _time in 0..10 {
            model.now += Duration::from_millis(10);
            model.window.throttled(model.now, model.now);
        }
        assert_eq!(model.window.size(), 1, "one request is always allowed");
    }

    #[test]
    fn a_store_that_chokes_gets_less() {
        let mut model = Model::new(8, 8);
        model.rounds(20, |_size| Duration::from_millis(100));
        model.rounds(4, |_size| Duration::from_secs(3));
        assert!(model.window.size() <= 4, "{}", model.window.size());
    }

    #[test]
    fn it_opens_again_slowly_after_trouble() {
        let mut model = Model::new(8, 8);
        model.rounds(10, |_size| Duration::from_millis(100));
        model.window.throttled(model.now, model.now);
        assert_eq!(model.window.size(), 4);
        // The rate falls with the window and is what growth is measured by from then on.
        model.rounds(200, |_size| Duration::from_millis(100));
        assert!(model.window.size() > 4, "{}", model.window.size());
    }
}
