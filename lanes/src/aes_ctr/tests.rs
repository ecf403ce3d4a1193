//! The kernel against the crates `aes` and `ctr`, and both against the published vector.

use proptest::prelude::*;

use super::*;
use crate::test_data;

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect::<Vec<_>>().try_into().unwrap()
}

#[track_caller]
fn check(key: &[u8; 32], counter: &[u8; 16], data: &[u8]) {
    let cipher = Aes256Ctr::new(key);
    let mut expected = Vec::new();
    cipher.append_portable(counter, data, &mut expected);
    let mut appended = b"before".to_vec();
    cipher.append(counter, data, &mut appended);
    assert_eq!(appended[..6], *b"before");
    assert!(appended[6..] == expected, "{} bytes appended", data.len());
    let mut applied = data.to_vec();
    cipher.apply(counter, &mut applied);
    assert!(applied == expected, "{} bytes in place", data.len());
    applied.copy_from_slice(data);
    cipher.apply_portable(counter, &mut applied);
    assert!(applied == expected, "{} bytes in place by the twin", data.len());
    assert!(cipher.decrypts_to(counter, &expected, data));
    assert!(cipher.decrypts_to_portable(counter, &expected, data));
}

/// One flipped bit anywhere is seen.
#[track_caller]
fn check_flip(key: &[u8; 32], counter: &[u8; 16], data: &[u8], bit: usize) {
    let cipher = Aes256Ctr::new(key);
    let mut encrypted = Vec::new();
    cipher.append(counter, data, &mut encrypted);
    encrypted[bit / 8] ^= 1 << (bit % 8);
    assert!(!cipher.decrypts_to(counter, &encrypted, data), "bit {bit} of {} bytes", data.len());
    assert!(!cipher.decrypts_to_portable(counter, &encrypted, data));
}

#[test]
fn the_vector_of_sp_800_38a_comes_out() {
    let key = bytes("603deb1015ca71be2b73aef0857d7781 1f352c073b6108d72d9810a30914dff4");
    let counter = bytes("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
    let plain: [u8; 64] = bytes(
        "6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51
         30c81c46a35ce411e5fbc1191a0a52ef f69f2445df4f9b17ad2b417be66c3710",
    );
    let expected: [u8; 64] = bytes(
        "601ec313775789a5b7a7f504bbf3d228 f443e3ca4d62b59aca84e990cacaf5c5
         2b0930daa23de94ce87017ba2d84988d dfc9c58db67aada613c2dd08457941a6",
    );
    let mut out = Vec::new();
    Aes256Ctr::new(&key).append(&counter, &plain, &mut out);
    assert_eq!(out, expected);
    check(&key, &counter, &plain);
}

#[test]
fn every_length_up_to_four_steps_comes_out_as_by_the_twin() {
    let data = test_data::random(4 * 512 + 70, 3);
    let (key, counter) = (data[..32].try_into().unwrap(), data[32..48].try_into().unwrap());
    for length in 0..=data.len() {
        check(&key, &counter, &data[..length]);
    }
}

#[test]
fn every_flipped_bit_is_seen() {
    let data = test_data::random(512 + 130, 4);
    let (key, counter) = (data[..32].try_into().unwrap(), data[32..48].try_into().unwrap());
    for bit in 0..data.len() * 8 {
        check_flip(&key, &counter, &data, bit);
    }
    let cipher = Aes256Ctr::new(&key);
    assert!(!cipher.decrypts_to(&counter, &data, &data[1..]), "another length");
}

#[test]
fn counters_that_carry_come_out_as_by_the_twin() {
    let data = test_data::random(3000, 5);
    let key = data[..32].try_into().unwrap();
    for low in [0, u64::MAX, u64::MAX - 1, u64::MAX - 187, u64::MAX - 188, u64::MAX - 3000, 0xff]
        .into_iter()
        .chain((1..64).map(|bits| (1_u64 << bits) - 2))
    {
        for high in [0, 1, u64::MAX, u64::MAX >> 8] {
            let counter = ((u128::from(high) << 64) | u128::from(low)).to_be_bytes();
            check(&key, &counter, &data);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_key_counter_and_message_come_out_as_by_the_twin(
        key: [u8; 32], counter: [u8; 16], seed: u64, length in 0..20_000_usize, bit: usize,
    ) {
        let data = test_data::random(length, seed);
        check(&key, &counter, &data);
        if length > 0 {
            check_flip(&key, &counter, &data, bit % (length * 8));
        }
    }
}
