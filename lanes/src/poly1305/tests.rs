//! The kernel against the crate `poly1305`, and both against the published vector.

use proptest::prelude::*;

use super::*;
use crate::test_data;

fn key(seed: u64) -> [u8; 32] {
    test_data::random(32, seed).try_into().unwrap()
}

#[track_caller]
fn check(key: &[u8; 32], data: &[u8]) {
    let expected = portable(key, data);
    assert_eq!(tag(key, data), expected);
    #[cfg(target_arch = "x86_64")]
    if ifma::is_available() {
        assert_eq!(ifma::tag(key, data), expected, "{} bytes", data.len());
    }
}

/// Keys at the edges of what clamping leaves, with s that overflows.
fn edge_keys() -> Vec<[u8; 32]> {
    let mut keys = vec![[0; 32], [0xff; 32], [0x80; 32], key(1), key(2)];
    for r in [1_u128, 2, 4, 5, 1 << 43, 1 << 44, 1 << 87, 1 << 88, 1 << 123, u128::MAX >> 4] {
        for s in [0, 1, u128::MAX] {
            let mut key = [0; 32];
            key[..16].copy_from_slice(&r.to_le_bytes());
            key[16..].copy_from_slice(&s.to_le_bytes());
            keys.push(key);
        }
    }
    keys
}

#[test]
fn the_vector_of_rfc_8439_has_its_tag() {
    let key: [u8; 32] = [
        0x85, 0xd6, 0xbe, 0x78, 0x57, 0x55, 0x6d, 0x33, 0x7f, 0x44, 0x52, 0xfe, 0x42, 0xd5, 0x06,
        0xa8, 0x01, 0x03, 0x80, 0x8a, 0xfb, 0x0d, 0xb2, 0xfd, 0x4a, 0xbf, 0xf6, 0xaf, 0x41, 0x49,
        0xf5, 0x1b,
    ];
    let message = b"Cryptographic Forum Research Group";
    let expected = [
        0xa8, 0x06, 0x1d, 0xc1, 0x30, 0x51, 0x36, 0xc6, 0xc2, 0x2b, 0x8b, 0xaf, 0x0c, 0x01, 0x27,
        0xa9,
    ];
    assert_eq!(tag(&key, message), expected);
    check(&key, message);
}

#[test]
fn every_length_up_to_nine_steps_has_the_tag_of_the_twin() {
    let data = test_data::random(9 * 256 + 20, 3);
    for length in 0..=data.len() {
        check(&key(length as u64), &data[..length]);
    }
}

#[test]
fn blocks_and_keys_that_carry_furthest_have_the_tag_of_the_twin() {
    for byte in [0x00, 0xff, 0xfb, 0x80, 0x01] {
        let data = vec![byte; 3000];
        for key in edge_keys() {
            for length in (0..600).chain([767, 768, 769, 1023, 1024, 1025, 2048, 3000]) {
                check(&key, &data[..length]);
            }
        }
    }
}

#[test]
fn sums_around_the_modulus_are_reduced_fully() {
    // With r = 1 and s = 0 a tag is the sum of the blocks, each with 2^128 added for its end,
    // modulo 2^130 - 5. Blocks of zeros make up all but the last 2^128, every four of them
    // counting 5; the last block has the rest.
    let mut key = [0; 32];
    key[0] = 1;
    for fours in [0, 4, 8, 12] {
        for sum in -20..5_i128 {
            let mut data = vec![0; 16 * (2 + 4 * fours)];
            let rest = sum - 5 - 5 * fours as i128;
            data.extend(rest.to_le_bytes());
            check(&key, &data);
            // Below zero it is the modulus that the sum is counted from.
            let expected = if sum < 0 { sum - 5 } else { sum };
            assert_eq!(tag(&key, &data), expected.to_le_bytes(), "{sum} {fours}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_key_and_message_have_the_tag_of_the_twin(
        key: [u8; 32], seed: u64, length in 0..20_000_usize, stretches in prop::collection::vec(
            (0..20_000_usize, 0..600_usize, prop_oneof![Just(0_u8), Just(0xff_u8)]), 0..6)
    ) {
        let mut data = test_data::random(length, seed);
        for (at, count, byte) in stretches {
            let at = at.min(length);
            let end = (at + count).min(length);
            data[at..end].fill(byte);
        }
        check(&key, &data);
    }
}
