//! Directories that no root and no other directory refers to, together in one new root.
//!
//! ```text
//!  roots → index → every directory there is → those that nothing refers to → one directory of them
//!        → published → root
//! ```
//!
//! Invariants
//! - Nothing is removed.
//! - A directory that cannot be read is told and passed over; where the store cannot be reached, it
//!   ends.
//!
//! Not here: making the index complete before (`repair`).

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{
    cancel::Cancel,
    catalogue::{self, Catalogue, RowSet},
    deposit::{self, Chunk, Deposit, Landed, Terms},
    dialect::{Dialect, Encoder},
    fault::{Class, Fault},
    index::{Claim, Index},
    model::{
        chunk::{ChunkKey, Role},
        directory::{Directory, Entry, Kind},
        root::{Root, RootId},
    },
    monitor::Monitor,
    protocol::Presence,
    reader::Reader,
    repository::Repository,
};

/// Permissions of the directories in the root.
const MODE: u32 = 0o755;

/// Digits of a directory's key that are its name in the root.
const NAME_DIGITS: usize = 8;

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The root as it is to be described; its directory is not looked at.
    pub root: Root,
    /// Size of new packs.
    pub pack_bytes: u64,
}

/// What happens, for whoever watches.
#[derive(Debug)]
pub enum Step<'a> {
    /// Directories are read.
    Loading {
        /// How many.
        directories: usize,
    },
    /// A directory cannot be read.
    Unreadable(&'a ChunkKey, &'a Fault),
    /// A directory that nothing refers to.
    Found(&'a ChunkKey),
    /// All were looked at.
    Counted {
        /// Directories that nothing refers to.
        unreferenced: usize,
    },
}

/// Looks for them, and stores a root if there are any.
pub async fn run(
    repository: &Repository,
    options: &Options,
    presence: &Presence,
    monitor: Arc<dyn Monitor>,
    cancel: &Cancel,
    step: Arc<dyn Fn(Step<'_>) + Send + Sync>,
) -> Result<Option<RootId>, Fault> {
    // One that cannot be read refers to nothing: what it referred to is what is looked for.
    let mut tops = Vec::new();
    for (_, root) in repository.protocol().list_roots().await? {
        match root {
            Ok(root) => tops.push(root.tree),
            Err(fault) if fault.class() == Class::Damaged => {}
            Err(fault) => return Err(fault),
        }
    }
    let (catalogue, directories) = catalogue::load(repository, cancel).await?;
    let search = Search {
        reader: repository.reader_of(Arc::clone(&directories)),
        dialect: repository.dialect().clone(),
        referenced: RowSet::new(catalogue.len()),
        catalogue,
        threads: repository.environment().resources.cpus.max(2),
        monitor,
        step,
    };
    let (encoder, time) = (repository.dialect().encoder()?, options.root.time);
    let work = move |deposit: &Deposit<ChunkKey>| {
        let found = search.run(&tops, &deposit.stop)?;
        (search.step)(Step::Counted { unreferenced: found.len() });
        if !found.is_empty() {
            let entries = entries(&found, time);
            deposit.end_batch(store(&encoder, &directories, deposit, entries)?)?;
        }
        Ok::<(), Fault>(())
    };
    let mut stored = None;
    let end = async |tree: ChunkKey, Landed { published, .. }: Landed| {
        let root = Root { tree, ..options.root.clone() };
        stored = Some(repository.protocol().commit_root(presence, published, &root).await?);
        Ok(())
    };
    let terms =
        Terms { presence: Some(presence), pack_bytes: options.pack_bytes, threads: 1, cancel };
    let done = deposit::run(repository, terms, work, end).await;
    repository.forget_index().await;
    done?;
    Ok(stored)
}

struct Search {
    reader: Reader,
    dialect: Dialect,
    catalogue: Arc<Catalogue>,
    /// Directories that something refers to, by the rows that stand for them.
    referenced: RowSet,
    threads: usize,
    monitor: Arc<dyn Monitor>,
    step: Arc<dyn Fn(Step<'_>) + Send + Sync>,
}

impl Search {
    /// The directories that nothing refers to, sorted.
    fn run(&self, tops: &[ChunkKey], stop: &Cancel) -> Result<Vec<ChunkKey>, Fault> {
        let mut rows = self.directories()?;
        (self.step)(Step::Loading { directories: rows.len() });
        tops.iter().try_for_each(|top| self.refer(top))?;
        let next = AtomicUsize::new(0);
        let unread = Mutex::new(HashSet::new());
        let work = || -> Result<(), Fault> {
            while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                if stop.is_cancelled() {
                    return Err(Fault::Cancelled);
                }
                let key = self.catalogue.row(*row)?.key();
                match self.reader.directory(&key) {
                    Ok(directory) => self.look_into(&directory)?,
                    Err(fault) if fault.class() == Class::Damaged => {
                        (self.step)(Step::Unreadable(&key, &fault));
                        unread.lock().unwrap_or_else(PoisonError::into_inner).insert(*row);
                    }
                    Err(fault) => return Err(fault),
                }
                self.monitor.counters().files_done.add(1);
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads).map(|_| scope.spawn(work)).collect();
            let joined = threads.into_iter().map(|thread| {
                thread.join().unwrap_or(Err(Fault::Bug("reading directories panicked")))
            });
            joined.collect::<Result<(), Fault>>()
        })?;
        let unread = unread.into_inner().unwrap_or_else(PoisonError::into_inner);
        rows.retain(|row| !self.referenced.contains(*row) && !unread.contains(row));
        let keys = rows.into_iter().map(|row| Ok(self.catalogue.row(row)?.key()));
        let mut found = keys.collect::<Result<Vec<ChunkKey>, Fault>>()?;
        found.sort_unstable();
        found.iter().for_each(|key| (self.step)(Step::Found(key)));
        Ok(found)
    }

    /// The rows that stand for directories.
    fn directories(&self) -> Result<Vec<usize>, Fault> {
        let mut rows = Vec::new();
        for pack in 0..self.catalogue.packs.len() {
            for (at, row) in self.catalogue.rows_of(pack)? {
                let key = row.key();
                let is_first =
                    !self.catalogue.is_repeated(at) || self.catalogue.first(&key)? == Some(at);
                if self.dialect.role(&key) == Role::Directory && is_first {
                    rows.push(at);
                }
            }
        }
        Ok(rows)
    }

    fn look_into(&self, directory: &Directory) -> Result<(), Fault> {
        for entry in &directory.entries {
            if let Kind::Directory { tree: Some(tree) } = &entry.kind {
                self.refer(tree)?;
            }
        }
        Ok(())
    }

    fn refer(&self, tree: &ChunkKey) -> Result<(), Fault> {
        if let Some(row) = self.catalogue.first(tree)? {
            self.referenced.insert(row);
        }
        Ok(())
    }
}

/// A directory for each of these keys, sorted by name.
fn entries(found: &[ChunkKey], time: windlass_format::time::Timestamp) -> Vec<Entry> {
    let whole = |key: &ChunkKey| windlass_format::id::to_hex(key.hash());
    let short = |key: &ChunkKey| whole(key).chars().take(NAME_DIGITS).collect::<String>();
    let mut seen = HashSet::new();
    let twice: HashSet<String> =
        found.iter().map(short).filter(|name| !seen.insert(name.clone())).collect();
    let mut entries: Vec<Entry> = found
        .iter()
        .map(|key| {
            let name = Some(short(key)).filter(|name| !twice.contains(name));
            let name = name.unwrap_or_else(|| whole(key)).into_bytes();
            let entry = Entry::plain(name, Kind::Directory { tree: Some(*key) }, MODE, time);
            Entry { ctime: Some(time), ..entry }
        })
        .collect();
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    entries
}

/// Stores a directory, unless it is there.
fn store<B>(
    encoder: &Encoder,
    known: &Index,
    deposit: &Deposit<B>,
    entries: Vec<Entry>,
) -> Result<ChunkKey, Fault> {
    let mut plain = Vec::new();
    encoder.write_directory(&Directory { entries }, &mut plain)?;
    let key = deposit.key_of(Role::Directory, &plain)?;
    if known.claim(&key) == Claim::Yours {
        let _added = deposit.store(Role::Directory, &[Chunk::new(key, &plain)])?;
    }
    Ok(key)
}
