//! restic's lock files: taken, refreshed by a new file, and removed.
//!
//! Invariants
//! - A lock is in the store before others are looked for a second time, so that of two who start
//!   together at least one sees the other: 200 ms later, but for stores whose listings never lag.
//!   The first look only spares others a lock that cannot stay: who tolerates others leaves it out
//!   where it costs a round trip, and makes up for it where the lock could not be put, or did not
//!   stay.
//! - What was read is proved after that look and not beside it: whoever deletes may end in between,
//!   unseen by a look that comes later than a list of what is left.
//! - One task keeps the lock file from the first put to the removal and does one thing at a time:
//!   whatever becomes of those who asked for it, no put is broken off and no file is left behind.
//! - Empty lock files are half-written and count as none; ones that cannot be read count as locks.
//! - Whoever wants to be alone goes by no listing that lacks its own lock: it may lack those of others
//!   and what they stored.
//! - Others are looked for until none vanishes between listing and reading: one that does may have
//!   been refreshed, and its new file is not in that listing.
//! - Locks that [certainly stand for nobody](super::holders::dismissal) are passed over at the first
//!   look and removed at the second, once ours is in the store; then it is looked again.
//! - A lock that could not be refreshed for 22.5 minutes of the clock on the wall counts as lost, and
//!   so does one that somebody removed: nothing more is written, because others may take it for
//!   stale after 30, and may have removed what it was to protect.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
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

use super::{
    MOST_LISTINGS, Protocol,
    holders::{Written, dismissal},
    key_of, read_document,
};
use crate::{
    cancel::Cancel,
    fault::Fault,
    process,
    protocol::{
        Access, AnnounceError, Announcement, Patience,
        listener::{Listener, Met},
    },
    store::{Existing, Failure, Listed, Store},
};

const SETTLE: Duration = Duration::from_millis(200);
const REFRESH: Duration = Duration::from_secs(5 * 60);
const REFRESH_RETRY: Duration = Duration::from_secs(10);
const LOST_AFTER: Duration = Duration::from_secs(22 * 60 + 30);
/// How soon after a look that shows it a lock is not asked for again, where nothing was stored since.
/// Whoever takes it away by force has to announce itself, wait, and read every directory, before
/// anything is removed.
const LATELY: Duration = Duration::from_secs(2);

/// A lock that others can see, while it is not known yet whether they tolerate it.
#[derive(Debug)]
pub struct PendingLock {
    lock: Lock,
    seeker: Seeker,
    ripe: Instant,
}

/// A lock that is held. Dropped, it is removed in the background.
#[derive(Debug)]
pub struct Lock {
    held: Arc<Held>,
    access: Access,
    protocol: Protocol,
    /// Its end tells the keeper to come to its own.
    stop: oneshot::Sender<Infallible>,
    keeper: JoinHandle<Result<(), Fault>>,
}

/// What the keeper tells.
#[derive(Debug, Default)]
struct Held {
    id: Mutex<Option<LockId>>,
    refreshed_seconds: AtomicI64,
    lost: AtomicBool,
    /// When the second look showed it.
    seen: OnceLock<Instant>,
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
        let seeker = Seeker {
            access: announcement.access,
            lineage: announcement.lineage.clone(),
            listener: announcement.listener.clone(),
        };
        let remote = protocol.store.capabilities().remote;
        if announcement.access == Access::Exclusive || !remote || patience.was_needed() {
            while let Err(error) = seeker.check_others(protocol, None).await {
                patience.outlast(error, cancel).await?;
            }
        }
        let file = LockFile {
            time: protocol.clock.now(),
            exclusive: announcement.access == Access::Exclusive,
            hostname: announcement.hostname.clone(),
            username: announcement.username.clone(),
            pid: i64::from(std::process::id()),
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            process: process::own_birth().unwrap_or_default(),
            lineage: announcement.lineage.clone().unwrap_or_default(),
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
        let lock = Lock { held, access, protocol: protocol.clone(), stop, keeper };
        let put = told.await.unwrap_or(Err(Fault::Bug("the keeper of a lock panicked")));
        if let Err(fault) = put {
            if matches!(&fault, Fault::Store(error) if error.failure == Failure::Denied) {
                // Who may only read goes on without a lock, and by this look alone.
                seeker.check_others(protocol, None).await?;
            }
            return Err(fault.into());
        }
        let lag = if protocol.store.capabilities().lists_at_once { Duration::ZERO } else { SETTLE };
        Ok(Self { lock, seeker, ripe: Instant::now() + lag })
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
            let mine = self.lock.held.id();
            let began = Instant::now();
            if self.seeker.check_others(protocol, mine).await? == Own::Listed {
                let _only_once = self.lock.held.seen.set(began);
            }
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
        // The clock on the wall, because others go by it, and because a computer that sleeps stops
        // the other one.
        let now = self.protocol.clock.now().seconds;
        let age = now.saturating_sub(self.held.refreshed_seconds.load(Ordering::Acquire));
        if self.held.lost.load(Ordering::Acquire) || age > LOST_AFTER.as_secs() as i64 {
            return Err(Fault::LockLost);
        }
        Ok(())
    }

    /// Whether its file was in the store a moment ago.
    pub(in crate::protocol) fn was_seen_lately(&self) -> bool {
        self.held.seen.get().is_some_and(|seen| seen.elapsed() < LATELY)
    }

    /// Asks the store whether it is still there.
    pub(in crate::protocol) async fn confirm(&self) -> Result<(), Fault> {
        let mut id = self.held.id();
        while let Some(asked) = id {
            if self.protocol.store.exists(&key_of(FileName::Lock(asked))).await? {
                return Ok(());
            }
            // The keeper tells the new file before it removes the old one.
            id = self.held.id().filter(|new| *new != asked);
        }
        self.held.lost.store(true, Ordering::Release);
        Err(Fault::LockLost)
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
        self.tell(id);
        let _nobody_asks_any_more = tell.send(Ok(()));
        let mut refreshed = Instant::now();
        let mut pause = REFRESH;
        loop {
            tokio::select! {
                _end = &mut stopped => break,
                () = sleep(pause) => {}
            }
            match self.refresh(id).await {
                Ok(new) => {
                    refreshed = Instant::now();
                    pause = REFRESH;
                    let old = std::mem::replace(&mut id, new);
                    // A leftover is stale in half an hour; the lock itself is the new file.
                    let _stale_soon = remove(&self.protocol.store, old).await;
                }
                Err(fault)
                    if !matches!(fault, Fault::LockLost) && refreshed.elapsed() < LOST_AFTER =>
                {
                    pause = REFRESH_RETRY;
                }
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

    /// Puts a new file beside the old one; fails where somebody removed that.
    async fn refresh(&mut self, old: LockId) -> Result<LockId, Fault> {
        if !self.protocol.store.exists(&key_of(FileName::Lock(old))).await? {
            return Err(Fault::LockLost);
        }
        self.file.time = self.protocol.clock.now();
        let new = put(&self.protocol, &self.file).await?;
        self.tell(new);
        Ok(new)
    }

    fn tell(&self, id: LockId) {
        self.held.refreshed_seconds.store(self.file.time.seconds, Ordering::Release);
        *self.held.id.lock().unwrap_or_else(PoisonError::into_inner) = Some(id);
    }
}

impl Held {
    fn id(&self) -> Option<LockId> {
        *self.id.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Whoever wants a lock, looking for those who are in the way.
#[derive(Debug)]
struct Seeker {
    access: Access,
    lineage: Option<String>,
    listener: Listener,
}

/// Whether a look showed the lock of whoever looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    Listed,
    NotListed,
}

/// A lock of somebody else's.
struct Other {
    id: LockId,
    file: LockFile,
    /// When the store wrote it and ours; `None` before there is one of ours.
    written: Option<Written>,
}

impl Seeker {
    /// Fails if another lock does not tolerate this one. With one of ours in the store, those that
    /// stand for nobody are removed.
    async fn check_others(
        &self,
        protocol: &Protocol,
        mine: Option<LockId>,
    ) -> Result<Own, AnnounceError> {
        for _look in 0..MOST_LISTINGS {
            let mut cleared = false;
            let now = protocol.clock.now();
            let (own, others) = others(protocol, mine, self.access).await?;
            for other in others {
                let is_in_the_way = other.file.exclusive || self.access == Access::Exclusive;
                let by = describe(&other.file, now);
                match dismissal(&other.file, other.written, &now, self.lineage.as_deref()) {
                    None if is_in_the_way => return Err(AnnounceError::Busy { by }),
                    None => {}
                    // The first look: the second one decides.
                    Some(_) if mine.is_none() => {}
                    // Ours is not listed yet, so that nothing is known of the other's age.
                    Some(_) if other.written.is_none() && is_in_the_way => {
                        return Err(AnnounceError::Busy { by });
                    }
                    Some(_) if other.written.is_none() => {}
                    Some(why) => match remove(&protocol.store, other.id).await {
                        Ok(()) => {
                            cleared |= is_in_the_way;
                            self.listener.hear(Met::Cleared { by: &by, why });
                        }
                        Err(fault) if is_in_the_way => return Err(fault.into()),
                        // It may be for others to remove.
                        Err(_fault) => {}
                    },
                }
            }
            if !cleared {
                return Ok(own);
            }
        }
        Err(Fault::Unsettled { what: FileKind::Lock.directory() }.into())
    }
}

/// The locks of others, and whether ours is among them.
async fn others(
    protocol: &Protocol,
    mine: Option<LockId>,
    access: Access,
) -> Result<(Own, Vec<Other>), AnnounceError> {
    // `None` where it vanished; a listing may go on showing it.
    let mut known: HashMap<LockId, Option<LockFile>> = HashMap::new();
    let mut why = Fault::Unsettled { what: FileKind::Lock.directory() };
    for _listing in 0..MOST_LISTINGS {
        let mut listed = Vec::new();
        let mut collect = |row: Listed| {
            if row.stored_bytes > 0
                && let Some(FileName::Lock(id)) = FileName::parse(row.key.as_str())
            {
                listed.push((id, row.modified));
            }
        };
        protocol.store.list(FileKind::Lock.directory(), &mut collect).await.map_err(Fault::from)?;
        let ours = listed.iter().find(|(id, _)| Some(*id) == mine).map(|(_, written)| *written);
        if let Some(mine) = mine
            && ours.is_none()
            && access == Access::Exclusive
        {
            if !protocol.store.exists(&key_of(FileName::Lock(mine))).await.map_err(Fault::from)? {
                return Err(Fault::LockLost.into());
            }
            why = Fault::Lagging { what: FileKind::Lock.directory() };
            sleep(SETTLE).await;
            continue;
        }
        listed.retain(|(id, _)| Some(*id) != mine);
        let mut others = Vec::new();
        let mut all = true;
        for (id, other) in listed {
            let file = match known.get(&id) {
                Some(file) => file.clone(),
                None => {
                    let file = read_lock(protocol, id).await?;
                    all &= file.is_some();
                    known.entry(id).or_insert(file).clone()
                }
            };
            let written = ours.map(|ours| Written { other, ours });
            others.extend(file.map(|file| Other { id, file, written }));
        }
        if all {
            let own = if ours.is_some() { Own::Listed } else { Own::NotListed };
            return Ok((own, others));
        }
    }
    Err(why.into())
}

/// What a lock says; `None` where it is not there any more.
async fn read_lock(protocol: &Protocol, id: LockId) -> Result<Option<LockFile>, Fault> {
    match read_document(&protocol.store, &protocol.codec, FileName::Lock(id)).await {
        Ok(json) => LockFile::decode(&json)
            .map(Some)
            .map_err(|damage| Fault::damaged(format!("lock {id}"), damage)),
        Err(Fault::Store(error)) if error.failure == Failure::NotFound => Ok(None),
        Err(fault) => Err(fault),
    }
}

fn describe(lock: &LockFile, now: Timestamp) -> String {
    let kind = if lock.exclusive { "exclusively" } else { "for reading and adding" };
    let age = now.seconds.saturating_sub(lock.time.seconds);
    format!(
        "{kind} by PID {} on {} as {}, {age} seconds ago",
        lock.pid, lock.hostname, lock.username
    )
}
