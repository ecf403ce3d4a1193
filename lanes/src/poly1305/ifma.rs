//! Sixteen blocks at a time, on AVX-512 with 52-bit multiplication.
//!
//! The sum of all blocks times descending powers of r is taken over sixteen separate sums, one for
//! every sixteenth block, each multiplied by r^16 per step. At the end each is multiplied by the
//! power its last block needs and they are added up.
//!
//! Invariants: as in [`super`]; the tests hold it against the crate `poly1305`.

use core::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_and_si512, _mm512_loadu_si512, _mm512_madd52hi_epu64,
    _mm512_madd52lo_epu64, _mm512_or_si512, _mm512_reduce_add_epi64, _mm512_set1_epi64,
    _mm512_setr_epi64, _mm512_setzero_si512, _mm512_slli_epi64, _mm512_srli_epi64,
    _mm512_unpackhi_epi64, _mm512_unpacklo_epi64,
};

use super::number::{self, Number};

/// Below this many bytes the powers of r cost more than they save.
pub(super) const WORTHWHILE: usize = 512;

const BLOCK: usize = 16;
/// Blocks of one step.
const STEP: usize = 16;

/// Which block of eight is in which lane: unpacking mixes the two halves.
const ORDER: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512ifma")
}

pub(super) fn tag(key: &[u8; 32], data: &[u8]) -> [u8; 16] {
    assert!(is_available());
    let (halves, _) = key.as_chunks::<16>();
    let (r, s) = (number::clamped(halves[0]), halves[1]);
    let (steps, rest) = data.as_chunks::<{ BLOCK * STEP }>();
    let mut sum = [0; 3];
    if !steps.is_empty() {
        // SAFETY: asserted above.
        sum = unsafe { sum_of(steps, r) };
    }
    for bytes in rest.chunks(BLOCK) {
        sum = number::multiply(number::add(sum, number::block(bytes)), r);
    }
    number::finish(sum, s)
}

/// A factor for eight lanes: its limbs, and the upper two times 20, for products beyond 2^130.
#[derive(Clone, Copy)]
struct Factor {
    limbs: [__m512i; 3],
    wrapped: [__m512i; 2],
}

impl Factor {
    #[target_feature(enable = "avx512f")]
    fn new(lanes: [Number; 8]) -> Self {
        let vector = |value: &dyn Fn(Number) -> u64| {
            let [a, b, c, d, e, f, g, h] = lanes.map(|lane| value(lane).cast_signed());
            _mm512_setr_epi64(a, b, c, d, e, f, g, h)
        };
        Self {
            limbs: [vector(&|n| n[0]), vector(&|n| n[1]), vector(&|n| n[2])],
            wrapped: [vector(&|n| 20 * n[1]), vector(&|n| 20 * n[2])],
        }
    }
}

/// The blocks times descending powers of r, the last one times r; limbs below 2^48.
#[target_feature(enable = "avx512f,avx512ifma")]
fn sum_of(steps: &[[u8; BLOCK * STEP]], r: Number) -> Number {
    // powers[i] is r^(i + 1).
    let mut powers = [r; STEP];
    for i in 1..STEP {
        powers[i] = number::multiply(powers[i - 1], r);
    }
    let every = Factor::new([powers[STEP - 1]; 8]);
    let last_a = Factor::new(ORDER.map(|block| powers[STEP - 1 - block]));
    let last_b = Factor::new(ORDER.map(|block| powers[STEP / 2 - 1 - block]));

    let (last, steps) = steps.split_last().expect("there is a step");
    let mut a = [_mm512_setzero_si512(); 3];
    let mut b = a;
    for step in steps {
        let [for_a, for_b] = load(step);
        a = multiply(add(a, for_a), every);
        b = multiply(add(b, for_b), every);
    }
    let [for_a, for_b] = load(last);
    a = multiply(add(a, for_a), last_a);
    b = multiply(add(b, for_b), last_b);
    add(a, b).map(|limb| _mm512_reduce_add_epi64(limb).cast_unsigned())
}

/// Two times eight blocks as limbs, each with the one behind its last byte.
#[inline]
#[target_feature(enable = "avx512f")]
fn load(step: &[u8; BLOCK * STEP]) -> [[__m512i; 3]; 2] {
    let at = step.as_ptr();
    // SAFETY: 256 bytes are four vectors; unaligned loads.
    let [a, b, c, d] =
        [0, 64, 128, 192].map(|offset| unsafe { _mm512_loadu_si512(at.add(offset).cast()) });
    [limbs(a, b), limbs(c, d)]
}

#[inline]
#[target_feature(enable = "avx512f")]
fn limbs(a: __m512i, b: __m512i) -> [__m512i; 3] {
    let limb = _mm512_set1_epi64((1 << 44) - 1);
    let low = _mm512_unpacklo_epi64(a, b);
    let high = _mm512_unpackhi_epi64(a, b);
    let across = _mm512_or_si512(_mm512_srli_epi64::<44>(low), _mm512_slli_epi64::<20>(high));
    let end = _mm512_set1_epi64(1 << 40);
    [
        _mm512_and_si512(low, limb),
        _mm512_and_si512(across, limb),
        _mm512_or_si512(_mm512_srli_epi64::<24>(high), end),
    ]
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(a: [__m512i; 3], b: [__m512i; 3]) -> [__m512i; 3] {
    let [a0, a1, a2] = a;
    let [b0, b1, b2] = b;
    [_mm512_add_epi64(a0, b0), _mm512_add_epi64(a1, b1), _mm512_add_epi64(a2, b2)]
}

/// a * b, for limbs of a below 2^46; of the result below 2^44 + 2^13.
///
/// Products come as their low 52 bits and what is above; the upper parts count 2^52, which is 2^8
/// in the next limb (2^10 above the top one). All inputs are below 2^52: limbs of b are below
/// 2^45, and 20 times that below 2^50.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn multiply(a: [__m512i; 3], b: Factor) -> [__m512i; 3] {
    let zero = _mm512_setzero_si512();
    let limb = _mm512_set1_epi64((1 << 44) - 1);
    let top = _mm512_set1_epi64((1 << 42) - 1);
    let low = |sum, a, b| _mm512_madd52lo_epu64(sum, a, b);
    let high = |sum, a, b| _mm512_madd52hi_epu64(sum, a, b);
    let [a0, a1, a2] = a;
    let [b0, b1, b2] = b.limbs;
    let [w1, w2] = b.wrapped;

    let low0 = low(low(low(zero, a2, w1), a1, w2), a0, b0);
    let high0 = high(high(high(zero, a2, w1), a1, w2), a0, b0);
    let low1 = low(low(low(zero, a2, w2), a1, b0), a0, b1);
    let high1 = high(high(high(zero, a2, w2), a1, b0), a0, b1);
    let low2 = low(low(low(zero, a2, b0), a1, b1), a0, b2);
    let high2 = high(high(high(zero, a2, b0), a1, b1), a0, b2);

    let plus = |a, b| _mm512_add_epi64(a, b);
    let carry = plus(_mm512_srli_epi64::<44>(low0), _mm512_slli_epi64::<8>(high0));
    let low1 = plus(low1, carry);
    let carry = plus(_mm512_srli_epi64::<44>(low1), _mm512_slli_epi64::<8>(high1));
    let low2 = plus(low2, carry);
    let carry = plus(_mm512_srli_epi64::<42>(low2), _mm512_slli_epi64::<10>(high2));
    // 2^130 is 5.
    let low0 = _mm512_and_si512(low0, limb);
    let low0 = plus(low0, plus(carry, _mm512_slli_epi64::<2>(carry)));
    [
        _mm512_and_si512(low0, limb),
        plus(_mm512_and_si512(low1, limb), _mm512_srli_epi64::<44>(low0)),
        _mm512_and_si512(low2, top),
    ]
}
