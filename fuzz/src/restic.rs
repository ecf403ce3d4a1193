//! The decoders of restic's format.

use windlass_format::cut::rabin::Polynomial;
use windlass_format::restic::compress::Decompressor;
use windlass_format::restic::config::Config;
use windlass_format::restic::envelope::MasterKey;
use windlass_format::restic::key::KeyFile;
use windlass_format::restic::lock::Lock;
use windlass_format::restic::path::FileName;
use windlass_format::restic::snapshot::Snapshot;
use windlass_format::restic::{index, name, pack, tree, unpacked};

use crate::text;

/// More than a small input may unpack to here.
const MAX_PLAIN: usize = 1 << 20;

/// What is compressed in a pack.
pub fn compressed(data: &[u8]) -> bool {
    let mut decompressor = Decompressor::new().expect("memory for a context");
    let mut plain = Vec::new();
    if decompressor.decompress_up_to("fuzz", data, MAX_PLAIN, &mut plain).is_err() {
        return false;
    }
    assert!(plain.len() <= MAX_PLAIN);
    let mut again = Vec::new();
    let exact = decompressor.decompress_exact("fuzz", data, plain.len(), &mut again);
    assert!(exact.is_err() || again == plain);
    true
}

/// The config of a repository.
pub fn config(data: &[u8]) -> bool {
    let Ok(config) = Config::decode(data) else { return false };
    // Each of these reads a part of the config on demand.
    let _ = (config.chunker().is_ok(), config.rustic_chunker().is_ok());
    // Keys of others are kept as JSON, which writing brings into Go's form.
    let encoded = config.encode();
    let again = Config::decode(&encoded).expect("our own writing");
    assert_eq!(again.encode(), encoded);
    assert_eq!(
        (again.version, again.id, again.extra.len()),
        (config.version, config.id, config.extra.len())
    );
    true
}

/// The name of a file in the repository.
pub fn file_name(data: &[u8]) -> bool {
    let Some(name) = text(data).and_then(FileName::parse) else { return false };
    assert_eq!(FileName::parse(&name.to_string()), Some(name));
    true
}

/// An index.
pub fn index(data: &[u8]) -> bool {
    let Ok(packs) = index::decode(data) else { return false };
    assert_eq!(index::decode(&index::encode(&packs)), Ok(packs));
    true
}

/// A key file, which anybody who can write to the store may have written.
pub fn key(data: &[u8]) -> bool {
    let Ok(key) = KeyFile::decode(data) else { return false };
    // Says no to parameters that would take minutes or gigabytes.
    let _ = key.kdf.check();
    assert_eq!(KeyFile::decode(&key.encode()), Ok(key));
    true
}

/// A lock.
pub fn lock(data: &[u8]) -> bool {
    let Ok(lock) = Lock::decode(data) else { return false };
    assert_eq!(Lock::decode(&lock.encode()), Ok(lock));
    true
}

/// The master key in an opened key file.
pub fn master_key(data: &[u8]) -> bool {
    let Ok(key) = MasterKey::from_json(data) else { return false };
    let json = key.to_json();
    let again = MasterKey::from_json(&json).expect("our own writing");
    assert_eq!(again.to_json(), json);
    true
}

/// A name in a tree.
pub fn name(data: &[u8]) -> bool {
    let (mut plain, mut quoted, mut again) = (Vec::new(), Vec::new(), Vec::new());
    let Some(Ok(())) = text(data).map(|text| name::unquote(text, &mut plain)) else { return false };
    name::quote(&plain, &mut quoted);
    let quoted = text(&quoted).expect("quoting leaves text");
    name::unquote(quoted, &mut again).expect("our own quoting");
    assert_eq!(again, plain);
    true
}

/// The header of a pack, opened.
pub fn pack_entries(data: &[u8]) -> bool {
    let Ok(entries) = pack::decode_entries(data) else { return false };
    let mut encoded = Vec::new();
    pack::encode_entries(&entries, &mut encoded);
    assert_eq!(pack::decode_entries(&encoded), Ok(entries));
    true
}

/// The chunker polynomial in a config.
pub fn polynomial(data: &[u8]) -> bool {
    let Some(Ok(polynomial)) = text(data).map(Polynomial::from_hex) else { return false };
    let again = Polynomial::from_hex(&polynomial.to_string());
    assert!(again == Ok(polynomial), "{polynomial} does not survive");
    true
}

/// A snapshot.
pub fn snapshot(data: &[u8]) -> bool {
    let Ok(snapshot) = Snapshot::decode(data) else { return false };
    assert_eq!(Snapshot::decode(&snapshot.encode()), Ok(snapshot));
    true
}

/// A directory.
pub fn tree(data: &[u8]) -> bool {
    let references = tree::references(data, |_, _| ());
    let Ok((tree, lossless)) = tree::decode_lossless(data) else { return false };
    assert_eq!(references, Ok(()));
    let encoded = tree.encode().expect("what was decoded can be encoded");
    assert_eq!(encoded == data, lossless);
    assert_eq!(tree::decode(&encoded), Ok(tree));
    true
}

/// An opened file outside packs.
pub fn unpacked(data: &[u8]) -> bool {
    let mut decompressor = Decompressor::new().expect("memory for a context");
    let mut json = Vec::new();
    unpacked::decode(&mut decompressor, "fuzz", data, &mut json).is_ok()
}
