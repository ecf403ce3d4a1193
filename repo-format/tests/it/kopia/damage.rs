//! Damaged blobs of a real repository are refused, each for the right reason, and nothing panics.

use windlass_format::damage::Damage;
use windlass_format::kopia::content::{self, Scratch};
use windlass_format::kopia::format_blob::FormatBlob;
use windlass_format::kopia::id::{BlobId, ContentId};
use windlass_format::kopia::index::Segment;
use windlass_format::kopia::pack::LocalIndexReader;
use windlass_format::kopia::refusal::Refusal;
use windlass_format::kopia::{blobcfg, crypter::Crypter};
use windlass_format::secret::{Password, Secret};
use windlass_format::step::Step;

use super::repository::Repository;

#[test]
fn a_wrong_password_is_a_bad_tag() {
    let repository = Repository::open("default");
    let key = repository.format_blob.derive_key(&Password::new("wrong")).unwrap();
    let refusal = repository.format_blob.open(&key).unwrap_err();
    assert_eq!(refusal, Refusal::Damage(Damage::BadTag { what: "format block" }));
}

#[test]
fn an_altered_format_blob_never_opens_as_another_format() {
    let repository = Repository::open("default");
    let blob = repository.blob(&BlobId::parse(BlobId::REPOSITORY).unwrap());
    let mut opened = 0;
    for at in 0..blob.len() {
        let mut altered = blob.clone();
        altered[at] ^= 2;
        let Ok(decoded) = FormatBlob::decode(&altered) else { continue };
        if let Ok(format) = decoded.open(&repository.key) {
            // Only what is not used here can change unnoticed: tool, versions, derivation name.
            assert_eq!(format.master_key.expose(), repository.format.master_key.expose());
            opened += 1;
        }
        assert!(FormatBlob::decode(&blob[..at]).is_err());
    }
    assert!(opened < 200, "{opened} of {} altered bytes went unnoticed", blob.len());
}

#[test]
fn an_unknown_key_derivation_or_format_encryption_is_named() {
    let repository = Repository::open("default");
    let blob = repository.blob(&BlobId::parse(BlobId::REPOSITORY).unwrap());
    let text = String::from_utf8(blob).unwrap();
    let change =
        |from: &str, to: &str| FormatBlob::decode(text.replace(from, to).as_bytes()).unwrap();
    let algorithm = |kind, name: &str| Refusal::Algorithm { kind, name: name.into() };
    let blob = change("scrypt-65536-8-1", "argon2");
    let refusal = blob.derive_key(&Password::new("x")).unwrap_err();
    assert_eq!(refusal, algorithm("key derivation", "argon2"));
    let blob = change("AES256_GCM", "NONE");
    let refusal = blob.open(&Secret::new([0; 32])).unwrap_err();
    assert_eq!(refusal, algorithm("format encryption", "NONE"));
}

#[test]
fn an_altered_storage_configuration_is_refused() {
    let repository = Repository::open("default");
    let blob = repository.blob(&BlobId::parse(BlobId::BLOBCFG).unwrap());
    for at in 0..blob.len() {
        let mut altered = blob.clone();
        altered[at] ^= 1;
        assert!(blobcfg::open(&repository.format_blob, &repository.key, &altered).is_err());
        assert!(blobcfg::open(&repository.format_blob, &repository.key, &blob[..at]).is_err());
    }
}

#[test]
fn a_content_with_any_byte_altered_or_missing_is_refused() {
    for fixture in ["default", "zstd-128k", "version-1"] {
        let repository = Repository::open(fixture);
        let mut contents: Vec<_> = repository.contents.values().collect();
        contents.sort_by_key(|(entry, _)| (entry.packed_len, entry.content));
        let mut scratch = Scratch::default();
        for (entry, pack) in contents.into_iter().filter(|c| c.0.packed_len < 2000).take(6) {
            let stored = repository.stored(entry, pack);
            for at in 0..stored.len() {
                let mut altered = stored.clone();
                altered[at] ^= 0x10;
                let opened = content::open(&repository.crypter, entry, &mut altered, &mut scratch);
                assert_eq!(opened, Err(Damage::BadTag { what: "content" }));
            }
            let mut cut = stored[1..].to_vec();
            let opened = content::open(&repository.crypter, entry, &mut cut, &mut scratch);
            assert!(matches!(opened, Err(Damage::Truncated { .. })));
            let mut long = [&stored[..], &[0]].concat();
            let opened = content::open(&repository.crypter, entry, &mut long, &mut scratch);
            assert_eq!(opened, Err(Damage::Trailing { what: "content" }));
        }
    }
}

#[test]
fn a_content_under_a_false_entry_is_refused() {
    let repository = Repository::open("version-1");
    let mut contents: Vec<_> = repository.contents.values().collect();
    contents.sort_by_key(|(entry, _)| entry.content);
    let (entry, pack) = contents[0];
    let stored = repository.stored(entry, pack);
    let check = |entry, damage| {
        let (mut stored, mut scratch) = (stored.clone(), Scratch::default());
        let opened = content::open(&repository.crypter, &entry, &mut stored, &mut scratch);
        assert_eq!(opened.map(<[u8]>::to_vec), Err(damage));
    };
    // The key comes from the last 16 bytes of this 32-byte hash, so only the hash itself can tell.
    let mut hash = entry.content.hash().to_vec();
    hash[0] ^= 1;
    let mut other = *entry;
    other.content = ContentId::new(entry.content.prefix(), &hash).unwrap();
    check(other, Damage::BadHash { what: "content" });
    let mut other = *entry;
    other.raw_len += 1;
    check(other, Damage::Invalid { what: "content length" });
    let mut other = *entry;
    other.key_id = 1;
    check(other, Damage::Unsupported { what: "content key id" });
    let mut other = *entry;
    other.content = ContentId::new(None, &[1; 8]).unwrap();
    check(other, Damage::Invalid { what: "content hash length" });
}

#[test]
fn an_altered_index_blob_is_refused() {
    let repository = Repository::open("default");
    let index = repository.blobs.iter().find(|blob| blob.as_str().starts_with("xn0")).unwrap();
    let stored = repository.blob(index);
    for at in 0..stored.len() {
        let mut altered = stored.clone();
        altered[at] ^= 1;
        let opened = repository.crypter.open_blob(index, &mut altered);
        assert_eq!(opened.unwrap_err(), Damage::BadTag { what: "sealed blob" });
        let mut cut = stored[..at].to_vec();
        assert!(repository.crypter.open_blob(index, &mut cut).is_err());
    }
    for name in ["xn0", "kopia.repository", "xn0_zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz-s1-c1"] {
        let name = BlobId::parse(name).unwrap();
        let opened = repository.crypter.open_blob(&name, &mut stored.clone()).map(|_| ());
        assert!(matches!(opened, Err(Damage::Invalid { .. })));
    }
}

#[test]
fn a_blob_under_a_name_with_more_hash_than_it_has_is_refused() {
    let repository = Repository::open("version-1");
    let index = repository.blobs.iter().find(|blob| blob.as_str().starts_with('n')).unwrap();
    let mut name = index.as_str().to_owned();
    // The first half of the 64 digits is not part of the iv.
    name.replace_range(1..2, if name[1..2] == *"0" { "1" } else { "0" });
    let name = BlobId::parse(&name).unwrap();
    let opened = repository.crypter.open_blob(&name, &mut repository.blob(index)).map(|_| ());
    assert_eq!(opened, Err(Damage::BadHash { what: "sealed blob" }));
}

#[test]
fn a_pack_with_an_altered_trailer_or_local_index_is_refused() {
    let repository = Repository::open("default");
    let pack = repository.blobs.iter().find(|blob| blob.as_str().starts_with('q')).unwrap();
    let stored = repository.blob(pack);
    let content_end = local_index_start(&repository.crypter, &stored).unwrap();
    for at in content_end..stored.len() {
        let mut altered = stored.clone();
        altered[at] ^= 1;
        assert!(local_index(&repository.crypter, &altered).is_err(), "byte {at}");
    }
    let whole = local_index(&repository.crypter, &stored).unwrap();
    assert!(Segment::parse(&whole).unwrap().entry_count() > 0);
}

fn local_index_start(crypter: &Crypter, pack: &[u8]) -> Option<usize> {
    let mut reader = LocalIndexReader::new(pack.len() as u64).unwrap();
    let Step::Need { start, end } = reader.first() else { return None };
    let bytes = pack[start as usize..end as usize].to_vec();
    match reader.next(crypter, bytes).unwrap() {
        Step::Need { start, .. } => Some(start as usize),
        Step::Done(_) => None,
    }
}

fn local_index(crypter: &Crypter, pack: &[u8]) -> Result<Vec<u8>, Damage> {
    let mut reader = LocalIndexReader::new(pack.len() as u64)?;
    let mut step = reader.first();
    loop {
        match step {
            Step::Done(plain) => return Ok(plain),
            Step::Need { start, end } => {
                let bytes = pack[start as usize..end as usize].to_vec();
                step = reader.next(crypter, bytes)?;
            }
        }
    }
}
