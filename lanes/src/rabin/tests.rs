//! The serial fingerprint against its definition, every back end against the serial one.

use core::ops::ControlFlow;

use proptest::prelude::*;

use super::*;
use crate::search::{Kernel, WINDOW};
use crate::test_data;

const POLYNOMIALS: [u64; 3] = [0x0026_5223_f8e8_28b9, 0x003d_a335_8b4d_c173, 0x002e_3e3e_4a30_5605];

/// Long division, bit by bit.
fn fingerprint(window: &[u8], polynomial: u64) -> u64 {
    window.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).fold(
        0,
        |rest, bit| {
            let rest = rest << 1 | u64::from(bit);
            if rest >> DEGREE & 1 == 1 { rest ^ polynomial } else { rest }
        },
    )
}

fn serial(data: &[u8], from: usize, polynomial: u64, bits: u32) -> Vec<usize> {
    let mut ends = Vec::new();
    scalar::Tables::new(polynomial, bits).serial(data, |end| {
        ends.push(end);
        ControlFlow::Continue(())
    });
    ends.retain(|&end| end >= from);
    ends
}

#[track_caller]
fn check(data: &[u8], from: usize, polynomial: u64, bits: u32) {
    let expected = serial(data, from, polynomial, bits);
    for backend in Backend::available() {
        let rabin = Rabin::on(backend, polynomial, bits);
        let mut found = Vec::new();
        rabin.runs(data, from, &mut found);
        assert!(
            found.iter().cloned().flatten().eq(expected.iter().copied()),
            "{backend:?} {bits} bits, {} bytes from {from}",
            data.len()
        );
        assert!(found.is_sorted_by(|a, b| a.end < b.start), "runs that should be one");
        assert_eq!(rabin.first(data, from), expected.first().copied(), "{backend:?}");
        // Every later candidate is the first one from some place.
        for pair in expected.windows(2).step_by(expected.len() / 8 + 1) {
            assert_eq!(rabin.first(data, pair[0] + 1), Some(pair[1]), "{backend:?}");
            assert_eq!(rabin.first(data, pair[1]), Some(pair[1]), "{backend:?}");
            assert_eq!(rabin.first(&data[..pair[1] - 1], pair[0] + 1), None, "{backend:?}");
        }
    }
}

#[test]
fn the_serial_search_finds_what_the_definition_says() {
    let data = test_data::random(5000, 1);
    for polynomial in POLYNOMIALS {
        for bits in [1, 4, 9] {
            let defined: Vec<usize> = (WINDOW..=data.len())
                .filter(|end| {
                    fingerprint(&data[end - WINDOW..*end], polynomial).trailing_zeros() >= bits
                })
                .collect();
            assert!(defined.len() > 4);
            assert_eq!(serial(&data, 0, polynomial, bits), defined);
        }
    }
}

#[test]
fn every_short_length_and_start_is_searched_to_its_last_position() {
    let data = test_data::random(200, 2);
    for length in 0..=data.len() {
        for from in [0, 1, 63, 64, 65, 128, length.saturating_sub(1), length, length + 1] {
            check(&data[..length], from, POLYNOMIALS[0], 3);
        }
    }
}

#[test]
fn lengths_around_every_block_size_are_searched_to_their_last_position() {
    let data = test_data::random(300_000, 3);
    for blocks in [64 * 128, 64 * 144, 4 * 128, 4 * 2112, 32 * 128, 64 * 2112] {
        for length in blocks - 3 + WINDOW..blocks + 4 + WINDOW {
            check(&data[..length], 0, POLYNOMIALS[1], 7);
            check(&data[..length + 100], 100, POLYNOMIALS[1], 7);
        }
    }
}

#[test]
fn regular_data_has_the_same_candidates_on_every_back_end() {
    for data in test_data::regular(300_000) {
        for bits in [1, 8, 17, 20, 22, 23, 29] {
            check(&data, 70, POLYNOMIALS[2], bits);
        }
    }
}

#[test]
fn the_masks_of_restic_and_kopia_have_the_same_candidates_on_every_back_end() {
    let data = test_data::random(24 << 20, 4);
    for bits in [17, 20, 22, 23] {
        check(&data, 0, POLYNOMIALS[0], bits);
    }
}

#[test]
fn one_candidate_anywhere_in_zero_free_data_is_found() {
    // A run of 64 zero bytes is a candidate under any polynomial.
    for place in [0, 1, 63, 64, 65, 2111, 2112, 2113, 135_167, 135_168, 135_169, 199_936] {
        let mut data = test_data::random(200_000, 5);
        data[place..place + WINDOW].fill(0);
        check(&data, 0, POLYNOMIALS[0], 29);
        let rabin = Rabin::new(POLYNOMIALS[0], 29);
        assert_eq!(rabin.first(&data, 0), Some(place + WINDOW));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_data_polynomials_and_masks_have_the_same_candidates_on_every_back_end(
        seed: u64, polynomial: u64, length in 0..200_000_usize, from in 0..200_000_usize,
        bits in 1..=MAX_BITS,
    ) {
        let polynomial = polynomial & ((1 << DEGREE) - 1) | 1 << DEGREE | 1;
        check(&test_data::random(length, seed), from.min(length), polynomial, bits);
    }
}
