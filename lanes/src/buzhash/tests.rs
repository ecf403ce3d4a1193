//! The serial hash against its definition, every back end against the serial one.

use core::ops::ControlFlow;

use proptest::prelude::*;

use super::table::TABLE;
use super::*;
use crate::search::{Kernel, WINDOW};
use crate::test_data;

fn hash(window: &[u8]) -> u32 {
    window
        .iter()
        .rev()
        .zip(0..)
        .fold(0, |hash, (&byte, behind)| hash ^ TABLE[usize::from(byte)].rotate_left(behind))
}

fn serial(data: &[u8], from: usize, bits: u32) -> Vec<usize> {
    let mut ends = Vec::new();
    scalar::Scalar::new(bits).serial(data, |end| {
        ends.push(end);
        ControlFlow::Continue(())
    });
    ends.retain(|&end| end >= from);
    ends
}

#[track_caller]
fn check(data: &[u8], from: usize, bits: u32) {
    let expected = serial(data, from, bits);
    for backend in Backend::available() {
        let buzhash = Buzhash::on(backend, bits);
        let mut found = Vec::new();
        buzhash.runs(data, from, &mut found);
        assert!(
            found.iter().cloned().flatten().eq(expected.iter().copied()),
            "{backend:?} {bits} bits, {} bytes from {from}",
            data.len()
        );
        assert!(found.is_sorted_by(|a, b| a.end < b.start), "runs that should be one");
        assert_eq!(buzhash.first(data, from), expected.first().copied(), "{backend:?}");
        for pair in expected.windows(2).step_by(expected.len() / 8 + 1) {
            assert_eq!(buzhash.first(data, pair[0] + 1), Some(pair[1]), "{backend:?}");
            assert_eq!(buzhash.first(data, pair[1]), Some(pair[1]), "{backend:?}");
            assert_eq!(buzhash.first(&data[..pair[1] - 1], pair[0] + 1), None, "{backend:?}");
        }
    }
}

#[test]
fn the_serial_search_finds_what_the_definition_says() {
    let data = test_data::random(5000, 1);
    for bits in [1, 4, 9] {
        let defined: Vec<usize> = (WINDOW..=data.len())
            .filter(|end| hash(&data[end - WINDOW..*end]).trailing_zeros() >= bits)
            .collect();
        assert!(defined.len() > 4);
        assert_eq!(serial(&data, 0, bits), defined);
    }
}

#[test]
fn every_short_length_and_start_is_searched_to_its_last_position() {
    let data = test_data::random(200, 2);
    for length in 0..=data.len() {
        for from in [0, 1, 63, 64, 65, 128, length.saturating_sub(1), length, length + 1] {
            check(&data[..length], from, 3);
        }
    }
}

#[test]
fn lengths_around_every_block_size_are_searched_to_their_last_position() {
    let data = test_data::random(300_000, 3);
    for blocks in [64 * 128, 64 * 144, 4 * 128, 4 * 2112, 32 * 128, 64 * 2112] {
        for length in blocks - 3 + WINDOW..blocks + 4 + WINDOW {
            check(&data[..length], 0, 7);
            check(&data[..length + 100], 100, 7);
        }
    }
}

#[test]
fn regular_data_has_the_same_candidates_on_every_back_end() {
    for data in test_data::regular(300_000) {
        for bits in [1, 8, 9, 17, 20, 22, 23, 32] {
            check(&data, 70, bits);
        }
    }
}

#[test]
fn windows_that_repeat_with_a_short_period_are_candidates_throughout() {
    for period in [1, 2, 4, 8, 16, 32] {
        let unit = test_data::random(period, 9);
        let data: Vec<u8> = unit.into_iter().cycle().take(1 << 20).collect();
        let mut runs = Vec::new();
        Buzhash::new(32).runs(&data, 0, &mut runs);
        assert_eq!(runs.len(), 1);
        assert_eq!(runs[0], WINDOW..data.len() + 1);
    }
}

#[test]
fn the_masks_of_kopia_have_the_same_candidates_on_every_back_end() {
    let data = test_data::random(24 << 20, 4);
    for bits in [17, 20, 22, 23] {
        check(&data, 0, bits);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_data_and_masks_have_the_same_candidates_on_every_back_end(
        seed: u64, length in 0..200_000_usize, from in 0..200_000_usize, bits in 1..=MAX_BITS,
    ) {
        check(&test_data::random(length, seed), from.min(length), bits);
    }
}
