//! The shortest reader of a kopia repository that can be written on top of the codecs.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use windlass_fixtures::KOPIA_PASSWORD;
use windlass_format::damage::Damage;
use windlass_format::kopia::content::{self, Scratch};
use windlass_format::kopia::crypter::Crypter;
use windlass_format::kopia::epoch;
use windlass_format::kopia::format::Format;
use windlass_format::kopia::format_blob::FormatBlob;
use windlass_format::kopia::id::{BlobId, ContentId, ObjectId};
use windlass_format::kopia::index::{self, Claim, Entry, Segment};
use windlass_format::kopia::manifest::{self, Manifests};
use windlass_format::kopia::object;
use windlass_format::kopia::shards::{self, Shards};
use windlass_format::kopia::snapshot::{self, Snapshot};
use windlass_format::secret::{Password, Secret};

/// An opened repository.
pub(crate) struct Repository {
    root: PathBuf,
    shards: Shards,
    pub(crate) blobs: Vec<BlobId>,
    pub(crate) format_blob: FormatBlob,
    pub(crate) key: Secret<32>,
    pub(crate) format: Format,
    pub(crate) crypter: Crypter,
    pub(crate) contents: HashMap<ContentId, (Entry, BlobId)>,
}

impl Repository {
    /// Opens a fixture.
    pub(crate) fn open(fixture: &str) -> Self {
        let root = windlass_fixtures::kopia(fixture).join("repository");
        let shards = Shards::decode(&fs::read(root.join(shards::FILE_NAME)).unwrap()).unwrap();
        let mut blobs = Vec::new();
        list(&root, "", &mut blobs);
        blobs.sort();
        let format_path = shards.path(&BlobId::parse(BlobId::REPOSITORY).unwrap());
        let format_blob = FormatBlob::decode(&fs::read(root.join(format_path)).unwrap()).unwrap();
        let key = format_blob.derive_key(&Password::new(KOPIA_PASSWORD)).unwrap();
        let format = format_blob.open(&key).unwrap();
        let crypter = Crypter::new(&format).unwrap();
        let contents = HashMap::new();
        let mut repository =
            Self { root, shards, blobs, format_blob, key, format, crypter, contents };
        repository.load_index();
        repository
    }

    /// A whole stored blob.
    pub(crate) fn blob(&self, blob: &BlobId) -> Vec<u8> {
        fs::read(self.root.join(self.shards.path(blob))).unwrap()
    }

    fn load_index(&mut self) {
        let set = match self.format.epochs {
            Some(_) => epoch::read_set(&self.blobs).unwrap(),
            None => epoch::read_set_without_epochs(&self.blobs).unwrap(),
        };
        for blob in &set.blobs {
            let mut stored = self.blob(blob);
            let plain = self.crypter.open_blob(blob, &mut stored).unwrap();
            let segment = Segment::parse(plain).unwrap();
            let visited = segment.visit(|entry| {
                let pack = segment.pack_name(entry.pack)?;
                let claim = Claim { seconds: entry.seconds, deleted: entry.deleted, pack };
                let known = self.contents.get(&entry.content);
                let is_newer = known.is_none_or(|(known, pack)| {
                    let pack = pack.as_str();
                    let known = Claim { seconds: known.seconds, deleted: known.deleted, pack };
                    index::supersedes(claim, known)
                });
                if is_newer {
                    self.contents.insert(entry.content, (entry, BlobId::parse(pack).unwrap()));
                }
                Ok::<_, Damage>(())
            });
            visited.unwrap();
        }
        let watermark = set.deletion_watermark;
        self.contents
            .retain(|_, (entry, _)| !index::is_forgotten(entry.seconds, entry.deleted, watermark));
    }

    /// The stored bytes of a content.
    pub(crate) fn stored(&self, entry: &Entry, pack: &BlobId) -> Vec<u8> {
        let pack = fs::File::open(self.root.join(self.shards.path(pack))).unwrap();
        let mut stored = vec![0; entry.packed_len as usize];
        pack.read_exact_at(&mut stored, u64::from(entry.offset)).unwrap();
        stored
    }

    /// The plaintext of a content.
    pub(crate) fn content(&self, id: ContentId, scratch: &mut Scratch) -> Vec<u8> {
        let (entry, pack) = self.contents.get(&id).unwrap_or_else(|| panic!("{id} not in index"));
        let mut stored = self.stored(entry, pack);
        content::open(&self.crypter, entry, &mut stored, scratch).unwrap().to_vec()
    }

    /// Hands the bytes of an object to `sink`, piece by piece.
    pub(crate) fn read(&self, id: ObjectId, sink: &mut impl FnMut(&[u8])) {
        self.read_parts(id, &mut Scratch::default(), sink);
    }

    fn read_parts(&self, id: ObjectId, scratch: &mut Scratch, sink: &mut dyn FnMut(&[u8])) -> u64 {
        let Some(list) = id.list() else {
            let content = self.content(id.content(), scratch);
            sink(&content);
            return content.len() as u64;
        };
        let mut text = Vec::new();
        self.read_parts(list, scratch, &mut |piece| text.extend_from_slice(piece));
        let parts = object::decode_list(&text).unwrap();
        for part in &parts {
            assert_eq!(self.read_parts(part.object, scratch, sink), part.len);
        }
        parts.last().map_or(0, |part| part.start + part.len)
    }

    /// All bytes of an object.
    pub(crate) fn object(&self, id: ObjectId) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.read(id, &mut |piece| bytes.extend_from_slice(piece));
        bytes
    }

    /// All manifests.
    pub(crate) fn manifests(&self) -> Manifests {
        let mut manifests = Manifests::default();
        let mut scratch = Scratch::default();
        let live = self.contents.values().filter(|(entry, _)| !entry.deleted);
        for (entry, _) in live.filter(|(e, _)| e.content.prefix() == Some(manifest::PREFIX)) {
            let content = self.content(entry.content, &mut scratch);
            manifests.add(manifest::decode(&content).unwrap());
        }
        manifests
    }

    /// All snapshots, oldest first.
    pub(crate) fn snapshots(&self) -> Vec<Snapshot> {
        let manifests = self.manifests();
        let snapshots = manifests.iter().filter(|manifest| manifest.is_snapshot());
        let mut snapshots: Vec<_> = snapshots.map(|m| snapshot::decode(m).unwrap()).collect();
        snapshots.sort_by_key(|snapshot| snapshot.start.instant());
        snapshots
    }
}

fn list(root: &Path, below: &str, blobs: &mut Vec<BlobId>) {
    for entry in fs::read_dir(root.join(below)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        if entry.file_type().unwrap().is_dir() {
            list(root, &path, blobs);
        } else {
            blobs.extend(shards::blob_at(&path));
        }
    }
}
