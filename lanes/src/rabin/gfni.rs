//! The fingerprint of 64 lanes as bit matrices, on AVX-512 with GFNI.
//!
//! The fingerprint is shifted left by 3 so that its 53 bits fill seven bytes, and byte k of all
//! lanes is kept together in *plane* k, a vector of 64 bytes. Appending a byte moves the planes up
//! by one; the top plane, the byte that leaves and the new byte each change the planes through a
//! linear map over GF(2), which is what `gf2p8affineqb` computes: seven 8x8 matrices for each of
//! the first two and two for the last.
//!
//! Invariants: finds what [`super::scalar`] finds.

use core::arch::x86_64::{
    __m512i, _mm_loadu_si128, _mm512_and_si512, _mm512_castsi128_si512,
    _mm512_gf2p8affine_epi64_epi8, _mm512_inserti32x4, _mm512_set1_epi8, _mm512_set1_epi64,
    _mm512_setzero_si512, _mm512_ternarylogic_epi64, _mm512_testn_epi8_mask, _mm512_unpackhi_epi8,
    _mm512_unpacklo_epi8, _mm512_xor_si512,
};
use core::ops::ControlFlow;

use super::{DEGREE, Rabin, scalar, times_x};
use crate::search::{Kernel, WINDOW};

const LANES: usize = 64;
/// Columns that are transposed together.
const COLUMNS: usize = 16;
const PLANES: usize = 7;
/// Bits below the fingerprint in plane 0.
const SHIFT: u32 = 8 * PLANES as u32 - DEGREE;

/// `_mm512_ternarylogic_epi64`: a ^ b ^ c.
const XOR3: i32 = 0x96;
/// `_mm512_ternarylogic_epi64`: a | (b & c).
const OR_AND: i32 = 0xf8;

pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("gfni")
}

/// The maps from a byte to what it adds to each plane.
pub(super) struct Matrices {
    /// The byte that overflows: times x^53.
    overflow: [u64; PLANES],
    /// The byte that leaves: times x^512.
    leave: [u64; PLANES],
    /// The byte that enters: itself, which reaches two planes.
    enter: [u64; 2],
    /// The bits that are zero at a candidate, in the lowest four planes.
    mask: [u8; 4],
}

impl Matrices {
    pub(super) fn new(polynomial: u64, bits: u32) -> Self {
        let map = |times| move |byte: u64| times_x(byte, times, polynomial) << SHIFT;
        let window_bits = 8 * WINDOW as u32;
        Self {
            overflow: core::array::from_fn(|plane| matrix(map(DEGREE), plane)),
            leave: core::array::from_fn(|plane| matrix(map(window_bits), plane)),
            enter: core::array::from_fn(|plane| matrix(map(0), plane)),
            mask: ((((1_u64 << bits) - 1) << SHIFT) as u32).to_le_bytes(),
        }
    }
}

/// The part of a linear map that ends in one plane, as `gf2p8affineqb` wants it: byte 7 - j holds
/// the input bits whose sum is output bit j.
fn matrix(map: impl Fn(u64) -> u64, plane: usize) -> u64 {
    let mut rows = [0_u8; 8];
    for input in 0..8 {
        let output = map(1 << input).to_le_bytes()[plane];
        for (bit, row) in rows.iter_mut().rev().enumerate() {
            *row |= (output >> bit & 1) << input;
        }
    }
    u64::from_le_bytes(rows)
}

pub(super) struct Gfni<'a> {
    matrices: &'a Matrices,
    tables: &'a scalar::Tables,
}

impl<'a> Gfni<'a> {
    pub(super) fn new(rabin: &'a Rabin) -> Self {
        assert!(is_available());
        Self { matrices: &rabin.matrices, tables: &rabin.tables }
    }
}

impl Kernel for Gfni<'_> {
    const LANES: usize = LANES;
    const STEP: usize = COLUMNS;

    fn block(&self, data: &[u8], lane: usize, hit: impl FnMut(usize, u64) -> ControlFlow<()>) {
        // The fourth plane is looked at only where the mask reaches into it.
        // SAFETY: `new` has seen that the instructions are there.
        unsafe {
            if self.matrices.mask[3] == 0 {
                block::<false>(self.matrices, data, lane, hit);
            } else {
                block::<true>(self.matrices, data, lane, hit);
            }
        }
    }

    fn serial(&self, data: &[u8], hit: impl FnMut(usize) -> ControlFlow<()>) {
        self.tables.serial(data, hit);
    }
}

#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn block<const WIDE: bool>(
    matrices: &Matrices,
    data: &[u8],
    lane: usize,
    mut hit: impl FnMut(usize, u64) -> ControlFlow<()>,
) {
    assert!(data.len() == WINDOW + LANES * lane && lane.is_multiple_of(COLUMNS));
    let overflow = matrices.overflow.map(|rows| _mm512_set1_epi64(rows.cast_signed()));
    let leave = matrices.leave.map(|rows| _mm512_set1_epi64(rows.cast_signed()));
    let enter = matrices.enter.map(|rows| _mm512_set1_epi64(rows.cast_signed()));
    let mask = matrices.mask.map(|byte| _mm512_set1_epi8(byte.cast_signed()));
    let times = |byte, matrix| _mm512_gf2p8affine_epi64_epi8::<0>(byte, matrix);

    let mut planes = [_mm512_setzero_si512(); PLANES];
    // The last 64 columns; each is read once more when its bytes leave the window.
    let mut window = [[_mm512_setzero_si512(); COLUMNS]; WINDOW / COLUMNS];
    for (group, columns) in window.iter_mut().enumerate() {
        // SAFETY: the first 64 bytes of each lane are within the data, by the assertion above.
        *columns = unsafe { load_columns(data, lane, group * COLUMNS) };
        for &entering in columns.iter() {
            let top = planes[PLANES - 1];
            planes.rotate_right(1);
            planes[0] = times(entering, enter[0]);
            planes[1] = _mm512_xor_si512(planes[1], times(entering, enter[1]));
            for plane in 0..PLANES {
                planes[plane] = _mm512_xor_si512(planes[plane], times(top, overflow[plane]));
            }
        }
    }
    for group in 0..lane / COLUMNS {
        let at = group * COLUMNS;
        // SAFETY: the last group of the last lane ends at WINDOW + LANES * lane, the data's end.
        let entering = unsafe { load_columns(data, lane, WINDOW + at) };
        let leaving = core::mem::replace(&mut window[group % (WINDOW / COLUMNS)], entering);
        for column in 0..COLUMNS {
            let (enters, leaves) = (entering[column], leaving[column]);
            let top = planes[PLANES - 1];
            planes.rotate_right(1);
            planes[0] = times(enters, enter[0]);
            planes[1] = _mm512_xor_si512(planes[1], times(enters, enter[1]));
            for plane in 0..PLANES {
                planes[plane] = _mm512_ternarylogic_epi64::<XOR3>(
                    planes[plane],
                    times(top, overflow[plane]),
                    times(leaves, leave[plane]),
                );
            }
            let mut low = _mm512_and_si512(planes[0], mask[0]);
            low = _mm512_ternarylogic_epi64::<OR_AND>(low, planes[1], mask[1]);
            low = _mm512_ternarylogic_epi64::<OR_AND>(low, planes[2], mask[2]);
            if WIDE {
                low = _mm512_ternarylogic_epi64::<OR_AND>(low, planes[3], mask[3]);
            }
            let hits = _mm512_testn_epi8_mask(low, low);
            if hits != 0 && hit(at + column, hits).is_break() {
                return;
            }
        }
    }
}

/// Sixteen columns of 64 lanes: byte l of vector c is `data[l * lane + at + c]`.
///
/// # Safety
/// `63 * lane + at + 16` bytes of data.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn load_columns(data: &[u8], lane: usize, at: usize) -> [__m512i; COLUMNS] {
    debug_assert!((LANES - 1) * lane + at + COLUMNS <= data.len());
    // SAFETY: l is below 64, so the caller's promise covers these 16 bytes.
    let load = |l: usize| unsafe { _mm_loadu_si128(data.as_ptr().add(l * lane + at).cast()) };
    let mut rows: [__m512i; COLUMNS] = core::array::from_fn(|row| {
        let quarters = _mm512_castsi128_si512(load(row));
        let quarters = _mm512_inserti32x4::<1>(quarters, load(row + 16));
        let quarters = _mm512_inserti32x4::<2>(quarters, load(row + 32));
        _mm512_inserti32x4::<3>(quarters, load(row + 48))
    });
    // Each quarter is a 16x16 matrix; four perfect shuffles of its bytes transpose it.
    for _ in 0..4 {
        let before = rows;
        for half in 0..COLUMNS / 2 {
            let (a, b) = (before[half], before[half + COLUMNS / 2]);
            rows[2 * half] = _mm512_unpacklo_epi8(a, b);
            rows[2 * half + 1] = _mm512_unpackhi_epi8(a, b);
        }
    }
    rows
}
