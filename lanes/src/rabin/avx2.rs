//! The fingerprint of 32 lanes by look-ups of half bytes, on AVX2.
//!
//! The planes are those of the back end on GFNI: the fingerprint is shifted left by 3 so that its
//! 53 bits fill seven bytes, and byte k of all lanes is kept together in plane k. What a linear
//! map makes of a byte is the sum of what it makes of its two halves, and `vpshufb` looks up 32
//! halves at once.
//!
//! Invariants: finds what [`super::scalar`] finds.

use core::arch::x86_64::{
    __m128i, __m256i, _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256,
    _mm256_cmpeq_epi8, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_slli_epi16, _mm256_srli_epi16,
    _mm256_xor_si256,
};
use core::ops::ControlFlow;

use super::{DEGREE, scalar, times_x};
use crate::columns::{COLUMNS, load_32_lanes};
use crate::search::{Kernel, WINDOW};

const LANES: usize = 32;
/// Groups of columns in a window.
const GROUPS: usize = WINDOW / COLUMNS;
const PLANES: usize = 7;
/// Bits below the fingerprint in plane 0.
const SHIFT: u32 = 8 * PLANES as u32 - DEGREE;

pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx2")
}

/// What a linear map makes of the low and the high half of a byte, plane by plane.
type Halves = [[[u8; 16]; 2]; PLANES];

/// The maps from a byte to what it adds to each plane. (The byte that enters adds itself, shifted.)
pub(super) struct LookUps {
    /// The byte that overflows: times x^53.
    overflow: Halves,
    /// The byte that leaves: times x^512.
    leave: Halves,
    /// The bits that are zero at a candidate, in the lowest four planes.
    mask: [u8; 4],
}

impl LookUps {
    pub(super) fn new(polynomial: u64, bits: u32) -> Self {
        let halves = |times| {
            let map = |byte| (times_x(byte, times, polynomial) << SHIFT).to_le_bytes();
            core::array::from_fn(|plane| {
                [0, 4].map(|shift| core::array::from_fn(|half| map((half as u64) << shift)[plane]))
            })
        };
        Self {
            overflow: halves(DEGREE),
            leave: halves(8 * WINDOW as u32),
            mask: ((((1_u64 << bits) - 1) << SHIFT) as u32).to_le_bytes(),
        }
    }
}

pub(super) struct Avx2<'a> {
    look_ups: &'a LookUps,
    tables: &'a scalar::Tables,
}

impl<'a> Avx2<'a> {
    pub(super) fn new(look_ups: &'a LookUps, tables: &'a scalar::Tables) -> Self {
        assert!(is_available());
        Self { look_ups, tables }
    }
}

impl Kernel for Avx2<'_> {
    const LANES: usize = LANES;
    const STEP: usize = COLUMNS;

    fn block(&self, data: &[u8], lane: usize, hit: impl FnMut(usize, u64) -> ControlFlow<()>) {
        // SAFETY: `new` has seen that the instructions are there.
        unsafe { block(self.look_ups, data, lane, hit) }
    }

    fn serial(&self, data: &[u8], hit: impl FnMut(usize) -> ControlFlow<()>) {
        self.tables.serial(data, hit);
    }
}

#[target_feature(enable = "avx2")]
fn block(
    look_ups: &LookUps,
    data: &[u8],
    lane: usize,
    mut hit: impl FnMut(usize, u64) -> ControlFlow<()>,
) {
    assert!(data.len() == WINDOW + LANES * lane && lane.is_multiple_of(COLUMNS));
    let zero = _mm256_setzero_si256();
    let mask = look_ups.mask.map(|byte| _mm256_set1_epi8(byte.cast_signed()));
    let xor = |a, b| _mm256_xor_si256(a, b);

    let mut planes = [zero; PLANES];
    // The last 64 columns, which are read once more when their bytes leave the window, and room
    // for the next.
    let mut window = [[zero; COLUMNS]; GROUPS + 1];
    for (group, columns) in window[..GROUPS].iter_mut().enumerate() {
        // SAFETY: the first 64 bytes of each lane are within the data, by the assertion above.
        unsafe { load_32_lanes(data, lane, group * COLUMNS, columns) };
        for &enters in columns.iter() {
            planes = append(&look_ups.overflow, planes, enters);
        }
    }
    for group in 0..lane / COLUMNS {
        let at = group * COLUMNS;
        let into = &mut window[(group + GROUPS) % (GROUPS + 1)];
        // SAFETY: the last group of the last lane ends at WINDOW + LANES * lane, the data's end.
        unsafe { load_32_lanes(data, lane, WINDOW + at, into) };
        let entering = &window[(group + GROUPS) % (GROUPS + 1)];
        let leaving = &window[group % (GROUPS + 1)];
        for (column, (&enters, &leaves)) in entering.iter().zip(leaving).enumerate() {
            let [p0, p1, p2, p3, p4, p5, p6] = append(&look_ups.overflow, planes, enters);
            let [l0, l1, l2, l3, l4, l5, l6] = image(&look_ups.leave, leaves);
            planes = [
                xor(p0, l0),
                xor(p1, l1),
                xor(p2, l2),
                xor(p3, l3),
                xor(p4, l4),
                xor(p5, l5),
                xor(p6, l6),
            ];
            let mut low = zero;
            for (&plane, &mask) in planes.iter().zip(&mask) {
                low = _mm256_or_si256(low, _mm256_and_si256(plane, mask));
            }
            let hits = _mm256_movemask_epi8(_mm256_cmpeq_epi8(low, zero)).cast_unsigned();
            if hits != 0 && hit(at + column, hits.into()).is_break() {
                return;
            }
        }
    }
}

/// The planes after one more byte of each lane.
#[inline]
#[target_feature(enable = "avx2")]
fn append(overflow: &Halves, planes: [__m256i; PLANES], enters: __m256i) -> [__m256i; PLANES] {
    let [p0, p1, p2, p3, p4, p5, top] = planes;
    let [o0, o1, o2, o3, o4, o5, o6] = image(overflow, top);
    // There are no shifts of bytes: what comes over from the neighbour is masked out.
    let low_bits = _mm256_set1_epi8((u8::MAX << SHIFT).cast_signed());
    let high_bits = _mm256_set1_epi8((u8::MAX >> (8 - SHIFT)).cast_signed());
    let e0 = _mm256_and_si256(_mm256_slli_epi16::<{ SHIFT as i32 }>(enters), low_bits);
    let e1 = _mm256_and_si256(_mm256_srli_epi16::<{ 8 - SHIFT as i32 }>(enters), high_bits);
    let xor = |a, b| _mm256_xor_si256(a, b);
    [
        xor(o0, e0),
        xor(xor(p0, o1), e1),
        xor(p1, o2),
        xor(p2, o3),
        xor(p3, o4),
        xor(p4, o5),
        xor(p5, o6),
    ]
}

/// What a map makes of one byte of each lane.
#[inline]
#[target_feature(enable = "avx2")]
fn image(map: &Halves, bytes: __m256i) -> [__m256i; PLANES] {
    let half = _mm256_set1_epi8(0x0f);
    let low = _mm256_and_si256(bytes, half);
    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), half);
    let plane = |plane: usize| {
        let [of_low, of_high] = &map[plane];
        _mm256_xor_si256(
            _mm256_shuffle_epi8(load_table(of_low), low),
            _mm256_shuffle_epi8(load_table(of_high), high),
        )
    };
    [plane(0), plane(1), plane(2), plane(3), plane(4), plane(5), plane(6)]
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_table(table: &[u8; 16]) -> __m256i {
    // SAFETY: sixteen bytes are one vector; unaligned load.
    let table: __m128i = unsafe { _mm_loadu_si128(table.as_ptr().cast()) };
    _mm256_broadcastsi128_si256(table)
}
