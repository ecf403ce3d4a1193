//! Trying again.
//!
//! Invariants: only what may pass is tried again, and for a bounded time from the first failure on;
//! at least once, however long the first try took. Where nothing has ever answered, a wrong address
//! is likelier than an outage, and it is said soon.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::{Entropy, Failure, Observer, StoreError, backoff};
use crate::store::{settings::Patience, trace::StoreEvent};

/// Tries of a call whose answer should be final but may be wrong.
const FLAKY_TRIES: u32 = 5;

/// The rules for all calls to one server.
#[derive(Debug)]
pub(super) struct Retry {
    patience: Patience,
    flaky: bool,
    observer: Observer,
    entropy: Entropy,
    /// Whether the server has ever answered to something.
    answered: AtomicBool,
}

impl Retry {
    pub(super) fn new(
        patience: Patience,
        flaky: bool,
        observer: Observer,
        entropy: Entropy,
    ) -> Self {
        Self { patience, flaky, observer, entropy, answered: AtomicBool::new(false) }
    }

    /// Runs `call` until it succeeds or cannot.
    pub(super) async fn run<T, F>(
        &self,
        action: &'static str,
        object: &str,
        mut call: impl FnMut() -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut first_failure = None;
        for attempt in 1.. {
            let error = match call().await {
                Ok(done) => {
                    self.answered.store(true, Ordering::Relaxed);
                    return Ok(done);
                }
                Err(error) => error,
            };
            let failed_at = *first_failure.get_or_insert_with(Instant::now);
            let Some(pause) = self.pause_after(&error, attempt, failed_at.elapsed()) else {
                return Err(error);
            };
            self.observer.tell(|| StoreEvent::Retry {
                action,
                object: object.to_owned(),
                failure: error.failure,
                why: error.source.to_string(),
                attempt,
                pause,
            });
            tokio::time::sleep(pause).await;
        }
        unreachable!("the numbers of tries end after the patience")
    }

    /// What to wait after a failure; `None` where it is final.
    fn pause_after(&self, error: &StoreError, attempt: u32, since: Duration) -> Option<Duration> {
        let may_pass = error.failure.may_pass();
        if !may_pass || error.failure == Failure::Throttled {
            self.answered.store(true, Ordering::Relaxed);
        }
        let may_be_wrong = self.flaky && attempt < FLAKY_TRIES;
        if !may_pass && !may_be_wrong {
            return None;
        }
        if self.patience.tries.is_some_and(|tries| attempt >= tries.max(1)) {
            return None;
        }
        let random = self.entropy.bytes().map_or(0, u64::from_le_bytes);
        if !may_pass {
            return Some(backoff::short_pause(attempt, random));
        }
        let patience = match self.answered.load(Ordering::Relaxed) {
            true => self.patience.outage,
            false if error.failure == Failure::Unreachable => self.patience.nobody,
            false => self.patience.first_contact,
        };
        let pause = backoff::pause(attempt, random, error.pause());
        (attempt == 1 || since + pause <= patience).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn retry(flaky: bool, tries: Option<u32>) -> (Retry, Arc<Mutex<Vec<StoreEvent>>>) {
        let events = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&events);
        let observer = Observer::new(move |event| told.lock().expect("lock").push(event.clone()));
        let patience = Patience { tries, ..Patience::default() };
        (Retry::new(patience, flaky, observer, Entropy::seeded(7)), events)
    }

    fn error(failure: Failure) -> StoreError {
        StoreError::new(failure, "read", "x", "made up")
    }

    /// Fails with `failure` so many times and then works; gives the calls made and the time taken.
    async fn outcome(
        retry: &Retry,
        failure: Failure,
        failures: u32,
    ) -> (Result<(), StoreError>, u32, Duration) {
        let began = Instant::now();
        let mut calls = 0;
        let result = retry
            .run("read", "x", || {
                calls += 1;
                let fails = calls <= failures;
                async move { if fails { Err(error(failure)) } else { Ok(()) } }
            })
            .await;
        (result, calls, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_again_until_it_works() {
        let (retry, events) = retry(false, None);
        let (result, calls, took) = outcome(&retry, Failure::Transient, 3).await;
        result.expect("worked at last");
        assert_eq!(calls, 4);
        assert!(took >= Duration::from_millis(250 + 500 + 1000) && took < Duration::from_secs(4));
        assert_eq!(events.lock().expect("lock").len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_pass_is_reported_at_once() {
        let (retry, _events) = retry(false, None);
        for failure in [
            Failure::NotFound,
            Failure::Denied,
            Failure::NoSpace,
            Failure::Short,
            Failure::Permanent,
        ] {
            let (result, calls, took) = outcome(&retry, failure, 100).await;
            assert_eq!(result.expect_err("failed").failure, failure);
            assert_eq!((calls, took), (1, Duration::ZERO));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flaky_store_is_asked_five_times() {
        let (retry, _events) = retry(true, None);
        let (result, calls, took) = outcome(&retry, Failure::NotFound, 100).await;
        assert_eq!((result.expect_err("failed").failure, calls), (Failure::NotFound, 5));
        assert!(took < Duration::from_millis(1500), "{took:?}");
        let (result, calls, _took) = outcome(&retry, Failure::NotFound, 4).await;
        result.expect("the fifth answer counts");
        assert_eq!(calls, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_never_answered_is_given_up_sooner_than_an_outage_is() {
        let (retry, _events) = retry(false, None);
        let (result, _calls, took) = outcome(&retry, Failure::Transient, u32::MAX).await;
        result.expect_err("given up");
        assert!(took <= Duration::from_mins(1) && took > Duration::from_secs(20), "{took:?}");
        outcome(&retry, Failure::Transient, 0).await.0.expect("it answers");
        let (result, _calls, took) = outcome(&retry, Failure::Transient, u32::MAX).await;
        result.expect_err("given up");
        assert!(took <= Duration::from_mins(15) && took > Duration::from_mins(14), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_where_nobody_is_is_given_up_within_seconds_unless_somebody_was_there() {
        let (retry, _events) = retry(false, None);
        let (result, calls, took) = outcome(&retry, Failure::Unreachable, u32::MAX).await;
        result.expect_err("given up");
        assert!(calls > 2 && took <= Duration::from_secs(5), "{calls} in {took:?}");
        outcome(&retry, Failure::Unreachable, 2).await.0.expect("it starts again in time");
        let (result, _calls, took) = outcome(&retry, Failure::Unreachable, u32::MAX).await;
        result.expect_err("given up");
        assert!(took > Duration::from_mins(14), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_tries_can_be_limited() {
        let (retry, _events) = retry(false, Some(3));
        assert_eq!(outcome(&retry, Failure::Transient, 100).await.1, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn one_slow_try_is_followed_by_another() {
        let (retry, _events) = retry(false, None);
        let mut calls = 0;
        let result = retry.run("read", "x", || {
            calls += 1;
            let first = calls == 1;
            async move {
                tokio::time::sleep(Duration::from_hours(1)).await;
                if first { Err(error(Failure::Transient)) } else { Ok(()) }
            }
        });
        result.await.expect("the second works");
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_asks_for_a_pause_gets_it() {
        let (retry, _events) = retry(false, None);
        let began = Instant::now();
        let mut calls = 0;
        let result = retry.run("read", "x", || {
            calls += 1;
            let first = calls == 1;
            async move {
                let pause = Duration::from_secs(20);
                if first { Err(error(Failure::Throttled).pausing(pause)) } else { Ok(()) }
            }
        });
        result.await.expect("the second works");
        assert!(began.elapsed() >= Duration::from_secs(20));
    }
}
