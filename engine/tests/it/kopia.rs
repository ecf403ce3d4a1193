//! Repositories that kopia wrote, read through the pipelines that read every format.

mod behind_rclone;
mod browsed;
mod damage;
mod golden;
mod in_drive;
mod opening;
mod restored;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use windlass_engine::{
    fault::Fault,
    index::Index,
    model::{
        directory::{Entry, Kind, Target},
        root::{Root, RootId},
    },
    protocol::{ListedRoot, keys::OpenError, open::OpenOptions},
    reader::Reader,
    repository::{Environment, Place, Repository},
    store::settings::StoreSettings,
};
use windlass_fixtures::KOPIA_PASSWORD;
use windlass_format::{id::to_hex, secret::Password, time::Timestamp};

use crate::reach::place;

/// A repository and the runtime it was opened on.
struct Open {
    runtime: Runtime,
    repository: Repository,
}

impl Open {
    fn at(path: &Path, password: &str) -> Result<Self, OpenError> {
        let runtime = Runtime::new().expect("a runtime");
        let repository = runtime.block_on(Repository::open(
            &Place::local(path),
            &Password::new(password),
            &OpenOptions::default(),
            Environment::system(),
        ))?;
        Ok(Self { runtime, repository })
    }

    /// Wherever a location leads.
    fn reached(location: &str, settings: &StoreSettings) -> Result<Self, OpenError> {
        let runtime = Runtime::new().expect("a runtime");
        let repository = runtime.block_on(Repository::open(
            &place(location, settings),
            &Password::new(KOPIA_PASSWORD),
            &OpenOptions::default(),
            Environment::system(),
        ))?;
        Ok(Self { runtime, repository })
    }

    fn fixture(name: &str) -> Self {
        Self::at(&fixture(name), KOPIA_PASSWORD).expect("a fixture opens")
    }

    fn roots(&self) -> Result<Vec<ListedRoot>, Fault> {
        self.runtime.block_on(self.repository.protocol().list_roots())
    }

    /// The readable roots.
    fn good_roots(&self) -> Vec<(RootId, Root)> {
        let roots = self.roots().expect("roots");
        roots.into_iter().map(|(id, root)| (id, root.expect("a readable root"))).collect()
    }

    /// The root that a fixture was tagged with.
    fn tagged(&self, tag: &str) -> Root {
        let tag = format!("fixture:{tag}");
        let mut roots = self.good_roots();
        roots.retain(|(_, root)| root.tags.contains(&tag));
        assert_eq!(roots.len(), 1, "{tag}");
        roots.remove(0).1
    }

    /// An index of its own, read now.
    fn fresh_index(&self) -> Result<Arc<Index>, Fault> {
        let index = Arc::new(Index::new());
        self.runtime.block_on(self.repository.protocol().load_index(&index, None))?;
        Ok(index)
    }

    /// A reader that has kept nothing yet.
    fn fresh_reader(&self, index: &Arc<Index>) -> Reader {
        let repository = &self.repository;
        let (store, dialect) = (repository.store().clone(), repository.dialect().clone());
        Reader::new(store, dialect, Arc::clone(index), self.runtime.handle().clone())
    }

    fn read(&self, root: &Root) -> Result<Tree, Fault> {
        let index = self.fresh_index()?;
        read(&self.fresh_reader(&index), root)
    }
}

fn fixture(name: &str) -> PathBuf {
    windlass_fixtures::kopia(name).join("repository")
}

/// A copy of a fixture that may be harmed.
fn copy_of(name: &str) -> TempDir {
    let copy = TempDir::new().expect("a directory");
    copy_tree(&fixture(name), copy.path()).expect("a copy");
    copy
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&place)?;
            copy_tree(&entry.path(), &place)?;
        } else {
            fs::copy(entry.path(), &place)?;
        }
    }
    Ok(())
}

/// What was saved of one entry, in the words of the expected files.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Saved {
    kind: char,
    mode: u32,
    mtime: (i64, u32),
    owner: (u32, u32),
    /// Size and SHA-256 of a file; length and hex of a link's target.
    body: Option<(u64, String)>,
}

type Tree = BTreeMap<String, Saved>;

/// Everything below a root, every byte of it.
fn read(reader: &Reader, root: &Root) -> Result<Tree, Fault> {
    let mut tree = Tree::new();
    let mut pending = vec![(String::new(), root.tree)];
    while let Some((path, key)) = pending.pop() {
        for entry in reader.directory(&key)?.entries {
            let separator = if path.is_empty() { "" } else { "/" };
            let path = format!("{path}{separator}{}", String::from_utf8_lossy(&entry.name));
            if let Kind::Directory { tree: Some(tree) } = &entry.kind {
                pending.push((path.clone(), *tree));
            }
            let saved = saved(reader, &entry)?;
            assert!(tree.insert(path, saved).is_none());
        }
    }
    Ok(tree)
}

fn saved(reader: &Reader, entry: &Entry) -> Result<Saved, Fault> {
    let (kind, body) = match &entry.kind {
        Kind::Directory { .. } => ('d', None),
        Kind::Symlink { target: Target::Stored(content) } => {
            let mut target = Vec::new();
            for key in reader.chunks_of(content)? {
                reader.chunk(&key, &mut target)?;
            }
            ('s', Some((target.len() as u64, to_hex(&target))))
        }
        Kind::File { size_bytes, content } => {
            let (mut digest, mut length) = (Sha256::new(), 0);
            let mut piece = Vec::new();
            for key in reader.chunks_of(content)? {
                piece.clear();
                reader.chunk(&key, &mut piece)?;
                digest.update(&piece);
                length += piece.len() as u64;
            }
            assert_eq!(length, *size_bytes);
            ('f', Some((length, to_hex(&digest.finalize()))))
        }
        other => panic!("kopia stores no {other:?}"),
    };
    let Timestamp { seconds, nanos, .. } = entry.mtime;
    let owner = (entry.uid, entry.gid);
    Ok(Saved { kind, mode: entry.mode, mtime: (seconds, nanos), owner, body })
}

/// What the tree was before kopia saw it, without the top itself.
fn expected(name: &str, tag: &str) -> Tree {
    let path = windlass_fixtures::kopia(name).join(format!("expected/{tag}.jsonl"));
    let mut tree = Tree::new();
    for line in fs::read_to_string(path).expect("an expected file").lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let text = |key: &str| line[key].as_str().expect("text").to_owned();
        let number = |key: &str| line[key].as_i64().expect("a number");
        let (kind, body) = match text("type").as_str() {
            "d" => ('d', None),
            "s" => ('s', Some((text("target").len() as u64 / 2, text("target")))),
            _ => ('f', Some((number("size") as u64, text("sha256")))),
        };
        let mode = u32::from_str_radix(&text("mode"), 8).expect("octal");
        let mtime = (number("seconds"), number("nanos") as u32);
        let owner = (number("uid") as u32, number("gid") as u32);
        assert!(tree.insert(text("path"), Saved { kind, mode, mtime, owner, body }).is_none());
    }
    assert!(tree.remove("").is_some(), "the top is always there");
    assert!(!tree.is_empty());
    tree
}

fn assert_same(read: &Tree, expected: &Tree) {
    for (path, saved) in expected {
        assert_eq!(read.get(path), Some(saved), "{path:?}");
    }
    assert_eq!(read.len(), expected.len());
}
