//! restic's lock files: taken, refreshed by a new file, and removed.
//!
//! Invariants
//! - A lock is in the store before others are looked for a second time, 200 ms later, so that of
//!   two who start together at least one sees the other.
//! - One task keeps the lock file from the first put to the removal and does one thing at a time:
//!   whatever becomes of those who asked for it, no put is broken off and no file is left behind.
//! - Empty lock files are half-written and count as none; ones that cannot be read count as locks.
//! - A lock that could not be refreshed for 22.5 minutes counts as lost: nothing more is written,
//!   because others may take it for stale after 30.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};
use windlass_format::{
    restic::{
        LockId,
        lock::Lock as LockFile,
        path::{FileKind, FileName},
    },
    time::Timestamp,
};

use super::{Protocol, key_of, read_document};
use crate::{
    cancel::Cancel,
    fault::Fault,
    protocol::{Access, AnnounceError, Announcement, Patience},
    store::{Existing, Failure, Store},
};

const SETTLE: Duration = Duration::from_millis(200);
const REFRESH: Duration = Duration::from_secs(5 * 60);
const REFRESH_RETRY: Duration = Duration::from_secs(10);
const LOST_AFTER: Duration = Duration::from_secs(22 * 60 + 30);

/// A lock that others can see, while it is not known yet whether they tolerate it.
#[derive(Debug)]
pub struct PendingLock {
    lock: Lock,
    access: Access,
    ripe: Instant,
}

/// A lock that is held. Dropped, it is removed in the background.
#[derive(Debug)]
pub struct Lock {
    held: Arc<Held>,
    access: Access,
    /// Its end tells the keeper to come to its own.
    stop: oneshot::Sender<Infallible>,
    keeper: JoinHandle<Result<(), Fault>>,
}

/// What the keeper tells.
#[derive(Debug, Default)]
struct Held {
    id: Mutex<Option<LockId>>,
    lost: AtomicBool,
}

/// What the keeper works with.
struct Keeper {
    protocol: Protocol,
    file: LockFile,
    held: Arc<Held>,
    /// Thrown when the lock is lost.
    cancel: Cancel,
}

impl PendingLock {
    /// Puts a lock where no other is in the way, or no longer within `patience`.
    pub(super) async fn put(
        protocol: &Protocol,
        announcement: &Announcement,
        patience: &mut Patience,
        cancel: &Cancel,
    ) -> Result<Self, AnnounceError> {
        while let Err(error) = check_others(protocol, announcement.access, None).await {
            patience.outlast(error, cancel).await?;
        }
        let file = LockFile {
            time: protocol.clock.now(),
            exclusive: announcement.access == Access::Exclusive,
            hostname: announcement.hostname.clone(),
            username: announcement.username.clone(),
            pid: i64::from(std::process::id()),
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
        };
        let held = Arc::<Held>::default();
        let (tell, told) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let keeper = Keeper {
            protocol: protocol.clone(),
            file,
            held: Arc::clone(&held),
            cancel: cancel.clone(),
        };
        let keeper = tokio::spawn(keeper.keep(tell, stopped));
        // From here on the lock is removed by `release` or on drop, whatever happens.
        let access = announcement.access;
        let lock = Lock { held, access, stop, keeper };
        told.await.unwrap_or(Err(Fault::Bug("the keeper of a lock panicked")))?;
        Ok(Self { lock, access, ripe: Instant::now() + SETTLE })
    }

    /// Waits until those who began at the same moment can be seen.
    pub(in crate::protocol) async fn ripe(&self, cancel: &Cancel) {
        tokio::select! {
            () = sleep_until(self.ripe) => {}
            () = cancel.cancelled() => {}
        }
    }

    /// Looks at the others a second time. Where one does not tolerate this lock, or `proof` that
    /// nothing was missed fails, it is removed again.
    pub(super) async fn settle(
        self,
        protocol: &Protocol,
        proof: impl Future<Output = Result<(), AnnounceError>>,
        cancel: &Cancel,
    ) -> Result<Lock, AnnounceError> {
        self.ripe(cancel).await;
        let settled = async {
            if cancel.is_cancelled() {
                return Err(Fault::Cancelled.into());
            }
            let mine = *self.lock.held.id.lock().unwrap_or_else(PoisonError::into_inner);
            check_others(protocol, self.access, mine).await?;
            proof.await
        };
        match settled.await {
            Ok(()) => Ok(self.lock),
            Err(error) => {
                self.lock.release().await?;
                Err(error)
            }
        }
    }

    pub(in crate::protocol) async fn release(self) -> Result<(), Fault> {
        self.lock.release().await
    }
}

impl Lock {
    /// Whether it tolerates nobody.
    pub(in crate::protocol) fn is_exclusive(&self) -> bool {
        self.access == Access::Exclusive
    }

    pub(in crate::protocol) fn check(&self) -> Result<(), Fault> {
        if self.held.lost.load(Ordering::Acquire) {
            return Err(Fault::LockLost);
        }
        Ok(())
    }

    /// Waits until the lock is removed: for no more than what its keeper is about, a put, and the
    /// removal itself.
    pub(in crate::protocol) async fn release(self) -> Result<(), Fault> {
        drop(self.stop);
        self.keeper.await.unwrap_or(Err(Fault::Bug("the keeper of a lock panicked")))
    }
}

impl Keeper {
    /// Puts the lock, refreshes it until told to stop, and removes it.
    async fn keep(
        mut self,
        tell: oneshot::Sender<Result<(), Fault>>,
        mut stopped: oneshot::Receiver<Infallible>,
    ) -> Result<(), Fault> {
        let mut id = match put(&self.protocol, &self.file).await {
            Ok(id) => id,
            Err(fault) => {
                let _nobody_asks_any_more = tell.send(Err(fault));
                return Ok(());
            }
        };
        self.tell_id(id);
        let _nobody_asks_any_more = tell.send(Ok(()));
        let mut refreshed = Instant::now();
        let mut pause = REFRESH;
        loop {
            tokio::select! {
                _end = &mut stopped => break,
                () = sleep(pause) => {}
            }
            self.file.time = self.protocol.clock.now();
            match put(&self.protocol, &self.file).await {
                Ok(new) => {
                    refreshed = Instant::now();
                    pause = REFRESH;
                    self.tell_id(new);
                    let old = std::mem::replace(&mut id, new);
                    // A leftover is stale in half an hour; the lock itself is the new file.
                    let _stale_soon = remove(&self.protocol.store, old).await;
                }
                Err(_fault) if refreshed.elapsed() < LOST_AFTER => pause = REFRESH_RETRY,
                Err(_fault) => {
                    self.held.lost.store(true, Ordering::Release);
                    self.cancel.cancel();
                    let _end = stopped.await;
                    break;
                }
            }
        }
        remove(&self.protocol.store, id).await
    }

    fn tell_id(&self, id: LockId) {
        *self.held.id.lock().unwrap_or_else(PoisonError::into_inner) = Some(id);
    }
}

async fn remove(store: &Store, id: LockId) -> Result<(), Fault> {
    match store.delete(&key_of(FileName::Lock(id))).await {
        Err(error) if error.failure != Failure::NotFound => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

async fn put(protocol: &Protocol, file: &LockFile) -> Result<LockId, Fault> {
    let (id, sealed) = protocol.seal(FileKind::Lock, &file.encode())?;
    let key = key_of(FileName::Lock(LockId(id)));
    match protocol.store.put(&key, &sealed, Existing::Keep, LockId(id)).await {
        Ok(stored) => Ok(stored.into_inner()),
        Err(error) => {
            // It may be there, or part of it, and only the answer was lost. Nobody else would
            // ever remove it.
            let _absent_or_unreachable = protocol.store.delete(&key).await;
            Err(error.into())
        }
    }
}

/// Fails if another lock does not tolerate `access`.
async fn check_others(
    protocol: &Protocol,
    access: Access,
    mine: Option<LockId>,
) -> Result<(), AnnounceError> {
    let mut others = Vec::new();
    let mut collect = |row: crate::store::Listed| {
        if row.stored_bytes > 0
            && let Some(FileName::Lock(id)) = FileName::parse(row.key.as_str())
            && Some(id) != mine
        {
            others.push(id);
        }
    };
    protocol.store.list(FileKind::Lock.directory(), &mut collect).await.map_err(Fault::from)?;
    for id in others {
        let other = match read_document(&protocol.store, &protocol.codec, FileName::Lock(id)).await
        {
            Ok(json) => LockFile::decode(&json)
                .map_err(|damage| Fault::damaged(format!("lock {id}"), damage))?,
            // Released between listing and reading.
            Err(Fault::Store(error)) if error.failure == Failure::NotFound => continue,
            Err(fault) => return Err(fault.into()),
        };
        if other.exclusive || access == Access::Exclusive {
            return Err(AnnounceError::Busy { by: describe(&other, protocol.clock.now()) });
        }
    }
    Ok(())
}

fn describe(lock: &LockFile, now: Timestamp) -> String {
    let kind = if lock.exclusive { "exclusively" } else { "for reading and adding" };
    let age = now.seconds.saturating_sub(lock.time.seconds);
    format!(
        "{kind} by PID {} on {} as {}, {age} seconds ago",
        lock.pid, lock.hostname, lock.username
    )
}
