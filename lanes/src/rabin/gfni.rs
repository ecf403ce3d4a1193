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
    _mm512_and_si512, _mm512_gf2p8affine_epi64_epi8, _mm512_set1_epi8, _mm512_set1_epi64,
    _mm512_setzero_si512, _mm512_ternarylogic_epi64, _mm512_testn_epi8_mask, _mm512_xor_si512,
};
use core::ops::ControlFlow;

use super::{DEGREE, scalar, times_x};
use crate::columns::{COLUMNS, load_64_lanes};
use crate::search::{Kernel, WINDOW};

const LANES: usize = 64;
/// Groups of columns in a window.
const GROUPS: usize = WINDOW / COLUMNS;
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
    pub(super) fn new(matrices: &'a Matrices, tables: &'a scalar::Tables) -> Self {
        assert!(is_available());
        Self { matrices, tables }
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
    let xor = |a, b| _mm512_xor_si512(a, b);
    let xor3 = |a, b, c| _mm512_ternarylogic_epi64::<XOR3>(a, b, c);

    let mut planes = [_mm512_setzero_si512(); PLANES];
    // The last 64 columns, which are read once more when their bytes leave the window, and room
    // for the next.
    let mut window = [[_mm512_setzero_si512(); COLUMNS]; GROUPS + 1];
    for (group, columns) in window[..GROUPS].iter_mut().enumerate() {
        // SAFETY: the first 64 bytes of each lane are within the data, by the assertion above.
        unsafe { load_64_lanes(data, lane, group * COLUMNS, columns) };
        for &enters in columns.iter() {
            let [p0, p1, p2, p3, p4, p5, top] = planes;
            let [o0, o1, o2, o3, o4, o5, o6] = overflow.map(|matrix| times(top, matrix));
            let [e0, e1] = enter.map(|matrix| times(enters, matrix));
            planes = [
                xor(o0, e0),
                xor3(p0, o1, e1),
                xor(p1, o2),
                xor(p2, o3),
                xor(p3, o4),
                xor(p4, o5),
                xor(p5, o6),
            ];
        }
    }
    for group in 0..lane / COLUMNS {
        let at = group * COLUMNS;
        // SAFETY: the last group of the last lane ends at WINDOW + LANES * lane, the data's end.
        unsafe {
            load_64_lanes(data, lane, WINDOW + at, &mut window[(group + GROUPS) % (GROUPS + 1)])
        };
        let entering = &window[(group + GROUPS) % (GROUPS + 1)];
        let leaving = &window[group % (GROUPS + 1)];
        for (column, (&enters, &leaves)) in entering.iter().zip(leaving).enumerate() {
            let [p0, p1, p2, p3, p4, p5, top] = planes;
            let [o0, o1, o2, o3, o4, o5, o6] = overflow.map(|matrix| times(top, matrix));
            let [l0, l1, l2, l3, l4, l5, l6] = leave.map(|matrix| times(leaves, matrix));
            let [e0, e1] = enter.map(|matrix| times(enters, matrix));
            planes = [
                xor3(o0, l0, e0),
                xor(xor3(p0, o1, l1), e1),
                xor3(p1, o2, l2),
                xor3(p2, o3, l3),
                xor3(p3, o4, l4),
                xor3(p4, o5, l5),
                xor3(p5, o6, l6),
            ];
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
