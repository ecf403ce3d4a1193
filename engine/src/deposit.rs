//! Chunks into new packs, for operations that have them whole: moved, mended or made.
//!
//! ```text
//!  threads of the operation                   runtime
//! ┌─────────────────────────────┐  packs,  ┌──────────────────────────────────┐
//! │ hash → seal → verify → pack │─────────►│ commit → publish → end of a batch│
//! └─────────────────────────────┘  batches └──────────────────────────────────┘
//! ```
//!
//! Invariants
//! - A chunk is stored under the hash of its plaintext, made here: what was said to be another one
//!   is not stored. Whoever wants its sealed bytes stored as they are has opened them.
//! - A batch ends when all that was stored before it is published, and not otherwise.
//! - After the first failure to commit nothing more is committed, and whoever stores is told.
//! - What the operation had stored when it failed or was stopped is published: it is found again
//!   the next time.

use std::sync::{Condvar, Mutex, PoisonError};

use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
    time::{Duration, Instant},
};

use crate::{
    cancel::Cancel,
    dialect::{Dialect, Encoder, Scratch},
    entropy::Entropy,
    fault::Fault,
    model::{
        chunk::{ChunkKey, Role},
        pack::{Coding, Lane, PackInfo, PackName},
    },
    packing::{FinishedPack, PackSet},
    protocol::{Presence, Protocol, Published},
    repository::Repository,
    store::{Store, Stored, nowhere::Nowhere},
};

/// Finished packs waiting for their commit.
const QUEUE: usize = 2;

/// Chunks after which an index segment is written while packs are still coming.
const SEGMENT_CHUNKS: usize = 50_000;

/// Time after which one is written although few chunks have come, so that a killed run leaves
/// little to do again.
const SEGMENT_AGE: Duration = Duration::from_secs(600);

/// Where an operation puts its chunks. Used from many threads.
pub(crate) struct Deposit<B> {
    store: Store,
    encoder: Encoder,
    entropy: Entropy,
    pack_bytes: u64,
    rooms: Mutex<Rooms>,
    returned: Condvar,
    sender: mpsc::Sender<Message<B>>,
    /// Thrown when nothing more can be stored, and with the switch of the operation.
    pub(crate) stop: Cancel,
}

struct Rooms {
    idle: Vec<Room>,
    /// How many more may be made.
    to_make: usize,
}

/// What one thread works with.
struct Room {
    scratch: Scratch,
    packs: PackSet,
    keys: Vec<ChunkKey>,
}

/// A chunk to be stored.
#[derive(Clone, Copy)]
pub(crate) struct Chunk<'a> {
    pub(crate) key: ChunkKey,
    pub(crate) plain: &'a [u8],
    /// What `plain` was opened from, where that is to be stored as it is.
    pub(crate) sealed: Option<Sealed<'a>>,
}

/// A sealed chunk.
#[derive(Clone, Copy)]
pub(crate) struct Sealed<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) raw_bytes: u32,
    pub(crate) coding: Coding,
}

/// Where a batch has got to.
#[derive(Debug, Default)]
pub(crate) struct Landed {
    /// All that was stored for it can be found.
    pub(crate) published: Published,
    /// In these packs.
    pub(crate) packs: Vec<PackName>,
}

enum Message<B> {
    Pack(FinishedPack),
    Batch(B),
}

/// What storing did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Added {
    pub(crate) chunks: u64,
    pub(crate) stored_bytes: u64,
}

impl std::ops::AddAssign for Added {
    fn add_assign(&mut self, other: Self) {
        self.chunks += other.chunks;
        self.stored_bytes += other.stored_bytes;
    }
}

/// How an operation stores.
pub(crate) struct Terms<'a> {
    /// Who is at work; nothing is stored where nobody is.
    pub(crate) presence: Option<&'a Presence>,
    /// Size of new packs.
    pub(crate) pack_bytes: u64,
    /// Threads that may seal at the same time.
    pub(crate) threads: usize,
    /// Ends it.
    pub(crate) cancel: &'a Cancel,
}

/// Does `work` on a thread that may block, stores what it deposits, and calls `end` for every
/// batch that it ended, in order.
pub(crate) async fn run<B, T, E>(
    repository: &Repository,
    terms: Terms<'_>,
    work: impl FnOnce(&Deposit<B>) -> Result<T, E> + Send + 'static,
    end: impl AsyncFnMut(B, Landed) -> Result<(), Fault>,
) -> Result<T, E>
where
    B: Send + 'static,
    T: Send + 'static,
    E: From<Fault> + Send + 'static,
{
    let (sender, mut receiver) = mpsc::channel(QUEUE);
    let store = match terms.presence {
        Some(_) => repository.store().clone(),
        None => Store::new(Nowhere),
    };
    let stop = terms.cancel.child();
    let deposit = Deposit {
        store: store.clone(),
        encoder: repository.dialect().encoder()?,
        entropy: repository.environment().entropy.clone(),
        pack_bytes: terms.pack_bytes,
        rooms: Mutex::new(Rooms { idle: Vec::new(), to_make: terms.threads.max(1) }),
        returned: Condvar::new(),
        sender,
        stop: stop.clone(),
    };
    let working = tokio::task::spawn_blocking(move || work(&deposit));
    let committer = Committer {
        store,
        dialect: repository.dialect(),
        protocol: repository.protocol(),
        presence: terms.presence,
        in_flight: repository.environment().resources.in_flight(),
        commits: JoinSet::new(),
        under_way: 0,
        waiting: Vec::new(),
        landed: Landed::default(),
        segment_began: Instant::now(),
    };
    let committed = committer.run(&mut receiver, end).await;
    if committed.is_err() {
        stop.cancel();
        receiver.close();
        while receiver.recv().await.is_some() {}
    }
    let worked = working.await.map_err(|_panic| Fault::Bug("storing chunks panicked"))?;
    // A store that refuses makes both ends fail; what it said is worth more than "cancelled".
    committed?;
    worked
}

impl<'a> Chunk<'a> {
    /// One that is to be sealed.
    pub(crate) fn new(key: ChunkKey, plain: &'a [u8]) -> Self {
        Self { key, plain, sealed: None }
    }
}

impl<B> Deposit<B> {
    /// Stores chunks of one role that the caller has claimed. Those whose plaintext is not what
    /// their key says are not stored, and their places are given back.
    pub(crate) fn store(
        &self,
        role: Role,
        chunks: &[Chunk<'_>],
    ) -> Result<(Added, Vec<usize>), Fault> {
        let mut added = Added::default();
        let mut wrong = Vec::new();
        self.with_room(|room| {
            self.hash(room, chunks.iter().map(|chunk| (role, chunk.plain)))?;
            let keys = std::mem::take(&mut room.keys);
            for (at, (chunk, made)) in chunks.iter().zip(&keys).enumerate() {
                match chunk.key == *made {
                    true => added += self.append(room, role, chunk)?,
                    false => wrong.push(at),
                }
            }
            room.keys = keys;
            room.packs.close_full(lane(role), &self.entropy)
        })?;
        Ok((added, wrong))
    }

    /// The key of a plaintext.
    pub(crate) fn key_of(&self, role: Role, plain: &[u8]) -> Result<ChunkKey, Fault> {
        self.with_room(|room| {
            self.hash(room, std::iter::once((role, plain)))?;
            room.keys.first().copied().ok_or(Fault::Bug("a plaintext without a key"))
        })
    }

    /// Ends a batch: all that was stored before is published, and then it is told. No other thread
    /// may be storing.
    pub(crate) fn end_batch(&self, what: B) -> Result<(), Fault> {
        let rooms = {
            let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
            rooms.to_make += rooms.idle.len();
            std::mem::take(&mut rooms.idle)
        };
        let mut rooms = rooms.into_iter();
        if let Some(mut first) = rooms.next() {
            self.hash(&mut first, std::iter::empty())?;
            for mut room in rooms {
                self.hash(&mut room, std::iter::empty())?;
                first.packs.absorb(room.packs);
            }
            first.packs.close_all(&self.entropy)?;
            self.hash(&mut first, std::iter::empty())?;
        }
        self.send(Message::Batch(what))
    }

    fn with_room<T>(&self, work: impl FnOnce(&mut Room) -> Result<T, Fault>) -> Result<T, Fault> {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let made = loop {
            if let Some(room) = rooms.idle.pop() {
                break Some(room);
            }
            if rooms.to_make > 0 {
                rooms.to_make -= 1;
                break None;
            }
            rooms = self.returned.wait(rooms).unwrap_or_else(PoisonError::into_inner);
        };
        drop(rooms);
        let room = match made {
            Some(room) => Ok(room),
            None => self.encoder.scratch().map(|scratch| Room {
                scratch,
                packs: PackSet::new(self.store.clone(), self.encoder.clone(), self.pack_bytes),
                keys: Vec::new(),
            }),
        };
        let result = room.and_then(|mut room| {
            let result = work(&mut room);
            let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
            rooms.idle.push(room);
            result
        });
        self.returned.notify_one();
        result
    }

    /// Keys of `plains` into the room, hashed beside the bytes that packs still owe.
    fn hash<'a>(
        &self,
        room: &mut Room,
        plains: impl Iterator<Item = (Role, &'a [u8])> + Clone,
    ) -> Result<(), Fault> {
        self.encoder.hash(plains, room.packs.unhashed(), &mut room.keys);
        for pack in room.packs.hashed()? {
            self.send(Message::Pack(pack))?;
        }
        Ok(())
    }

    fn append(&self, room: &mut Room, role: Role, chunk: &Chunk<'_>) -> Result<Added, Fault> {
        let Room { scratch, packs, .. } = room;
        let pack = packs.pick(lane(role), &self.entropy)?;
        let stored_bytes = pack.append(|out| {
            if let Some(Sealed { bytes, raw_bytes, coding }) = chunk.sealed {
                out.extend_from_slice(bytes);
                return Ok((chunk.key, raw_bytes, coding));
            }
            let nonce = self.entropy.bytes()?;
            let sealed = self.encoder.seal(role, chunk.plain, &nonce, scratch, out)?;
            Ok((chunk.key, sealed.raw_bytes, sealed.coding))
        })?;
        Ok(Added { chunks: 1, stored_bytes: stored_bytes.into() })
    }

    fn send(&self, message: Message<B>) -> Result<(), Fault> {
        if self.stop.is_cancelled() {
            return Err(Fault::Cancelled);
        }
        self.sender.blocking_send(message).map_err(|_closed| Fault::Cancelled)
    }
}

fn lane(role: Role) -> Lane {
    match role {
        Role::File => Lane::Data,
        Role::Directory | Role::Links => Lane::Meta,
    }
}

/// Commits packs and publishes them.
struct Committer<'a> {
    store: Store,
    dialect: &'a Dialect,
    protocol: &'a Protocol,
    presence: Option<&'a Presence>,
    /// Bytes on their way to a server or from it.
    in_flight: usize,
    commits: JoinSet<Result<Stored<PackInfo>, Fault>>,
    /// Bytes of those.
    under_way: u64,
    waiting: Vec<Stored<PackInfo>>,
    landed: Landed,
    segment_began: Instant,
}

impl Committer<'_> {
    async fn run<B>(
        mut self,
        messages: &mut mpsc::Receiver<Message<B>>,
        mut end: impl AsyncFnMut(B, Landed) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let capabilities = self.store.capabilities();
        let most_bytes = if capabilities.remote { self.in_flight as u64 / 2 } else { u64::MAX };
        loop {
            let room = self.commits.is_empty()
                || (self.commits.len() < capabilities.connections && self.under_way < most_bytes);
            tokio::select! {
                Some(joined) = self.commits.join_next(), if !self.commits.is_empty() => {
                    let stored = stored(joined)?;
                    self.under_way -= stored.get().chunks_end();
                    self.waiting.push(stored);
                }
                message = messages.recv(), if room => match message {
                    Some(Message::Pack(pack)) => self.start_commit(pack)?,
                    Some(Message::Batch(batch)) => {
                        self.settle().await?;
                        end(batch, std::mem::take(&mut self.landed)).await?;
                    }
                    None => break,
                }
            }
            let chunks: usize = self.waiting.iter().map(|pack| pack.get().chunks.len()).sum();
            let old = self.segment_began.elapsed() >= SEGMENT_AGE;
            if chunks >= SEGMENT_CHUNKS || (chunks > 0 && old) {
                self.publish().await?;
            }
        }
        self.settle().await
    }

    fn start_commit(&mut self, pack: FinishedPack) -> Result<(), Fault> {
        if let Some(presence) = self.presence {
            presence.check()?;
        }
        let (store, key) = (self.store.clone(), self.dialect.pack_key(&pack.info.name));
        self.under_way += pack.info.chunks_end();
        self.commits.spawn(async move { Ok(store.commit(pack.draft, &key, pack.info).await?) });
        Ok(())
    }

    /// Waits for all commits, and publishes them.
    async fn settle(&mut self) -> Result<(), Fault> {
        self.under_way = 0;
        while let Some(joined) = self.commits.join_next().await {
            self.waiting.push(stored(joined)?);
        }
        self.publish().await
    }

    async fn publish(&mut self) -> Result<(), Fault> {
        let packs = std::mem::take(&mut self.waiting);
        self.segment_began = Instant::now();
        if let Some(presence) = self.presence
            && !packs.is_empty()
        {
            self.landed.packs.extend(packs.iter().map(|pack| pack.get().name.clone()));
            self.landed.published.join(self.protocol.publish(presence, packs).await?);
        }
        Ok(())
    }
}

fn stored(
    joined: Result<Result<Stored<PackInfo>, Fault>, JoinError>,
) -> Result<Stored<PackInfo>, Fault> {
    joined.map_err(|_panic| Fault::Bug("a pack commit panicked"))?
}
