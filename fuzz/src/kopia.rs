//! The decoders of kopia's format. Nothing of it is written yet, so most of them are only asked
//! to come back.

use windlass_format::damage::Damage;
use windlass_format::kopia::compress::Decompression;
use windlass_format::kopia::crypter::Crypter;
use windlass_format::kopia::format::Format;
use windlass_format::kopia::format_blob::FormatBlob;
use windlass_format::kopia::id::{BlobId, ContentId, ObjectId};
use windlass_format::kopia::index::Segment;
use windlass_format::kopia::pack::LocalIndexReader;
use windlass_format::kopia::shards::{Shards, blob_at};
use windlass_format::kopia::{dir, epoch, manifest, object, snapshot};
use windlass_format::step::Step;
use zeroize::Zeroizing;

use crate::text;

/// More than a small input may unpack to here.
const MAX_PLAIN: u32 = 1 << 20;

/// A compressed content with its header.
pub fn compressed(data: &[u8]) -> bool {
    let mut raw = Vec::new();
    if Decompression::default().run_by_header(data, MAX_PLAIN, &mut raw).is_err() {
        return false;
    }
    assert!(raw.len() <= MAX_PLAIN as usize);
    true
}

/// A directory.
pub fn directory(data: &[u8]) -> bool {
    dir::decode(data).is_ok()
}

/// The names of index blobs, one per line.
pub fn epochs(data: &[u8]) -> bool {
    let Some(text) = text(data) else { return false };
    let names: Vec<BlobId> = text.lines().filter_map(BlobId::parse).collect();
    let Ok(set) = epoch::read_set(&names) else { return false };
    assert!(set.blobs.iter().all(|blob| names.contains(blob)));
    true
}

/// The opened format block.
pub fn format(data: &[u8]) -> bool {
    let Ok(format) = Format::decode(&Zeroizing::new(data.to_vec())) else { return false };
    // An algorithm it does not know is an answer too.
    let _ = Crypter::new(&format).is_ok();
    true
}

/// `kopia.repository`, which anybody who can write to the store may have written.
pub fn format_blob(data: &[u8]) -> bool {
    FormatBlob::decode(data).is_ok()
}

/// Ids of contents, objects and blobs.
pub fn ids(data: &[u8]) -> bool {
    let Some(text) = text(data) else { return false };
    let content = ContentId::parse(text);
    if let Some(id) = content {
        assert_eq!(ContentId::parse(&id.to_string()), Some(id));
    }
    let object = ObjectId::parse(text);
    if let Some(id) = object {
        assert_eq!(ObjectId::parse(&id.to_string()), Some(id));
    }
    let blob = BlobId::parse(text);
    if let Some(id) = &blob {
        assert_eq!(id.as_str(), text);
    }
    content.is_some() || object.is_some() || blob.is_some()
}

/// An opened index blob.
pub fn index(data: &[u8]) -> bool {
    let Ok(segment) = Segment::parse(data) else { return false };
    let mut visited = 0;
    let outcome = segment.visit::<Damage>(|entry| {
        visited += 1;
        segment.pack_name(entry.pack).map(|_| ())
    });
    assert!(visited <= segment.entry_count());
    outcome.is_ok()
}

/// The list of an indirect object.
pub fn list(data: &[u8]) -> bool {
    let Ok(parts) = object::decode_list(data) else { return false };
    let mut end = 0;
    for part in parts {
        assert_eq!(part.start, end);
        end = part.start + part.len;
    }
    true
}

/// Manifests, and the snapshots among them.
pub fn manifests(data: &[u8]) -> bool {
    let Ok(manifests) = manifest::decode(data) else { return false };
    for manifest in manifests {
        let snapshot = snapshot::decode(&manifest);
        assert!(manifest.is_snapshot() || snapshot.is_err());
    }
    true
}

/// The end of a pack, of a repository whose keys are known.
pub fn pack_tail(data: &[u8]) -> bool {
    const FORMAT: &[u8] = include_bytes!("../seeds/kopia_format/default");
    let format = Format::decode(&Zeroizing::new(FORMAT.to_vec())).expect("a seed");
    let crypter = Crypter::new(&format).expect("known algorithms");
    // As if the data were the end of a pack of a mebibyte.
    let Ok(mut reader) = LocalIndexReader::new(1 << 20) else { return false };
    let Ok(Step::Need { start, end }) = reader.next(&crypter, data.to_vec()) else { return false };
    assert!(start <= end && end <= 1 << 20);
    let index = vec![0; usize::try_from(end - start).expect("at most a mebibyte")];
    assert!(reader.next(&crypter, index).is_err(), "zeros were taken for a sealed index");
    true
}

/// `.shards`.
pub fn shards(data: &[u8]) -> bool {
    let Ok(shards) = Shards::decode(data) else { return false };
    let blob = BlobId::parse("pdafc00f3c29b30b0dabfc7c87a94a541-s1").expect("a blob id");
    assert_eq!(blob_at(&shards.path(&blob)), Some(blob));
    true
}
