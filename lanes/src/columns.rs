//! Bytes of 64 lanes side by side, for kernels on AVX-512.

use core::arch::x86_64::{
    __m512i, _mm_loadu_si128, _mm512_castsi128_si512, _mm512_inserti32x4, _mm512_unpackhi_epi8,
    _mm512_unpacklo_epi8,
};

pub(crate) const LANES: usize = 64;

/// Columns that are transposed together.
pub(crate) const COLUMNS: usize = 16;

/// Sixteen columns of 64 lanes: byte l of vector c is `data[l * lane + at + c]`.
///
/// # Safety
/// `63 * lane + at + 16` bytes of data.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) unsafe fn load_columns(
    data: &[u8],
    lane: usize,
    at: usize,
    columns: &mut [__m512i; COLUMNS],
) {
    debug_assert!((LANES - 1) * lane + at + COLUMNS <= data.len());
    let row = |row: usize| {
        // SAFETY: l is below 64, so the caller's promise covers these 16 bytes.
        let load = |l: usize| unsafe { _mm_loadu_si128(data.as_ptr().add(l * lane + at).cast()) };
        let quarters = _mm512_castsi128_si512(load(row));
        let quarters = _mm512_inserti32x4::<1>(quarters, load(row + 16));
        let quarters = _mm512_inserti32x4::<2>(quarters, load(row + 32));
        _mm512_inserti32x4::<3>(quarters, load(row + 48))
    };
    // Each quarter is a 16x16 matrix; four perfect shuffles of its rows transpose it. Spelt out
    // because arrays indexed in loops would go through memory.
    macro_rules! shuffled {
        ($($low:ident $high:ident)*) => {
            ($((_mm512_unpacklo_epi8($low, $high), _mm512_unpackhi_epi8($low, $high)),)*)
        };
    }
    let (a, b, c, d, e, f, g, h) = (row(0), row(1), row(2), row(3), row(4), row(5), row(6), row(7));
    let (i, j, k, l, m, n, o, p) =
        (row(8), row(9), row(10), row(11), row(12), row(13), row(14), row(15));
    let ((a, b), (c, d), (e, f), (g, h), (i, j), (k, l), (m, n), (o, p)) =
        shuffled!(a i b j c k d l e m f n g o h p);
    let ((a, b), (c, d), (e, f), (g, h), (i, j), (k, l), (m, n), (o, p)) =
        shuffled!(a i b j c k d l e m f n g o h p);
    let ((a, b), (c, d), (e, f), (g, h), (i, j), (k, l), (m, n), (o, p)) =
        shuffled!(a i b j c k d l e m f n g o h p);
    let ((a, b), (c, d), (e, f), (g, h), (i, j), (k, l), (m, n), (o, p)) =
        shuffled!(a i b j c k d l e m f n g o h p);
    *columns = [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p];
}
