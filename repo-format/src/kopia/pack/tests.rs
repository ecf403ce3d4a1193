//! The trailer against an encoder of the test's own. Whole packs are read in `tests/it`.

use proptest::prelude::*;

use super::{LocalIndexReader, read_trailer, uvarint};
use crate::damage::Damage;
use crate::kopia::cipher::Cipher;
use crate::kopia::crypter::Crypter;
use crate::kopia::format::KeyBytes;
use crate::kopia::hash::Hasher;
use crate::step::Step;

fn push_uvarint(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn trailer(version: u64, iv: &[u8], start: u64, len: u64) -> Vec<u8> {
    let mut out = Vec::new();
    push_uvarint(&mut out, version);
    push_uvarint(&mut out, iv.len() as u64);
    out.extend_from_slice(iv);
    push_uvarint(&mut out, start);
    push_uvarint(&mut out, len);
    let mut crc = flate2::Crc::new();
    crc.update(&out);
    out.extend_from_slice(&crc.sum().to_be_bytes());
    out.push(out.len() as u8);
    out
}

proptest! {
    #[test]
    fn trailers_round_trip(
        start in any::<u32>(),
        len in any::<u32>(),
        iv in prop::collection::vec(any::<u8>(), 16..33),
        before in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let bytes = [before, trailer(1, &iv, start.into(), len.into())].concat();
        let read = read_trailer(&bytes).unwrap();
        prop_assert_eq!(&read.iv, &iv);
        prop_assert_eq!((read.start, read.end - read.start), (start.into(), len.into()));
    }

    #[test]
    fn altered_trailers_are_refused(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut bytes = trailer(1, &[7; 16], 1000, 200);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(read_trailer(&bytes).is_err());
        prop_assert!(read_trailer(&bytes[at + 1..]).is_err());
    }

    #[test]
    fn uvarints_round_trip(number in any::<u64>()) {
        let mut bytes = Vec::new();
        push_uvarint(&mut bytes, number);
        let mut rest = bytes.as_slice();
        prop_assert_eq!(uvarint(&mut rest), Some(number));
        prop_assert!(rest.is_empty());
    }
}

#[test]
fn numbers_beyond_64_bits_and_endless_ones_are_refused() {
    assert_eq!(uvarint(&mut &[0xff; 9][..]), None);
    assert_eq!(uvarint(&mut &[0x80; 20][..]), None);
    let mut most = [0xff; 10];
    most[9] = 1;
    assert_eq!(uvarint(&mut &most[..]), Some(u64::MAX));
    most[9] = 2;
    assert_eq!(uvarint(&mut &most[..]), None);
}

#[test]
fn trailers_that_lie_are_refused() {
    let unsupported = Damage::Unsupported { what: "trailer of a pack" };
    assert_eq!(read_trailer(&trailer(2, &[7; 16], 1, 1)).unwrap_err(), unsupported);
    assert!(read_trailer(&trailer(1, &[7; 33], 1, 1)).is_err());
    assert!(read_trailer(&trailer(1, &[], 1, 1)).is_err());
    assert!(read_trailer(&trailer(1, &[7; 16], u64::MAX, 1)).is_err());
    assert!(read_trailer(&[]).is_err());
    assert!(read_trailer(&[9]).is_err());
}

#[test]
fn only_the_end_of_a_pack_is_asked_for_first() {
    let reader = LocalIndexReader::new(1000).unwrap();
    assert_eq!(reader.first(), Step::Need { start: 744, end: 1000 });
    assert_eq!(LocalIndexReader::new(10).unwrap().first(), Step::Need { start: 0, end: 10 });
    assert!(LocalIndexReader::new(1 << 40).is_err());
}

#[test]
fn a_local_index_must_hash_to_its_iv_and_have_all_its_bytes() {
    let key = KeyBytes::of(&[5; 32]);
    let hasher = Hasher::new("BLAKE2B-256-128", &key).unwrap();
    let cipher = Cipher::new("AES256-GCM-HMAC-SHA256", &key).unwrap();
    let crypter = Crypter { hasher, cipher };
    let right = crypter.hasher.hash(b"index").as_ref().to_vec();
    let read = |iv: &[u8], dropped: usize| {
        let sealed = crypter.cipher.seal(iv, [1; 12], b"index");
        let pack = [&sealed[..], &trailer(1, iv, 0, sealed.len() as u64)].concat();
        let mut reader = LocalIndexReader::new(pack.len() as u64).unwrap();
        let step = reader.next(&crypter, pack).unwrap();
        assert_eq!(step, Step::Need { start: 0, end: sealed.len() as u64 });
        reader.next(&crypter, sealed[dropped..].to_vec())
    };
    assert_eq!(read(&right, 0), Ok(Step::Done(b"index".to_vec())));
    assert_eq!(read(&[9; 16], 0), Err(Damage::BadHash { what: "index in a pack" }));
    assert!(matches!(read(&right, 1), Err(Damage::Truncated { .. })));
}
