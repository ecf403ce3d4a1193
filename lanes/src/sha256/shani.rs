//! SHA-256 compression of up to four streams at once on the SHA instructions of x86.
//!
//! One stream waits for the latency of `sha256rnds2` most of the time; its unit can begin work
//! for another stream meanwhile.
//!
//! Invariants: every stream advances by the same number of blocks; the result is that of
//! `sha2::block_api::compress256` on each of them.

use core::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_blend_epi16, _mm_loadu_si128, _mm_set_epi64x,
    _mm_setzero_si128, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32,
    _mm_shuffle_epi8, _mm_shuffle_epi32, _mm_storeu_si128,
};

/// Whether [`compress`] may be called here.
pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("sha")
        && is_x86_feature_detected!("sse4.1")
        && is_x86_feature_detected!("ssse3")
        && is_x86_feature_detected!("sse2")
}

/// Mixes `blocks[n]` into `states[n]` for each n; all must be of one length.
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
pub(super) fn compress<const N: usize>(states: &mut [&mut [u32; 8]; N], blocks: [&[[u8; 64]]; N]) {
    let count = blocks.first().map_or(0, |blocks| blocks.len());
    let mut blocks = blocks.map(|blocks| blocks[..count].iter());
    // Message words are big-endian.
    let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    let zero = _mm_setzero_si128();
    // The instructions want the eight words as (A, B, E, F) and (C, D, G, H), highest first.
    let mut abef = [zero; N];
    let mut cdgh = [zero; N];
    for n in 0..N {
        let [dcba, hgfe] = load_state(states[n]);
        let cdab = _mm_shuffle_epi32(dcba, 0xb1);
        let efgh = _mm_shuffle_epi32(hgfe, 0x1b);
        abef[n] = _mm_alignr_epi8(cdab, efgh, 8);
        cdgh[n] = _mm_blend_epi16(efgh, cdab, 0xf0);
    }
    for _ in 0..count {
        let (abef_before, cdgh_before) = (abef, cdgh);
        let mut words = [[zero; 4]; N];
        for n in 0..N {
            let block = blocks[n].next().expect("all have `count`");
            words[n] = load_block(block).map(|word| _mm_shuffle_epi8(word, swap));
        }
        // Four rounds of each stream; a macro because the indices must be constants for the
        // arrays to live in registers.
        macro_rules! four_rounds {
            ($($step:literal)*) => {$(
                let constants = load_constants(&CONSTANTS[$step]);
                for n in 0..N {
                    let [w0, w1, w2, w3] = [0, 1, 2, 3].map(|i| words[n][($step + i) & 3]);
                    let word = if $step < 4 {
                        w0
                    } else {
                        let partial =
                            _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8(w3, w2, 4));
                        _mm_sha256msg2_epu32(partial, w3)
                    };
                    words[n][$step & 3] = word;
                    let keyed = _mm_add_epi32(word, constants);
                    cdgh[n] = _mm_sha256rnds2_epu32(cdgh[n], abef[n], keyed);
                    let keyed = _mm_shuffle_epi32(keyed, 0x0e);
                    abef[n] = _mm_sha256rnds2_epu32(abef[n], cdgh[n], keyed);
                }
            )*};
        }
        four_rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        for n in 0..N {
            abef[n] = _mm_add_epi32(abef[n], abef_before[n]);
            cdgh[n] = _mm_add_epi32(cdgh[n], cdgh_before[n]);
        }
    }
    for n in 0..N {
        let feba = _mm_shuffle_epi32(abef[n], 0x1b);
        let dchg = _mm_shuffle_epi32(cdgh[n], 0xb1);
        let dcba = _mm_blend_epi16(feba, dchg, 0xf0);
        let hgfe = _mm_alignr_epi8(dchg, feba, 8);
        store_state(states[n], [dcba, hgfe]);
    }
}

#[inline]
#[target_feature(enable = "sse2")]
fn load_state(state: &[u32; 8]) -> [__m128i; 2] {
    let at = state.as_ptr().cast::<__m128i>();
    // SAFETY: eight words are two vectors; unaligned loads.
    unsafe { [_mm_loadu_si128(at), _mm_loadu_si128(at.add(1))] }
}

#[inline]
#[target_feature(enable = "sse2")]
fn store_state(state: &mut [u32; 8], [low, high]: [__m128i; 2]) {
    let at = state.as_mut_ptr().cast::<__m128i>();
    // SAFETY: eight words are two vectors; unaligned stores.
    unsafe {
        _mm_storeu_si128(at, low);
        _mm_storeu_si128(at.add(1), high);
    }
}

#[inline]
#[target_feature(enable = "sse2")]
fn load_block(block: &[u8; 64]) -> [__m128i; 4] {
    let at = block.as_ptr().cast::<__m128i>();
    // SAFETY: 64 bytes are four vectors; unaligned loads.
    unsafe { [0, 1, 2, 3].map(|i| _mm_loadu_si128(at.add(i))) }
}

#[inline]
#[target_feature(enable = "sse2")]
fn load_constants(constants: &[u32; 4]) -> __m128i {
    // SAFETY: four words are one vector; unaligned load.
    unsafe { _mm_loadu_si128(constants.as_ptr().cast()) }
}

#[rustfmt::skip]
const CONSTANTS: [[u32; 4]; 16] = [
    [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5],
    [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
    [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3],
    [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
    [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc],
    [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
    [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7],
    [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
    [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13],
    [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
    [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3],
    [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
    [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5],
    [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
    [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208],
    [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
];
