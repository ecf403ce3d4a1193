//! Chunks in use out of old packs into new ones.
//!
//! ```text
//!  threads (CPUs, at least 2)                           runtime
//! ┌────────────────────────────────────────────┐ packs ┌──────────────────────────────┐
//! │ read spans → open and prove → append as is │──────►│ commit → publish every 50,000│
//! └────────────────────────────────────────────┘   2   └──────────────────────────────┘
//! ```
//!
//! Invariants
//! - A chunk is moved as the sealed bytes it has, after they were opened and proved to be what the
//!   key says. Where they are not, another copy is; where there is none, nothing is removed.
//! - Only packs whose chunks in use were all moved are reported as done.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use tokio::{runtime::Handle, sync::mpsc, task::JoinSet};

use super::{
    ReclaimError,
    plan::{self, Span},
    survey::Survey,
};
use crate::{
    cancel::Cancel,
    catalogue::Catalogue,
    dialect::{Dialect, Encoder, PackBuilder, Scratch},
    entropy::Entropy,
    fault::Fault,
    model::{
        chunk::Role,
        pack::{Lane, Location, PackInfo, PackName},
    },
    monitor::Monitor,
    protocol::{Presence, Protocol, Published},
    store::{Draft, Range, Store, Stored},
};

/// Chunks after which an index segment is written while packs are still coming, so that a killed
/// run leaves little to move again.
const SEGMENT_CHUNKS: usize = 50_000;

/// Finished packs waiting for their commit.
const QUEUE: usize = 2;

/// What moving needs.
pub(super) struct Rewriter {
    pub(super) store: Store,
    pub(super) dialect: Dialect,
    pub(super) encoder: Encoder,
    pub(super) entropy: Entropy,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) survey: Arc<Survey>,
    pub(super) pack_bytes: u64,
    /// Compress what is not, of files too.
    pub(super) compress_all: bool,
    pub(super) until: Option<Instant>,
    pub(super) monitor: Arc<dyn Monitor>,
    pub(super) cancel: Cancel,
    pub(super) runtime: Handle,
}

/// What was moved, and can be found by everyone.
#[derive(Debug)]
pub(super) struct Moved {
    /// Packs whose chunks in use all are in others now.
    pub(super) done: Vec<usize>,
    /// The packs they were moved into.
    pub(super) into: Vec<PackName>,
    pub(super) published: Published,
}

/// A pack being filled.
struct Open {
    draft: Box<dyn Draft>,
    builder: PackBuilder,
    lane: Lane,
}

struct Finished {
    draft: Box<dyn Draft>,
    info: PackInfo,
}

/// Room of a thread, used for one pack after the other.
#[derive(Default)]
struct Room {
    span: Vec<u8>,
    plain: Vec<u8>,
    sealed: Vec<u8>,
}

/// What the threads share.
struct Shared {
    rewriter: Rewriter,
    waiting: Mutex<VecDeque<usize>>,
    data: Mutex<Option<Open>>,
    meta: Mutex<Option<Open>>,
    finished: mpsc::Sender<Finished>,
    done: Mutex<Vec<usize>>,
    failed: AtomicBool,
    /// Whether a pack stays in the store as it is.
    stays: Vec<bool>,
}

impl Rewriter {
    /// Moves what is in use out of these packs, and tells those that are done with.
    pub(super) async fn run(
        self,
        packs: &[usize],
        stays: Vec<bool>,
        threads: usize,
        protocol: &Protocol,
        presence: &Presence,
    ) -> Result<Moved, ReclaimError> {
        let (finished, mut receiver) = mpsc::channel(QUEUE);
        let (store, dialect) = (self.store.clone(), self.dialect.clone());
        let shared = Arc::new(Shared {
            rewriter: self,
            waiting: Mutex::new(packs.iter().copied().collect()),
            data: Mutex::default(),
            meta: Mutex::default(),
            finished,
            done: Mutex::default(),
            failed: AtomicBool::new(false),
            stays,
        });
        let moving = tokio::task::spawn_blocking({
            let shared = Arc::clone(&shared);
            move || shared.move_all(threads)
        });
        let done = Arc::downgrade(&shared);
        drop(shared);
        let committed = commit_all(&store, &dialect, protocol, presence, &mut receiver).await;
        if committed.is_err() {
            if let Some(shared) = done.upgrade() {
                shared.failed.store(true, Ordering::Release);
            }
            receiver.close();
            while receiver.recv().await.is_some() {}
        }
        let moved = moving.await.map_err(|_panic| Fault::Bug("moving chunks panicked"))?;
        let (into, published) = committed?;
        Ok(Moved { done: moved?, into, published })
    }
}

/// Commits packs as they come, and publishes all of them; their names.
async fn commit_all(
    store: &Store,
    dialect: &Dialect,
    protocol: &Protocol,
    presence: &Presence,
    packs: &mut mpsc::Receiver<Finished>,
) -> Result<(Vec<PackName>, Published), Fault> {
    let connections = store.capabilities().connections.max(1);
    let mut commits: JoinSet<Result<Stored<PackInfo>, Fault>> = JoinSet::new();
    let mut waiting: Vec<Stored<PackInfo>> = Vec::new();
    let mut names = Vec::new();
    let mut published = Published::default();
    let stored = |joined: Result<Result<Stored<PackInfo>, Fault>, _>| {
        joined.map_err(|_panic: tokio::task::JoinError| Fault::Bug("a pack commit panicked"))?
    };
    loop {
        let room = commits.len() < connections;
        tokio::select! {
            Some(joined) = commits.join_next(), if !commits.is_empty() => {
                waiting.push(stored(joined)?);
            }
            pack = packs.recv(), if room => {
                let Some(Finished { draft, info }) = pack else { break };
                presence.check()?;
                names.push(info.name.clone());
                let (store, key) = (store.clone(), dialect.pack_key(&info.name));
                commits.spawn(async move { Ok(store.commit(draft, &key, info).await?) });
            }
        }
        let chunks: usize = waiting.iter().map(|pack| pack.get().chunks.len()).sum();
        if chunks >= SEGMENT_CHUNKS {
            published.join(protocol.publish(presence, std::mem::take(&mut waiting)).await?);
        }
    }
    while let Some(joined) = commits.join_next().await {
        waiting.push(stored(joined)?);
    }
    published.join(protocol.publish(presence, waiting).await?);
    Ok((names, published))
}

impl Shared {
    fn move_all(&self, threads: usize) -> Result<Vec<usize>, Fault> {
        let results: Vec<Result<(), Fault>> = std::thread::scope(|scope| {
            let workers: Vec<_> =
                (0..threads.max(1)).map(|_| scope.spawn(|| self.work())).collect();
            let joined = workers
                .into_iter()
                .map(|worker| worker.join().unwrap_or(Err(Fault::Bug("moving chunks panicked"))));
            joined.collect()
        });
        results.into_iter().collect::<Result<(), Fault>>()?;
        for lane in [&self.data, &self.meta] {
            let last = lane.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(last) = last {
                self.close(last)?;
            }
        }
        Ok(std::mem::take(&mut *self.done.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    fn work(&self) -> Result<(), Fault> {
        let mut scratch = self.rewriter.dialect.scratch()?;
        let mut room = Room::default();
        loop {
            if self.rewriter.cancel.is_cancelled() {
                self.failed.store(true, Ordering::Release);
                return Err(Fault::Cancelled);
            }
            let late = self.rewriter.until.is_some_and(|until| Instant::now() >= until);
            if late || self.failed.load(Ordering::Acquire) {
                return Ok(());
            }
            let next = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(pack) = next else { return Ok(()) };
            if let Err(fault) = self.move_pack(pack, &mut scratch, &mut room) {
                self.failed.store(true, Ordering::Release);
                return Err(fault);
            }
            self.done.lock().unwrap_or_else(PoisonError::into_inner).push(pack);
        }
    }

    fn move_pack(&self, pack: usize, scratch: &mut Scratch, room: &mut Room) -> Result<(), Fault> {
        let Rewriter { catalogue, survey, monitor, .. } = &self.rewriter;
        let Room { span: bytes, plain, sealed } = room;
        let rows = plan::kept_rows(catalogue, survey, pack).filter(|at| !self.has_other(*at));
        for span in plan::spans(catalogue, rows) {
            bytes.clear();
            let read = self.read(&catalogue.rows()[span.rows[0]].location(), &span, bytes);
            for at in &span.rows {
                let row = &catalogue.rows()[*at];
                let place = row.location();
                plain.clear();
                let from = (u64::from(place.offset) - span.start) as usize;
                let first = bytes.get(from..from + place.stored_bytes as usize);
                let first = first.filter(|_| read.is_ok());
                let good = first.is_some_and(|stored| {
                    let opened =
                        self.rewriter.dialect.unseal(&row.key(), &place, stored, scratch, plain);
                    opened.is_ok()
                });
                if good {
                    self.append(*at, &place, first.unwrap_or_default(), plain, scratch, sealed)?;
                } else {
                    self.move_copy(*at, read.as_ref().err(), scratch, plain, sealed)?;
                }
                monitor.counters().bytes_done.add(place.stored_bytes.into());
            }
        }
        Ok(())
    }

    fn read(&self, first: &Location, span: &Span, out: &mut Vec<u8>) -> Result<(), Fault> {
        let Rewriter { store, dialect, catalogue, runtime, .. } = &self.rewriter;
        let name = &catalogue.packs[first.pack.0 as usize].name;
        let range = Range::At { start: span.start, len: span.bytes() };
        Ok(store.append_blocking(runtime, &dialect.pack_key(name), range, out)?)
    }

    /// Whether the chunk of a row has another place in a pack that stays as it is.
    fn has_other(&self, at: usize) -> bool {
        let catalogue = &self.rewriter.catalogue;
        let key = catalogue.rows()[at].key();
        let places = catalogue.find(&key).unwrap_or_default();
        places.into_iter().any(|other| self.stays[catalogue.rows()[other].pack()])
    }

    /// Moves another copy of a chunk whose chosen one is damaged.
    fn move_copy(
        &self,
        at: usize,
        unread: Option<&Fault>,
        scratch: &mut Scratch,
        plain: &mut Vec<u8>,
        sealed: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let Rewriter { dialect, catalogue, .. } = &self.rewriter;
        let key = catalogue.rows()[at].key();
        for copy in catalogue.find(&key).unwrap_or_default() {
            let place = catalogue.rows()[copy].location();
            let start = u64::from(place.offset);
            let end = start + u64::from(place.stored_bytes);
            let mut stored = Vec::new();
            let span = Span { start, end, rows: vec![copy] };
            if self.read(&place, &span, &mut stored).is_err() {
                continue;
            }
            plain.clear();
            if dialect.unseal(&key, &place, &stored, scratch, plain).is_ok() {
                return self.append(copy, &place, &stored, plain, scratch, sealed);
            }
        }
        let pack = &catalogue.packs[catalogue.rows()[at].pack()].name;
        let chunk = format!("{key} in pack {pack}");
        let why = unread.map_or_else(|| "its bytes are damaged".to_owned(), ToString::to_string);
        Err(Fault::Unmovable { chunk, why })
    }

    /// Appends a chunk whose plaintext was proved.
    fn append(
        &self,
        at: usize,
        place: &Location,
        stored: &[u8],
        plain: &[u8],
        scratch: &mut Scratch,
        sealed: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let Rewriter { dialect, encoder, entropy, catalogue, compress_all, .. } = &self.rewriter;
        let key = catalogue.rows()[at].key();
        let role = dialect.role(&key);
        let can_compress = dialect.uncompressed_bytes(place.raw_bytes).is_some();
        let compress = can_compress && place.coding.0 == 0 && (*compress_all || role != Role::File);
        let lane = if role == Role::File { Lane::Data } else { Lane::Meta };
        if compress {
            sealed.clear();
            let made = encoder.seal(role, plain, &entropy.bytes()?, scratch, sealed)?;
            return self.put_in_pack(lane, sealed, |builder, len| {
                builder.add(key, len, made.raw_bytes, made.coding);
            });
        }
        self.put_in_pack(lane, stored, |builder, len| {
            builder.add(key, len, place.raw_bytes, place.coding);
        })
    }

    fn put_in_pack(
        &self,
        lane: Lane,
        bytes: &[u8],
        book: impl FnOnce(&mut PackBuilder, u32),
    ) -> Result<(), Fault> {
        let Rewriter { store, encoder, pack_bytes, .. } = &self.rewriter;
        let slot = match lane {
            Lane::Data => &self.data,
            Lane::Meta => &self.meta,
        };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let mut open = match slot.take() {
            Some(open) => open,
            None => {
                let draft = store.draft(*pack_bytes)?;
                Open { draft, builder: encoder.start_pack(), lane }
            }
        };
        open.draft.append(bytes)?;
        book(&mut open.builder, bytes.len() as u32);
        hash(encoder, &mut open.builder, bytes);
        if open.builder.stored_bytes() < *pack_bytes && !open.builder.is_full() {
            *slot = Some(open);
            return Ok(());
        }
        drop(slot);
        self.close(open)
    }

    fn close(&self, mut open: Open) -> Result<(), Fault> {
        let Rewriter { encoder, entropy, .. } = &self.rewriter;
        let mut closing = Vec::new();
        encoder.close_pack(&mut open.builder, entropy, &mut closing)?;
        open.draft.append(&closing)?;
        hash(encoder, &mut open.builder, &closing);
        let (name, chunks) = open.builder.finish();
        let info = PackInfo { name, lane: open.lane, chunks };
        let sent = self.finished.blocking_send(Finished { draft: open.draft, info });
        sent.map_err(|_closed| Fault::Cancelled)
    }
}

fn hash(encoder: &Encoder, builder: &mut PackBuilder, bytes: &[u8]) {
    let nothing = std::iter::empty::<(Role, &[u8])>();
    encoder.hash(nothing, std::iter::once((builder, bytes)), &mut Vec::new());
}
