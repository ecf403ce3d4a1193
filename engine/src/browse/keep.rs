//! What was read lately, within a limit in bytes, and read once for all who want it.
//!
//! Invariants
//! - What is kept takes no more than the limit, as whoever reads it reckons, but for a single value
//!   that is larger: that one is kept alone.
//! - A value is read by whoever comes first, and whoever comes meanwhile waits for it; where that
//!   reading fails or panics, the next one reads it itself.
//! - What is being read takes its room from the budget of the whole browser.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::Hash,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use crate::{budget::Budget, fault::Fault};

/// Values by their keys, the last used ones.
#[derive(Debug)]
pub(super) struct Keep<K, V> {
    limit_bytes: usize,
    flight: Budget,
    state: Mutex<State<K, V>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<K, V> {
    kept: HashMap<K, Slot<V>>,
    /// Keys by their last use, the oldest first.
    by_use: BTreeMap<u64, K>,
    uses: u64,
    kept_bytes: usize,
    reading: HashSet<K>,
}

#[derive(Debug)]
struct Slot<V> {
    value: V,
    bytes: usize,
    used: u64,
}

impl<K: Clone + Eq + Hash, V: Clone> Keep<K, V> {
    /// Keeps `limit_bytes`; what is being read is part of `flight`.
    pub(super) fn new(limit_bytes: usize, flight: Budget) -> Self {
        let state = State {
            kept: HashMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
            kept_bytes: 0,
            reading: HashSet::new(),
        };
        Self { limit_bytes, flight, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// The value, read by `read` where it is not kept, which gives it with its bytes. Reading it
    /// takes about `flight_bytes`. Blocks the thread.
    pub(super) fn get(
        &self,
        key: &K,
        flight_bytes: usize,
        read: impl FnOnce() -> Result<(V, usize), Fault>,
    ) -> Result<V, Fault> {
        let mut state = self.lock();
        loop {
            if let Some(value) = state.touch(key) {
                return Ok(value);
            }
            if state.reading.insert(key.clone()) {
                break;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        let turn = Turn { keep: self, key };
        let _held = self.flight.take(flight_bytes);
        let (value, bytes) = read()?;
        self.lock().add(key.clone(), value.clone(), bytes, self.limit_bytes);
        drop(turn);
        Ok(value)
    }

    /// Whether asking for it would read nothing.
    pub(super) fn is_at_hand(&self, key: &K) -> bool {
        let state = self.lock();
        state.kept.contains_key(key) || state.reading.contains(key)
    }

    fn lock(&self) -> MutexGuard<'_, State<K, V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody reads a value, until this is dropped.
struct Turn<'a, K: Clone + Eq + Hash, V: Clone> {
    keep: &'a Keep<K, V>,
    key: &'a K,
}

impl<K: Clone + Eq + Hash, V: Clone> Drop for Turn<'_, K, V> {
    fn drop(&mut self) {
        self.keep.lock().reading.remove(self.key);
        self.keep.changed.notify_all();
    }
}

impl<K: Clone + Eq + Hash, V: Clone> State<K, V> {
    fn touch(&mut self, key: &K) -> Option<V> {
        let slot = self.kept.get_mut(key)?;
        let key = self.by_use.remove(&slot.used)?;
        self.uses += 1;
        slot.used = self.uses;
        self.by_use.insert(self.uses, key);
        Some(slot.value.clone())
    }

    fn add(&mut self, key: K, value: V, bytes: usize, limit_bytes: usize) {
        self.remove(&key);
        while self.kept_bytes.saturating_add(bytes) > limit_bytes
            && let Some((_used, oldest)) = self.by_use.pop_first()
        {
            self.remove(&oldest);
        }
        self.uses += 1;
        self.kept_bytes += bytes;
        self.by_use.insert(self.uses, key.clone());
        self.kept.insert(key, Slot { value, bytes, used: self.uses });
    }

    fn remove(&mut self, key: &K) {
        if let Some(slot) = self.kept.remove(key) {
            self.by_use.remove(&slot.used);
            self.kept_bytes -= slot.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
        time::Duration,
    };

    use super::*;

    fn keep() -> Keep<u32, u32> {
        Keep::new(100, Budget::new(100))
    }

    fn get(keep: &Keep<u32, u32>, key: u32, bytes: usize, reads: &AtomicUsize) {
        let read = || {
            reads.fetch_add(1, Ordering::Relaxed);
            Ok((key * 2, bytes))
        };
        assert_eq!(keep.get(&key, bytes, read).expect("read"), key * 2);
    }

    #[test]
    fn what_was_used_last_stays_within_the_limit() {
        let (keep, reads) = (keep(), AtomicUsize::new(0));
        (0..4).for_each(|key| get(&keep, key, 25, &reads));
        get(&keep, 0, 25, &reads);
        assert_eq!(reads.load(Ordering::Relaxed), 4);
        get(&keep, 4, 25, &reads);
        // 1 had to go, 0 was used after it.
        assert!(keep.is_at_hand(&0) && !keep.is_at_hand(&1) && keep.is_at_hand(&2));
        get(&keep, 5, 1000, &reads);
        assert!(keep.is_at_hand(&5) && !keep.is_at_hand(&0) && !keep.is_at_hand(&4));
        get(&keep, 6, 1, &reads);
        assert!(keep.is_at_hand(&6) && !keep.is_at_hand(&5));
        let state = keep.lock();
        assert_eq!((state.kept_bytes, state.by_use.len(), state.kept.len()), (1, 1, 1));
    }

    #[test]
    fn whoever_comes_at_the_same_moment_waits_for_one_reading() {
        let (keep, reads) = (keep(), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _thread in 0..8 {
                scope.spawn(|| {
                    let read = || {
                        reads.fetch_add(1, Ordering::Relaxed);
                        thread::sleep(Duration::from_millis(50));
                        Ok((7, 1))
                    };
                    assert_eq!(keep.get(&1, 1, read).expect("read"), 7);
                });
            }
        });
        assert_eq!(reads.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_reading_that_fails_or_panics_is_in_nobodys_way() {
        let (keep, reads) = (keep(), AtomicUsize::new(0));
        keep.get(&1, 500, || Err(Fault::Cancelled)).expect_err("failed");
        thread::scope(|scope| {
            let panics = scope.spawn(|| keep.get(&1, 500, || panic!("as it is meant to")));
            panics.join().expect_err("panicked");
        });
        get(&keep, 1, 500, &reads);
        assert_eq!(reads.load(Ordering::Relaxed), 1);
    }
}
