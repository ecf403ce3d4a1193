//! Every back end against `sha2`.

use proptest::prelude::*;
use sha2::Digest as _;

use super::*;

fn backends() -> impl Iterator<Item = Backend> {
    // On x86 without SHA instructions both are the serial one, and the test is only weaker.
    [Backend::best(), Backend::Serial].into_iter()
}

fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(0x9e37_79b9_7f4a_7c15);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn reference(bytes: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(bytes).into()
}

#[track_caller]
fn check_digests(lengths: &[usize]) {
    let inputs: Vec<Vec<u8>> =
        lengths.iter().enumerate().map(|(i, &length)| bytes(length, i as u64)).collect();
    let slices: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    let expected: Vec<_> = inputs.iter().map(|input| reference(input)).collect();
    for backend in backends() {
        let mut out = vec![[1; 32]; 3];
        digest_on(backend, &slices, &mut out);
        assert_eq!(out, expected, "{backend:?}");
    }
}

#[test]
fn every_length_up_to_five_blocks_is_padded_right() {
    let lengths: Vec<usize> = (0..=5 * BLOCK).collect();
    check_digests(&lengths);
    for &length in &lengths {
        check_digests(&[length]);
    }
}

#[test]
fn no_inputs_have_no_digests() {
    check_digests(&[]);
    update_many(&mut []);
}

#[test]
fn one_long_input_among_many_short_ones_is_hashed_right() {
    let mut lengths = vec![100; 150];
    lengths[77] = 1_000_003;
    check_digests(&lengths);
}

#[test]
fn a_length_beyond_four_gigabits_is_counted_in_full() {
    let piece = vec![7; 1 << 20];
    let (mut ours, mut theirs) = (Sha256::new(), sha2::Sha256::new());
    for _ in 0..513 {
        ours.update(&piece);
        theirs.update(&piece);
    }
    assert_eq!(ours.finish(), <[u8; 32]>::from(theirs.finalize()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_set_of_inputs_has_the_digests_of_sha2(
        lengths in prop::collection::vec(prop_oneof![0..200_usize, 0..20_000_usize], 0..150)
    ) {
        check_digests(&lengths);
    }

    #[test]
    fn states_fed_together_in_any_pieces_are_as_if_fed_alone(
        pieces in prop::collection::vec(
            prop::collection::vec(prop_oneof![Just(0), Just(64), 1..300_usize, 0..9000_usize], 0..8),
            1..24,
        )
    ) {
        let inputs: Vec<Vec<u8>> = pieces
            .iter()
            .enumerate()
            .map(|(i, pieces)| bytes(pieces.iter().sum(), i as u64))
            .collect();
        for backend in backends() {
            let mut states = vec![Sha256::new(); pieces.len()];
            let mut rest: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
            for round in 0..8 {
                let mut jobs = Vec::new();
                for ((state, rest), pieces) in states.iter_mut().zip(&mut rest).zip(&pieces) {
                    // States that have no piece this round are left out, so that the jobs mix
                    // states of different ages.
                    let Some(&length) = pieces.get(round) else { continue };
                    let (piece, after) = rest.split_at(length);
                    *rest = after;
                    jobs.push((state, piece));
                }
                update_on(backend, &mut jobs);
            }
            for (state, input) in states.into_iter().zip(&inputs) {
                prop_assert_eq!(state.finish(), reference(input));
            }
        }
    }
}
