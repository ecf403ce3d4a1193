//! Waiting for a place in the window.
//!
//! Invariants: places are given in the order they were asked for; small requests have a few places
//! of their own, so that a lock is refreshed in time whatever else is under way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

use super::{Observer, window::Window};
use crate::store::{Failure, StoreError, trace::StoreEvent};

/// Places that only small requests take.
const SMALL_PLACES: usize = 2;

/// The window, and who waits for it.
#[derive(Debug)]
pub(super) struct Turns {
    window: Mutex<Window>,
    /// As many places as the window has, less those that are still to be taken away.
    places: Arc<Semaphore>,
    debt: Mutex<usize>,
    small: Semaphore,
    observer: Observer,
}

/// A place, until it is given back.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    permit: Option<SemaphorePermit<'a>>,
    is_own: bool,
    began: Instant,
}

impl Turns {
    pub(super) fn new(first: usize, most: usize, observer: Observer) -> Self {
        let window = Window::new(first, most);
        let places = Arc::new(Semaphore::new(window.size()));
        let (window, debt) = (Mutex::new(window), Mutex::default());
        Self { window, places, debt, small: Semaphore::new(SMALL_PLACES), observer }
    }

    /// Waits for a place.
    pub(super) async fn wait(&self, is_small: bool) -> Turn<'_> {
        let turn = |permit, is_own| Turn { turns: self, permit, is_own, began: Instant::now() };
        if let Ok(permit) = self.places.try_acquire() {
            return turn(Some(permit), false);
        }
        self.window().is_full();
        if is_small {
            // Whichever comes first.
            return tokio::select! {
                permit = self.small.acquire() => turn(permit.ok(), true),
                permit = self.places.acquire() => turn(permit.ok(), false),
            };
        }
        // It is never closed.
        turn(self.places.acquire().await.ok(), false)
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives or takes places so that there are as many as the window has.
    fn resized(&self, before: usize, after: usize, throttled: bool) {
        let mut debt = self.debt.lock().unwrap_or_else(PoisonError::into_inner);
        if after > before {
            let more = after - before;
            let paid = more.min(*debt);
            *debt -= paid;
            self.places.add_permits(more - paid);
        } else {
            let fewer = before - after;
            *debt += fewer - self.places.forget_permits(fewer);
        }
        drop(debt);
        self.observer.tell(|| StoreEvent::Window { requests: after, throttled });
    }
}

impl Turn<'_> {
    /// The request has ended; `bytes` is what it carried.
    pub(super) fn ended<T>(self, result: &Result<T, StoreError>, bytes: u64) {
        let now = Instant::now();
        let mut window = self.turns.window();
        let before = window.size();
        let throttled = match result {
            Ok(_) => {
                window.carried(self.began, now, bytes);
                false
            }
            Err(error) if error.failure == Failure::Throttled => {
                window.throttled(self.began, now);
                true
            }
            Err(_) => false,
        };
        let after = window.size();
        drop(window);
        if before != after {
            self.turns.resized(before, after, throttled);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else { return };
        let mut debt = self.turns.debt.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_own && *debt > 0 {
            *debt -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn throttled() -> Result<(), StoreError> {
        Err(StoreError::new(Failure::Throttled, "read", "x", "made up"))
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_window_are_under_way() {
        let turns = Turns::new(2, 2, Observer::default());
        let one = turns.wait(false).await;
        let _two = turns.wait(false).await;
        let late = tokio::time::timeout(Duration::from_secs(1), turns.wait(false)).await;
        assert!(late.is_err(), "a third has to wait");
        drop(one);
        let _three = turns.wait(false).await;
    }

    #[tokio::test(start_paused = true)]
    async fn small_requests_get_through() {
        let turns = Turns::new(1, 1, Observer::default());
        let _large = turns.wait(false).await;
        let one = turns.wait(true).await;
        let _two = turns.wait(true).await;
        let late = tokio::time::timeout(Duration::from_secs(1), turns.wait(true)).await;
        assert!(late.is_err(), "but not without end");
        drop(one);
        let _three = turns.wait(true).await;
    }

    #[tokio::test(start_paused = true)]
    async fn places_that_are_taken_away_while_in_use_do_not_come_back() {
        let turns = Turns::new(8, 8, Observer::default());
        let mut taken = Vec::new();
        for _turn in 0..8 {
            taken.push(turns.wait(false).await);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        taken.pop().expect("eight").ended(&throttled(), 0);
        drop(taken);
        let mut again = Vec::new();
        while let Ok(turn) = tokio::time::timeout(Duration::from_secs(1), turns.wait(false)).await {
            again.push(turn);
        }
        assert_eq!(again.len(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn places_that_are_added_can_be_used() {
        let turns = Turns::new(1, 4, Observer::default());
        for _round in 0..20 {
            let mut taken = Vec::new();
            while let Ok(turn) =
                tokio::time::timeout(Duration::from_millis(300), turns.wait(false)).await
            {
                taken.push(turn);
            }
            for turn in taken {
                turn.ended(&Ok(()), 1 << 20);
            }
        }
        let mut taken = 0;
        let mut turns_held = Vec::new();
        while let Ok(turn) = tokio::time::timeout(Duration::from_secs(1), turns.wait(false)).await {
            turns_held.push(turn);
            taken += 1;
        }
        assert!(taken > 1, "{taken}");
    }
}
