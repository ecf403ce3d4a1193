//! Descriptors of directories and files that are kept open between uses, and not too many.
//!
//! Invariants
//! - At most `capacity` are kept; one that was used since it was last considered gets a second
//!   chance before it is closed. Whoever uses one holds it open for that long.
//! - Closing only costs opening again: nothing depends on what is kept.
//! - A slot may be locked while others are opened for it (a directory through those above), so
//!   whoever looks for something to close waits for no slot: one that is locked is in use.

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
};

/// Of the descriptors a process may have, this part is used here.
const SHARE: u64 = 4;
const FEWEST: usize = 16;
const MOST: usize = 512;

/// The kept descriptors of one restore.
#[derive(Debug)]
pub(super) struct Handles {
    kept: Mutex<VecDeque<Arc<dyn Keep>>>,
    capacity: usize,
}

/// A place for one descriptor.
#[derive(Debug)]
pub(super) struct Slot<T> {
    open: Mutex<Option<Arc<T>>>,
    used: AtomicBool,
}

trait Keep: Send + Sync + fmt::Debug {
    /// Closes it unless it is in use now or was used since it was last asked; whether it did.
    fn close_if_idle(&self) -> bool;
}

impl Handles {
    /// As many as this process can spare.
    pub(super) fn new() -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let share = usize::try_from(limit.unwrap_or(u64::MAX) / SHARE).unwrap_or(MOST);
        Self::with_capacity(share.clamp(FEWEST, MOST))
    }

    fn with_capacity(capacity: usize) -> Self {
        Self { kept: Mutex::default(), capacity }
    }

    /// What `slot` holds, opened with `open` where it is closed.
    pub(super) fn get<T: Send + Sync + fmt::Debug + 'static>(
        &self,
        slot: &Arc<Slot<T>>,
        open: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<Arc<T>> {
        let mut held = slot.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = &*held {
            slot.used.store(true, Ordering::Relaxed);
            return Ok(Arc::clone(found));
        }
        let opened = Arc::new(open()?);
        *held = Some(Arc::clone(&opened));
        drop(held);
        self.keep(Arc::clone(slot) as Arc<dyn Keep>);
        Ok(opened)
    }

    fn keep(&self, slot: Arc<dyn Keep>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(slot);
        // Each of those with a second chance has lost it after one round.
        for _ in 0..=self.capacity {
            if kept.len() <= self.capacity {
                break;
            }
            let Some(oldest) = kept.pop_front() else { break };
            if !oldest.close_if_idle() {
                kept.push_back(oldest);
            }
        }
    }
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { open: Mutex::new(None), used: AtomicBool::new(false) }
    }
}

impl<T> Slot<T> {
    /// Closes it for good, or until it is opened again.
    pub(super) fn close(&self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl<T: Send + Sync + fmt::Debug> Keep for Slot<T> {
    fn close_if_idle(&self) -> bool {
        let mut open = match self.open.try_lock() {
            Ok(open) => open,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        if self.used.swap(false, Ordering::Relaxed) && open.is_some() {
            return false;
        }
        open.take();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_count(slots: &[Arc<Slot<usize>>]) -> usize {
        slots.iter().filter(|slot| slot.open.lock().unwrap().is_some()).count()
    }

    #[test]
    fn no_more_are_kept_than_fit_and_closed_ones_open_again() {
        let handles = Handles::with_capacity(3);
        let slots: Vec<Arc<Slot<usize>>> = (0..20).map(|_| Arc::default()).collect();
        for (at, slot) in slots.iter().enumerate() {
            assert_eq!(*handles.get(slot, || Ok(at)).unwrap(), at);
            assert!(open_count(&slots) <= 4);
        }
        assert_eq!(*handles.get(&slots[0], || Ok(100)).unwrap(), 100);
        assert!(handles.kept.lock().unwrap().len() <= 4);
    }

    #[test]
    fn what_is_in_use_outlives_what_is_not() {
        let handles = Handles::with_capacity(2);
        let slots: Vec<Arc<Slot<usize>>> = (0..10).map(|_| Arc::default()).collect();
        for slot in &slots {
            drop(handles.get(slot, || Ok(0)).unwrap());
            drop(handles.get(&slots[0], || Ok(1)).unwrap());
        }
        let first = handles.get(&slots[0], || Err(io::Error::other("closed")));
        assert!(first.is_ok());
    }

    #[test]
    fn opening_again_through_others_waits_for_nobody() {
        // A directory that was closed when it was done is opened again for a hard link, through
        // the one above it, while it is the oldest of those that are kept.
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let handles = Handles::with_capacity(2);
            let below: Arc<Slot<usize>> = Arc::default();
            let above: Arc<Slot<usize>> = Arc::default();
            let other: Arc<Slot<usize>> = Arc::default();
            handles.get(&below, || Ok(1)).unwrap();
            below.close();
            handles.get(&other, || Ok(2)).unwrap();
            let opened = handles.get(&below, || handles.get(&above, || Ok(0)).map(|up| *up + 1));
            sender.send(*opened.unwrap()).unwrap();
        });
        assert_eq!(receiver.recv_timeout(std::time::Duration::from_secs(10)), Ok(1));
    }
}
