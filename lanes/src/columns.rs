//! Bytes of many lanes side by side.
//!
//! Lane l of data cut into lanes of length `lane` begins at `l * lane`; column c holds byte c of
//! every lane. A kernel that treats all lanes alike wants columns, memory has rows.

use core::arch::x86_64::{
    __m256i, __m512i, _mm_loadu_si128, _mm256_castsi128_si256, _mm256_inserti128_si256,
    _mm256_unpackhi_epi8, _mm256_unpacklo_epi8, _mm512_castsi128_si512, _mm512_inserti32x4,
    _mm512_unpackhi_epi8, _mm512_unpacklo_epi8,
};

/// Columns that are transposed together.
pub(crate) const COLUMNS: usize = 16;

macro_rules! shuffled {
    ($low:ident, $high:ident, $($a:ident $b:ident)*) => { ($(($low($a, $b), $high($a, $b)),)*) };
}

/// Transposes the 16x16 bytes in each 128 bits of sixteen rows by four perfect shuffles of the
/// rows. Spelt out because arrays indexed in loops would go through memory.
macro_rules! transposed {
    ($row:ident, $low:ident, $high:ident) => {{
        let (a, b, c, d) = ($row(0), $row(1), $row(2), $row(3));
        let (e, f, g, h) = ($row(4), $row(5), $row(6), $row(7));
        let (i, j, k, l) = ($row(8), $row(9), $row(10), $row(11));
        let (m, n, o, p) = ($row(12), $row(13), $row(14), $row(15));
        let ((a, b), (c, d), (e, f), (g, h), (i, j), (k, l), (m, n), (o, p)) =
            shuffled!($low, $high, a i b j c k d l e m f n g o h p);
        let ((a, b), (c, d), (e, f), (g, h), (i, j), (k, l), (m, n), (o, p)) =
            shuffled!($low, $high, a i b j c k d l e m f n g o h p);
        let ((a, b), (c, d), (e, f), (g, h), (i, j), (k, l), (m, n), (o, p)) =
            shuffled!($low, $high, a i b j c k d l e m f n g o h p);
        let ((a, b), (c, d), (e, f), (g, h), (i, j), (k, l), (m, n), (o, p)) =
            shuffled!($low, $high, a i b j c k d l e m f n g o h p);
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }};
}

/// Sixteen columns of 64 lanes: byte l of vector c is `data[l * lane + at + c]`.
///
/// # Safety
/// `63 * lane + at + 16` bytes of data.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) unsafe fn load_64_lanes(
    data: &[u8],
    lane: usize,
    at: usize,
    columns: &mut [__m512i; COLUMNS],
) {
    debug_assert!(63 * lane + at + COLUMNS <= data.len());
    let row = |row: usize| {
        // SAFETY: l is below 64, so the caller's promise covers these 16 bytes.
        let load = |l: usize| unsafe { _mm_loadu_si128(data.as_ptr().add(l * lane + at).cast()) };
        let quarters = _mm512_castsi128_si512(load(row));
        let quarters = _mm512_inserti32x4::<1>(quarters, load(row + 16));
        let quarters = _mm512_inserti32x4::<2>(quarters, load(row + 32));
        _mm512_inserti32x4::<3>(quarters, load(row + 48))
    };
    *columns = transposed!(row, _mm512_unpacklo_epi8, _mm512_unpackhi_epi8);
}

/// Sixteen columns of 32 lanes: byte l of vector c is `data[l * lane + at + c]`.
///
/// # Safety
/// `31 * lane + at + 16` bytes of data.
#[inline]
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn load_32_lanes(
    data: &[u8],
    lane: usize,
    at: usize,
    columns: &mut [__m256i; COLUMNS],
) {
    debug_assert!(31 * lane + at + COLUMNS <= data.len());
    let row = |row: usize| {
        // SAFETY: l is below 32, so the caller's promise covers these 16 bytes.
        let load = |l: usize| unsafe { _mm_loadu_si128(data.as_ptr().add(l * lane + at).cast()) };
        _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(load(row)), load(row + 16))
    };
    *columns = transposed!(row, _mm256_unpacklo_epi8, _mm256_unpackhi_epi8);
}

#[cfg(test)]
mod tests {
    use core::arch::x86_64::{_mm256_setzero_si256, _mm512_setzero_si512};

    use super::*;
    use crate::test_data;

    /// The bytes of a vector.
    fn bytes<V, const N: usize>(vector: V) -> [u8; N] {
        assert_eq!(size_of::<V>(), N);
        // SAFETY: vectors are plain bytes, as many as asserted.
        unsafe { core::mem::transmute_copy(&vector) }
    }

    #[test]
    fn columns_hold_one_byte_of_every_lane() {
        let data = test_data::random(64 * 77 + COLUMNS + 5, 1);
        let (lane, at) = (77, 5);
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the instructions are there, and the data is long enough for 64 lanes.
            let columns = unsafe {
                let mut columns = [_mm256_setzero_si256(); COLUMNS];
                load_32_lanes(&data, lane, at, &mut columns);
                columns
            };
            for (c, column) in columns.into_iter().enumerate() {
                for (l, byte) in bytes::<_, 32>(column).into_iter().enumerate() {
                    assert_eq!(byte, data[l * lane + at + c]);
                }
            }
        }
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
            // SAFETY: the instructions are there, and the data is long enough.
            let columns = unsafe {
                let mut columns = [_mm512_setzero_si512(); COLUMNS];
                load_64_lanes(&data, lane, at, &mut columns);
                columns
            };
            for (c, column) in columns.into_iter().enumerate() {
                for (l, byte) in bytes::<_, 64>(column).into_iter().enumerate() {
                    assert_eq!(byte, data[l * lane + at + c]);
                }
            }
        }
    }
}
