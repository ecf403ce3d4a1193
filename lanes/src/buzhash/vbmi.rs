//! The hash of 64 lanes by byte look-ups, on AVX-512 with VBMI.
//!
//! Byte k of all lanes' hashes is kept together in *plane* k, a vector of 64 bytes. Instead of
//! rotating the hash left with every byte, what is added to it is rotated right ever further, by
//! j + 1 for byte j of a lane: by whole bytes that is another order of planes, by the other bits
//! another of eight tables. As 64 is no rotation at all, a byte adds the same when it leaves the
//! window as when it entered; it is looked up once and remembered.
//!
//! Invariants: finds what [`super::scalar`] finds.

use core::arch::x86_64::{
    __m512i, _mm512_and_si512, _mm512_loadu_si512, _mm512_mask_blend_epi8, _mm512_movepi8_mask,
    _mm512_permutex2var_epi8, _mm512_set1_epi32, _mm512_setzero_si512, _mm512_ternarylogic_epi32,
    _mm512_testn_epi8_mask, _mm512_xor_si512,
};
use core::ops::ControlFlow;

use super::scalar::Scalar;
use super::table::TABLE;
use crate::columns::{COLUMNS, load_64_lanes};
use crate::search::{Kernel, WINDOW};

const LANES: usize = 64;
/// Groups of columns in a window.
const GROUPS: usize = WINDOW / COLUMNS;
const PLANES: usize = 4;

/// `_mm512_ternarylogic_epi32`: a ^ b ^ c.
const XOR3: i32 = 0x96;
/// `_mm512_ternarylogic_epi32`: a | (b & c).
const OR_AND: i32 = 0xf8;

/// The table rotated right by 0 to 7 bits, as four tables of bytes each.
static ROTATED: [[[u8; 256]; PLANES]; 8] = {
    let mut rotated = [[[0; 256]; PLANES]; 8];
    let mut bits = 0;
    while bits < 8 {
        let mut byte = 0;
        while byte < 256 {
            let value = TABLE[byte].rotate_right(bits as u32).to_le_bytes();
            let mut plane = 0;
            while plane < PLANES {
                rotated[bits][plane][byte] = value[plane];
                plane += 1;
            }
            byte += 1;
        }
        bits += 1;
    }
    rotated
};

pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vbmi")
}

/// The mask rotated as the hash is after byte j, for j modulo 32: for each plane, its byte of the
/// mask four times.
pub(super) struct Masks([[u32; PLANES]; 32]);

impl Masks {
    pub(super) fn new(bits: u32) -> Self {
        let mask = u32::MAX >> (u32::BITS - bits);
        Self(core::array::from_fn(|j| {
            mask.rotate_right(j as u32 + 1).to_le_bytes().map(|byte| u32::from_ne_bytes([byte; 4]))
        }))
    }
}

pub(super) struct Vbmi<'a> {
    masks: &'a Masks,
    scalar: &'a Scalar,
}

impl<'a> Vbmi<'a> {
    pub(super) fn new(masks: &'a Masks, scalar: &'a Scalar) -> Self {
        assert!(is_available());
        Self { masks, scalar }
    }
}

impl Kernel for Vbmi<'_> {
    const LANES: usize = LANES;
    const STEP: usize = COLUMNS;

    fn block(&self, data: &[u8], lane: usize, hit: impl FnMut(usize, u64) -> ControlFlow<()>) {
        // SAFETY: `new` has seen that the instructions are there.
        unsafe { block(self.masks, data, lane, hit) }
    }

    fn serial(&self, data: &[u8], hit: impl FnMut(usize) -> ControlFlow<()>) {
        self.scalar.serial(data, hit);
    }
}

/// What sixteen columns add to each plane.
type Added = [[__m512i; PLANES]; COLUMNS];

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn block(
    masks: &Masks,
    data: &[u8],
    lane: usize,
    mut hit: impl FnMut(usize, u64) -> ControlFlow<()>,
) {
    assert!(data.len() == WINDOW + LANES * lane && lane.is_multiple_of(COLUMNS));
    let zero = _mm512_setzero_si512();
    let mut columns = [zero; COLUMNS];
    let mut planes = [zero; PLANES];
    // What the last 64 columns have added, and room for the next.
    let mut window = [[[zero; PLANES]; COLUMNS]; GROUPS + 1];
    for (group, added) in window[..GROUPS].iter_mut().enumerate() {
        // SAFETY: the first 64 bytes of each lane are within the data, by the assertion above.
        unsafe { load_64_lanes(data, lane, group * COLUMNS, &mut columns) };
        look_up(&columns, group, added);
        for added in added {
            for (plane, &added) in planes.iter_mut().zip(added.iter()) {
                *plane = _mm512_xor_si512(*plane, added);
            }
        }
    }
    for group in 0..lane / COLUMNS {
        let at = group * COLUMNS;
        // SAFETY: the last group of the last lane ends at WINDOW + LANES * lane, the data's end.
        unsafe { load_64_lanes(data, lane, WINDOW + at, &mut columns) };
        look_up(&columns, group, &mut window[(group + GROUPS) % (GROUPS + 1)]);
        let entering = &window[(group + GROUPS) % (GROUPS + 1)];
        let leaving = &window[group % (GROUPS + 1)];
        let masks: &[[u32; PLANES]; COLUMNS] =
            masks.0[group % 2 * COLUMNS..].first_chunk().expect("32 are two groups");
        for column in 0..COLUMNS {
            let (enters, leaves) = (&entering[column], &leaving[column]);
            let [p0, p1, p2, p3] = planes;
            planes = [
                _mm512_ternarylogic_epi32::<XOR3>(p0, enters[0], leaves[0]),
                _mm512_ternarylogic_epi32::<XOR3>(p1, enters[1], leaves[1]),
                _mm512_ternarylogic_epi32::<XOR3>(p2, enters[2], leaves[2]),
                _mm512_ternarylogic_epi32::<XOR3>(p3, enters[3], leaves[3]),
            ];
            let [m0, m1, m2, m3] = masks[column].map(|mask| _mm512_set1_epi32(mask.cast_signed()));
            let low = _mm512_and_si512(planes[0], m0);
            let low = _mm512_ternarylogic_epi32::<OR_AND>(low, planes[1], m1);
            let low = _mm512_ternarylogic_epi32::<OR_AND>(low, planes[2], m2);
            let low = _mm512_ternarylogic_epi32::<OR_AND>(low, planes[3], m3);
            let hits = _mm512_testn_epi8_mask(low, low);
            if hits != 0 && hit(at + column, hits).is_break() {
                return;
            }
        }
    }
}

/// Looks up what the columns of one group add. Groups are counted from where the rotation is 0;
/// two of them are one turn.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn look_up(columns: &[__m512i; COLUMNS], group: usize, added: &mut Added) {
    for first in 0..8 {
        // Columns eight apart have the same rotation within bytes, and so the same tables.
        let rotation = group % 2 * COLUMNS + first + 1;
        let tables = &ROTATED[rotation % 8];
        let (column, other) = (columns[first], columns[first + 8]);
        let (high, other_high) = (_mm512_movepi8_mask(column), _mm512_movepi8_mask(other));
        for (plane, table) in tables.iter().enumerate() {
            let [a, b, c, d] = load_table(table);
            let pick = |column, high| {
                let low_half = _mm512_permutex2var_epi8(a, column, b);
                let high_half = _mm512_permutex2var_epi8(c, column, d);
                _mm512_mask_blend_epi8(high, low_half, high_half)
            };
            // Rotating right by q bytes moves plane k to plane k - q.
            let target = plane + 8 - rotation / 8;
            added[first][target % PLANES] = pick(column, high);
            added[first + 8][(target + 3) % PLANES] = pick(other, other_high);
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_table(table: &[u8; 256]) -> [__m512i; 4] {
    // SAFETY: 256 bytes are four vectors; unaligned loads.
    [0, 64, 128, 192].map(|at| unsafe { _mm512_loadu_si512(table.as_ptr().add(at).cast()) })
}
