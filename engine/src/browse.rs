//! The roots of a repository as one tree of directories that is only read: by whom it is shown,
//! as a file system or over a network, is decided above.
//!
//! ```text
//!   templates (made up)                 trees of the repository
//!  ┌───────────────────────────────┐   ┌─────────────────────────┐   ┌──────────────────────┐
//!  │ hosts / desk / 2024-05-06T07… │──►│ home / alice / letter   │──►│ chunks, read ahead   │
//!  └───────────────────────────────┘   └─────────────────────────┘   └──────────────────────┘
//!      looked at again every while         decoded once, kept            opened once, kept
//! ```
//!
//! Invariants
//! - Memory: what is kept of chunks, directories and lists of chunks, and what is being read, stays
//!   within [`Options::memory_bytes`], but for a single directory or chunk that is larger. A
//!   [`Node`] is small and holds nothing of that.
//! - Every chunk and directory is proved when it is read.
//! - Nothing is shown whose name is not one component of a path.
//! - An entry of a root is what it is for ever: its node names the directory by its hash. Only the
//!   directories above roots change, when roots come or go.
//! - For threads that may block, not for tasks of the runtime.
//!
//! Not here: choosing roots, words for people, who may see what.

mod attributes;
mod file;
mod keep;
mod layout;
mod stamp;
mod template;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{runtime::Handle, sync::Semaphore};
use windlass_format::{damage::Damage, time::Timestamp};

pub use self::{
    attributes::{Attributes, Shape},
    file::File,
    template::{USUAL, USUAL_TIME, is_usable_time},
};
use self::{
    file::{Piece, Plan},
    keep::Keep,
    layout::{Folder, Layout, Place, Top},
    template::Template,
};
use crate::{
    budget::Budget,
    cancel::Cancel,
    fault::Fault,
    model::{
        chunk::ChunkKey,
        directory::{Directory, Entry, Kind, Xattr},
        root::{Root, RootId},
    },
    protocol::object::{ObjectError, ObjectKind},
    reader::Reader,
    repository::Repository,
};

/// How often the roots are looked at again, at most.
const REFRESH: Duration = Duration::from_secs(5);
/// How long whoever asks then waits for that; later they are shown what was there before.
const REFRESH_PATIENCE: Duration = Duration::from_secs(2);
/// The longest target that a symbolic link can have.
const MOST_TARGET_BYTES: u64 = 4095;
/// Chunks of one file that are read ahead, from this machine and from others.
const AHEAD_HERE: usize = 2;
const AHEAD_REMOTE: usize = 8;

/// Whether a root is shown.
pub type Choose = Arc<dyn Fn(&Root) -> bool + Send + Sync>;
/// Who hears what goes wrong beside what was asked for.
pub type Tell = Arc<dyn Fn(Notice<'_>) + Send + Sync>;

/// What is shown, and within what.
#[derive(Clone)]
pub struct Options {
    /// Where roots are shown, [`USUAL`] if there are none.
    pub templates: Vec<String>,
    /// How their times are written, as Go writes them.
    pub time_layout: String,
    /// Which roots are shown.
    pub choose: Choose,
    /// What goes wrong.
    pub tell: Tell,
    /// Memory for what is kept and what is being read.
    pub memory_bytes: usize,
    /// How often the roots are looked at again.
    pub refresh: Duration,
}

/// Something that went wrong while the rest goes on.
#[derive(Clone, Copy, Debug)]
pub enum Notice<'a> {
    /// A root cannot be read and is not shown.
    Root(&'a RootId, &'a Fault),
    /// The roots could not be listed again: what was there is shown.
    Refresh(&'a Fault),
}

/// Something that has a name, or the top directory. Small, and valid as long as its root is there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node(Where);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Where {
    /// A directory or link that is stored nowhere, by its path without slashes around it.
    Place(Arc<str>),
    /// The top directory of a root.
    Root(RootId),
    /// An entry of a stored directory.
    Entry { directory: ChunkKey, at: u32 },
}

/// A directory that is being listed: it stays as it was when that began.
#[derive(Clone, Debug)]
pub struct Listing(Listed);

#[derive(Clone, Debug)]
enum Listed {
    Place { layout: Arc<Layout>, path: Arc<str> },
    Stored(ChunkKey),
}

/// A part of a list.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// What is in it, in order of names.
    pub items: Vec<Item>,
    /// Where the next part begins; `None` at the end.
    pub next: Option<usize>,
}

/// A name in a directory.
#[derive(Clone, Debug)]
pub struct Item {
    /// Where the list goes on behind it.
    pub next: usize,
    /// The name, raw bytes of one component of a path.
    pub name: Box<[u8]>,
    /// What it leads to.
    pub node: Node,
    /// What is known of that.
    pub attributes: Attributes,
}

/// Why something cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum BrowseError {
    /// There is no such name, or not any more.
    #[error("not found")]
    NotFound,
    /// It is no directory.
    #[error("not a directory")]
    NotADirectory,
    /// It is no regular file.
    #[error("not a file")]
    NotAFile,
    /// It is no symbolic link.
    #[error("not a symbolic link")]
    NotALink,
    /// It cannot be read.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Shows the roots of one repository. Clones share what they keep.
#[derive(Clone, Debug)]
pub struct Browser(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    repository: Arc<Repository>,
    options: Options,
    templates: Vec<Template>,
    runtime: Handle,
    cancel: Cancel,
    current: RwLock<Current>,
    looked: Mutex<Looked>,
    directories: Keep<ChunkKey, Arc<Directory>>,
    chunks: Keep<ChunkKey, Bytes>,
    plans: Keep<(ChunkKey, u32), Arc<Plan>>,
    ahead_chunks: usize,
    ahead: Arc<Semaphore>,
}

/// What the repository was like when it was last looked at.
#[derive(Clone, Debug)]
struct Current {
    layout: Arc<Layout>,
    reader: Reader,
    names: Arc<Vec<String>>,
}

#[derive(Debug)]
struct Looked {
    at: Instant,
    is_under_way: bool,
}

impl Options {
    /// Every root, in the usual places.
    #[must_use]
    pub fn new(repository: &Repository) -> Self {
        const LEAST: u64 = 16 << 20;
        const MOST: u64 = 128 << 20;
        let memory_bytes = repository.environment().resources.memory_bytes / 8;
        Self {
            templates: Vec::new(),
            time_layout: USUAL_TIME.into(),
            choose: Arc::new(|_root| true),
            tell: Arc::new(|_notice| {}),
            memory_bytes: memory_bytes.clamp(LEAST, MOST) as usize,
            refresh: REFRESH,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("templates", &self.templates)
            .field("time_layout", &self.time_layout)
            .field("memory_bytes", &self.memory_bytes)
            .finish_non_exhaustive()
    }
}

impl Browser {
    /// Lists the roots and loads the index.
    pub async fn new(
        repository: Arc<Repository>,
        options: Options,
        cancel: &Cancel,
    ) -> Result<Self, Fault> {
        let usual = || USUAL.map(str::to_owned).to_vec();
        let texts = if options.templates.is_empty() { usual() } else { options.templates.clone() };
        let templates: Vec<Template> = texts.iter().map(|text| Template::new(text)).collect();
        let current = look(&repository, &options, &templates, None).await?;
        let current = current.ok_or(Fault::Bug("a first look finds something new"))?;
        let memory = options.memory_bytes;
        let flight = Budget::new(memory / 4);
        let capabilities = repository.store().capabilities();
        let ahead_chunks = match capabilities.remote {
            true => capabilities.connections.clamp(1, AHEAD_REMOTE),
            false => AHEAD_HERE,
        };
        Ok(Self(Arc::new(Inner {
            templates,
            runtime: Handle::current(),
            cancel: cancel.clone(),
            current: RwLock::new(current),
            looked: Mutex::new(Looked { at: Instant::now(), is_under_way: false }),
            directories: Keep::new(memory / 8, flight.clone()),
            chunks: Keep::new(memory / 2, flight.clone()),
            plans: Keep::new(memory / 8, flight),
            ahead_chunks,
            ahead: Arc::new(Semaphore::new(ahead_chunks)),
            repository,
            options,
        })))
    }

    /// The top directory.
    #[must_use]
    pub fn top(&self) -> Node {
        Node(Where::Place("".into()))
    }

    /// What a name in a directory leads to.
    pub fn look_up(&self, parent: &Node, name: &[u8]) -> Result<(Node, Attributes), BrowseError> {
        match &self.list(parent)?.0 {
            Listed::Place { layout, path } => {
                let name = str::from_utf8(name).map_err(|_no_such_name| BrowseError::NotFound)?;
                let folder = layout.folder(path).ok_or(BrowseError::NotFound)?;
                let place = folder.names.get(name).ok_or(BrowseError::NotFound)?;
                Ok(placed(path, name, place))
            }
            Listed::Stored(key) => {
                let directory = self.directory(key)?;
                let at = directory.entries.binary_search_by(|entry| (*entry.name).cmp(name));
                let at = at.map_err(|_where_it_would_be| BrowseError::NotFound)?;
                self.shown(key, &directory, at).ok_or(BrowseError::NotFound)
            }
        }
    }

    /// What a path from the top directory leads to. Links between the directories above roots are
    /// followed, those in roots are not.
    pub fn find<'n>(
        &self,
        names: impl IntoIterator<Item = &'n [u8]>,
    ) -> Result<(Node, Attributes), BrowseError> {
        let mut node = self.top();
        let mut attributes = self.attributes(&node)?;
        for name in names {
            (node, attributes) = self.look_up(&node, name)?;
            if let Where::Place(path) = &node.0
                && attributes.shape == Shape::Symlink
            {
                let layout = self.layout();
                let (above, link) = split(path);
                let target =
                    layout.folder(above).and_then(|folder| match folder.names.get(link)? {
                        Place::Link { target, .. } => Some(joined(above, target)),
                        Place::Folder(_) | Place::Root(_) => None,
                    });
                let target = target.ok_or(BrowseError::NotFound)?;
                let (above, root) = split(&target);
                let folder = layout.folder(above).ok_or(BrowseError::NotFound)?;
                let place = folder.names.get(root).ok_or(BrowseError::NotFound)?;
                (node, attributes) = placed(above, root, place);
            }
        }
        Ok((node, attributes))
    }

    /// What is known of it.
    pub fn attributes(&self, node: &Node) -> Result<Attributes, BrowseError> {
        match &node.0 {
            Where::Place(path) if path.is_empty() => Ok(of_folder(&self.layout().top)),
            Where::Place(path) => {
                let layout = self.layout();
                let (above, name) = split(path);
                let folder = layout.folder(above).ok_or(BrowseError::NotFound)?;
                let place = folder.names.get(name).ok_or(BrowseError::NotFound)?;
                Ok(placed(above, name, place).1)
            }
            Where::Root(id) => Ok(Attributes::of_top(&*self.root(id)?)),
            Where::Entry { directory, at } => {
                let entries = self.directory(directory)?;
                let shown = self.shown(directory, &entries, *at as usize);
                shown.map(|(_node, attributes)| attributes).ok_or(BrowseError::NotFound)
            }
        }
    }

    /// Begins to list a directory.
    pub fn list(&self, node: &Node) -> Result<Listing, BrowseError> {
        if let Where::Place(path) = &node.0 {
            self.refresh();
            let (layout, path) = (self.layout(), Arc::clone(path));
            if layout.folder(&path).is_none() {
                return Err(match self.attributes(node) {
                    Ok(_a_link) => BrowseError::NotADirectory,
                    Err(error) => error,
                });
            }
            return Ok(Listing(Listed::Place { layout, path }));
        }
        self.tree(node).map(|tree| Listing(Listed::Stored(tree)))
    }

    /// The stored directory that a node is; there is none above roots.
    pub fn tree(&self, node: &Node) -> Result<ChunkKey, BrowseError> {
        match &node.0 {
            Where::Place(_) => Err(BrowseError::NotADirectory),
            Where::Root(id) => Ok(self.root(id)?.tree),
            Where::Entry { .. } => self.with_entry(node, |entry| match &entry.kind {
                Kind::Directory { tree: Some(tree) } => Ok(*tree),
                Kind::Directory { tree: None } => {
                    let name = String::from_utf8_lossy(&entry.name);
                    let damage = Damage::Invalid { what: "missing subtree" };
                    Err(Fault::damaged(format!("directory {name}"), damage).into())
                }
                _ => Err(BrowseError::NotADirectory),
            }),
        }
    }

    /// `most` names of a directory, or fewer, from `from` on.
    pub fn page(&self, listing: &Listing, from: usize, most: usize) -> Result<Page, BrowseError> {
        let mut page = Page::default();
        let end = from.saturating_add(most);
        match &listing.0 {
            Listed::Place { layout, path } => {
                let folder = layout.folder(path).ok_or(BrowseError::NotFound)?;
                let names = folder.names.iter().enumerate().skip(from).take(most);
                page.items.extend(names.map(|(at, (name, place))| {
                    let (node, attributes) = placed(path, name, place);
                    Item { next: at + 1, name: name.as_bytes().into(), node, attributes }
                }));
                page.next = (end < folder.names.len()).then_some(end);
            }
            Listed::Stored(key) => {
                let directory = self.directory(key)?;
                let entries = directory.entries.iter().enumerate().skip(from).take(most);
                page.items.extend(entries.filter_map(|(at, entry)| {
                    let (node, attributes) = self.shown(key, &directory, at)?;
                    Some(Item { next: at + 1, name: entry.name.clone(), node, attributes })
                }));
                page.next = (end < directory.entries.len()).then_some(end);
            }
        }
        Ok(page)
    }

    /// Where a symbolic link leads.
    pub fn target(&self, node: &Node) -> Result<Box<[u8]>, BrowseError> {
        match &node.0 {
            Where::Place(path) => {
                let layout = self.layout();
                let (above, name) = split(path);
                let folder = layout.folder(above).ok_or(BrowseError::NotFound)?;
                match folder.names.get(name).ok_or(BrowseError::NotFound)? {
                    Place::Link { target, .. } => Ok(target.as_bytes().into()),
                    Place::Folder(_) | Place::Root(_) => Err(BrowseError::NotALink),
                }
            }
            Where::Root(_) => Err(BrowseError::NotALink),
            Where::Entry { .. } => self.with_entry(node, |entry| {
                let Kind::Symlink { target } = &entry.kind else {
                    return Err(BrowseError::NotALink);
                };
                let target = self.reader().target(target, MOST_TARGET_BYTES)?;
                let damage = Damage::OverLimit { what: "target", max: MOST_TARGET_BYTES };
                Ok(target.ok_or_else(|| Fault::damaged("symbolic link", damage))?)
            }),
        }
    }

    /// Its extended attributes.
    pub fn xattrs(&self, node: &Node) -> Result<Vec<Xattr>, BrowseError> {
        match &node.0 {
            Where::Place(_) => Ok(Vec::new()),
            Where::Root(id) => {
                let top = self.root(id)?;
                Ok(top.entry.as_ref().map(|entry| entry.xattrs.clone()).unwrap_or_default())
            }
            Where::Entry { .. } => self.with_entry(node, |entry| Ok(entry.xattrs.clone())),
        }
    }

    /// Whether two names are of one file, as far as content goes.
    pub fn is_same(&self, one: &Node, other: &Node) -> Result<bool, BrowseError> {
        let (Where::Entry { .. }, Where::Entry { .. }) = (&one.0, &other.0) else {
            return Ok(one == other);
        };
        let kind = self.with_entry(one, |entry| Ok(entry.kind.clone()))?;
        self.with_entry(other, |entry| Ok(entry.kind == kind))
    }

    /// Opens a regular file.
    pub fn open(&self, node: &Node) -> Result<File, BrowseError> {
        let Where::Entry { directory, at } = &node.0 else { return Err(BrowseError::NotAFile) };
        self.with_entry(node, |entry| {
            let Kind::File { size_bytes, content } = &entry.kind else {
                return Err(BrowseError::NotAFile);
            };
            let reader = self.reader();
            let plan = self.0.plans.get(&(*directory, *at), 0, || {
                let plan = Plan::new(&reader, *size_bytes, content)?;
                let bytes = plan.bytes();
                Ok((Arc::new(plan), bytes))
            })?;
            Ok(File::new(plan))
        })
    }

    /// `most` bytes of a file from `from` on; fewer at its end only.
    pub fn read(&self, file: &File, from: u64, most: usize) -> Result<Vec<u8>, Fault> {
        let bytes = file.size_bytes().saturating_sub(from).min(most as u64);
        let goes_on = file.goes_on(from, bytes);
        let mut out = Vec::with_capacity(bytes as usize);
        while let Some(piece) = file.plan.piece(from + out.len() as u64)
            && (out.len() as u64) < bytes
        {
            if self.0.cancel.is_cancelled() {
                return Err(Fault::Cancelled);
            }
            if goes_on {
                self.read_ahead(file, &piece);
            }
            let plain = self.chunk(&piece.key, piece.chunk_bytes)?;
            let end = piece.from + piece.bytes.min(bytes - out.len() as u64);
            // As long as the plan says, or it would not have been given out.
            out.extend_from_slice(&plain[piece.from as usize..end as usize]);
        }
        Ok(out)
    }

    fn chunk(&self, key: &ChunkKey, expected_bytes: u64) -> Result<Bytes, Fault> {
        let reader = self.reader();
        let at = reader.location(key);
        let flight = at.map_or(0, |at| at.raw_bytes as usize + at.stored_bytes as usize);
        self.0.chunks.get(key, flight, || {
            let mut plain = Vec::new();
            reader.chunk(key, &mut plain)?;
            if plain.len() as u64 != expected_bytes {
                let damage = Damage::Invalid { what: "length: the index has another" };
                return Err(Fault::damaged(format!("chunk {key}"), damage));
            }
            plain.shrink_to_fit();
            let bytes = plain.len() + size_of::<ChunkKey>();
            Ok((plain.into(), bytes))
        })
    }

    /// Has the next chunks opened by others. What cannot be read then is told to whoever gets there.
    fn read_ahead(&self, file: &File, piece: &Piece) {
        let mut room = self.0.options.memory_bytes as u64 / 8;
        for (key, bytes) in file.plan.behind(piece.number).take(self.0.ahead_chunks) {
            let Some(left) = room.checked_sub(bytes) else { return };
            room = left;
            if self.0.chunks.is_at_hand(&key) {
                continue;
            }
            let Ok(permit) = Arc::clone(&self.0.ahead).try_acquire_owned() else { return };
            let browser = self.clone();
            let _on_its_own = self.0.runtime.spawn_blocking(move || {
                let _told_later = browser.chunk(&key, bytes);
                drop(permit);
            });
        }
    }

    fn directory(&self, key: &ChunkKey) -> Result<Arc<Directory>, Fault> {
        if self.0.cancel.is_cancelled() {
            return Err(Fault::Cancelled);
        }
        let reader = self.reader();
        let flight = reader.location(key).map_or(0, |at| at.raw_bytes as usize);
        self.0.directories.get(key, flight, || {
            let directory = reader.directory(key)?;
            let bytes = attributes::bytes_of(&directory);
            Ok((Arc::new(directory), bytes))
        })
    }

    fn with_entry<T>(
        &self,
        node: &Node,
        work: impl FnOnce(&Entry) -> Result<T, BrowseError>,
    ) -> Result<T, BrowseError> {
        let Where::Entry { directory, at } = &node.0 else { return Err(BrowseError::NotFound) };
        let directory = self.directory(directory)?;
        work(directory.entries.get(*at as usize).ok_or(BrowseError::NotFound)?)
    }

    /// An entry as it is shown; `None` if it is not.
    fn shown(
        &self,
        key: &ChunkKey,
        directory: &Directory,
        at: usize,
    ) -> Option<(Node, Attributes)> {
        let entry = directory.entries.get(at)?;
        let node = Node(Where::Entry { directory: *key, at: u32::try_from(at).ok()? });
        Attributes::of(entry, &self.reader()).map(|attributes| (node, attributes))
    }

    fn root(&self, id: &RootId) -> Result<Arc<Top>, BrowseError> {
        self.layout().root(id).cloned().ok_or(BrowseError::NotFound)
    }

    fn layout(&self) -> Arc<Layout> {
        Arc::clone(&self.current().layout)
    }

    fn reader(&self) -> Reader {
        self.current().reader
    }

    fn current(&self) -> Current {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at the roots again if that was long ago, and waits a moment for it.
    fn refresh(&self) {
        {
            let mut looked = self.0.looked();
            if looked.is_under_way || looked.at.elapsed() < self.0.options.refresh {
                return;
            }
            looked.is_under_way = true;
        }
        let inner = Arc::clone(&self.0);
        let task = self.0.runtime.spawn(async move {
            let end = EndOfLook(inner);
            let inner = &end.0;
            let known = inner.current.read().unwrap_or_else(PoisonError::into_inner).clone();
            let looked =
                look(&inner.repository, &inner.options, &inner.templates, Some(&known)).await;
            match looked {
                Ok(None) => {}
                Ok(Some(new)) => {
                    *inner.current.write().unwrap_or_else(PoisonError::into_inner) = new;
                }
                Err(fault) => (inner.options.tell)(Notice::Refresh(&fault)),
            }
        });
        let wait = async { tokio::time::timeout(REFRESH_PATIENCE, task).await };
        let _else_what_was_there = self.0.runtime.block_on(wait);
    }
}

impl Inner {
    fn looked(&self) -> MutexGuard<'_, Looked> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the next one look, however this look ends.
struct EndOfLook(Arc<Inner>);

impl Drop for EndOfLook {
    fn drop(&mut self) {
        *self.0.looked() = Looked { at: Instant::now(), is_under_way: false };
    }
}

/// What the repository is like; `None` if that is what is known already.
async fn look(
    repository: &Repository,
    options: &Options,
    templates: &[Template],
    known: Option<&Current>,
) -> Result<Option<Current>, Fault> {
    let names = match repository.protocol().list_objects(ObjectKind::Root).await {
        Ok(mut names) => {
            names.sort_unstable();
            Some(names)
        }
        Err(ObjectError::Fault(fault)) => return Err(fault),
        // They are not objects of their own in this format.
        Err(_) => None,
    };
    let is_known = |names: &Vec<String>| known.is_some_and(|known| *known.names == *names);
    if names.as_ref().is_some_and(is_known) {
        return Ok(None);
    }
    let listed = repository.protocol().list_roots().await?;
    let names = names.unwrap_or_else(|| {
        let mut names: Vec<_> = listed.iter().map(|(id, _)| id.as_str().to_owned()).collect();
        names.sort_unstable();
        names
    });
    if is_known(&names) {
        return Ok(None);
    }
    let mut roots: Vec<(RootId, Root)> = Vec::new();
    for (id, root) in listed {
        match root {
            Ok(root) if (options.choose)(&root) => roots.push((id, root)),
            Ok(_not_chosen) => {}
            Err(fault) => (options.tell)(Notice::Root(&id, &fault)),
        }
    }
    roots.sort_by(|(id, root), (other_id, other)| {
        (root.time.instant(), id).cmp(&(other.time.instant(), other_id))
    });
    if known.is_some() {
        // What came since is in no index that was loaded before.
        repository.forget_index().await;
    }
    let reader = repository.reader().await?;
    let layout = Layout::new(templates, &options.time_layout, roots);
    Ok(Some(Current { layout: Arc::new(layout), reader, names: Arc::new(names) }))
}

/// A name in a directory above the roots.
fn placed(above: &str, name: &str, place: &Place) -> (Node, Attributes) {
    let node = || Node(Where::Place(joined(above, name).into()));
    match place {
        Place::Folder(folder) => (node(), of_folder(folder)),
        Place::Root(top) => (Node(Where::Root(top.id.clone())), Attributes::of_top(top)),
        Place::Link { target, time } => {
            (node(), Attributes::made_up(Shape::Symlink, *time, target.len() as u64))
        }
    }
}

fn of_folder(folder: &Folder) -> Attributes {
    let time = folder.newest.unwrap_or(Timestamp::utc(0, 0));
    Attributes::made_up(Shape::Directory, time, 0)
}

fn joined(above: &str, name: &str) -> String {
    if above.is_empty() { name.to_owned() } else { format!("{above}/{name}") }
}

/// The directory that a path is in, and its last name.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

impl Node {
    /// What tells the content of an entry from that of every other; `None` above roots.
    #[must_use]
    pub fn fingerprint(&self) -> Option<String> {
        match &self.0 {
            Where::Entry { directory, at } => Some(format!("{directory}-{at}")),
            Where::Place(_) | Where::Root(_) => None,
        }
    }

    /// Whether it is in a root, or its top directory, and not above it.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        !matches!(self.0, Where::Place(_))
    }
}
