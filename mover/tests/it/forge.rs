//! Repositories made to do harm: whatever their maker likes, sealed with the right key.

use std::fs;

use serde_json::Value;
use sha2::{Digest, Sha256};
use windlass_engine::format::{
    restic::{
        BlobId, PackId,
        compress::{Compressor, Level},
        config::Version,
        envelope::{self, MasterKey},
        index::{self, IndexPack},
        pack::{self, BlobKind, Entry},
        snapshot::Snapshot,
        tree::{Mode, Node, NodeKind, Tree},
        unpacked,
    },
    time::Timestamp,
};

use crate::place::Place;

/// Plants objects into the repository of a place.
pub(crate) struct Forger<'a> {
    place: &'a Place,
    master: MasterKey,
    sealed: u64,
    packs: Vec<IndexPack>,
}

impl<'a> Forger<'a> {
    pub(crate) fn new(place: &'a Place) -> Self {
        let json = place.done(&["cat", "masterkey"]).out;
        let master = MasterKey::from_json(json.as_bytes()).expect("a master key");
        Self { place, master, sealed: 0, packs: Vec::new() }
    }

    /// Stores bytes, under the name that they have.
    pub(crate) fn blob(&mut self, kind: BlobKind, plain: &[u8]) -> BlobId {
        let id = BlobId(Sha256::digest(plain).into());
        self.lie(id, kind, plain);
        id
    }

    /// Stores bytes under a name that need not be theirs.
    pub(crate) fn lie(&mut self, id: BlobId, kind: BlobKind, plain: &[u8]) {
        let mut bytes = Vec::new();
        self.seal(plain, &mut bytes);
        let length = u32::try_from(bytes.len()).expect("a small blob");
        let entry = Entry { kind, id, offset: 0, length, raw_length: None };
        let nonce = self.nonce();
        pack::finish(&self.master, &nonce, &[entry], &mut bytes).expect("a pack");
        let id = PackId(Sha256::digest(&bytes).into());
        let (name, pack) = (id.to_hex(), vec![entry]);
        fs::create_dir_all(self.place.path("repo/data").join(&name[..2])).expect("a directory");
        self.place.write(&format!("repo/data/{}/{name}", &name[..2]), &bytes);
        self.packs.push(IndexPack { id, blobs: pack, to_delete: false, time: None, size: None });
    }

    /// Stores a directory.
    pub(crate) fn tree(&mut self, nodes: Vec<Node>) -> BlobId {
        let plain = Tree { nodes }.encode().expect("a tree");
        self.blob(BlobKind::Tree, &plain)
    }

    /// Stores a directory as its text is.
    pub(crate) fn tree_text(&mut self, text: &str) -> BlobId {
        self.blob(BlobKind::Tree, text.as_bytes())
    }

    /// A file with this content that says it has `size` bytes.
    pub(crate) fn file(&mut self, name: &str, content: &[u8], size: u64) -> Node {
        let content = vec![self.blob(BlobKind::Data, content)];
        Node { size, mode: Mode(0o644), content: Some(content), ..node(name, NodeKind::File) }
    }

    /// Stores an index of all that was planted and a snapshot of `tree`, whose name it gives.
    pub(crate) fn snapshot(&mut self, tree: BlobId) -> String {
        let index = index::encode(&std::mem::take(&mut self.packs));
        self.unpacked("index", &index);
        let snapshot = Snapshot::new(Timestamp::utc(1_700_000_000, 0), tree);
        self.unpacked("snapshots", &snapshot.encode())
    }

    /// Stores JSON outside of packs and gives its name.
    pub(crate) fn unpacked(&mut self, directory: &str, json: &[u8]) -> String {
        let mut compressor = Compressor::new(Level::Auto).expect("a compressor");
        let mut plain = Vec::new();
        unpacked::encode(Version::V2, &mut compressor, json, &mut plain).expect("encoded");
        let mut bytes = Vec::new();
        self.seal(&plain, &mut bytes);
        let name = BlobId(Sha256::digest(&bytes).into()).to_hex();
        self.place.write(&format!("repo/{directory}/{name}"), &bytes);
        name
    }

    fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        let nonce = self.nonce();
        envelope::seal(&self.master, &nonce, plain, out);
    }

    fn nonce(&mut self) -> [u8; 16] {
        self.sealed += 1;
        u128::from(self.sealed).to_le_bytes()
    }
}

/// An entry without content.
pub(crate) fn node(name: &str, kind: NodeKind) -> Node {
    let time = Timestamp::utc(1_700_000_000, 0);
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    Node { mtime: time, atime: time, ctime: time, uid, gid, ..Node::new(name.into(), kind) }
}

/// A directory of a directory.
pub(crate) fn directory(name: &str, tree: BlobId) -> Node {
    let mode = Mode::from_st_mode(0o040_755);
    Node { mode, subtree: Some(tree), ..node(name, NodeKind::Dir) }
}

/// Replaces the only key file by one that says something else of itself.
pub(crate) fn change_key(place: &Place, change: impl Fn(&mut Value)) {
    let file = place.only_file("keys");
    let mut key: Value = serde_json::from_slice(&fs::read(&file).expect("a key")).expect("JSON");
    change(&mut key);
    let bytes = serde_json::to_vec(&key).expect("JSON");
    fs::remove_file(&file).expect("removed");
    let name = BlobId(Sha256::digest(&bytes).into()).to_hex();
    place.write(&format!("repo/keys/{name}"), &bytes);
}
