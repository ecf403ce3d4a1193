//! Thirty-two blocks at a time, on VAES with vectors of 512 bits.
//!
//! A vector holds four counters; eight vectors go through the rounds side by side, which hides the
//! latency of a round. Counters are kept as numbers and turned into big-endian bytes by one shuffle
//! for four of them. Input is xored on its way to where it goes: no keystream is ever in memory.
//!
//! Invariants: as in [`super`]; the lower 64 bits of a counter do not overflow within a message.

use core::arch::x86_64::{
    __m128i, __m512i, _mm_aeskeygenassist_si128, _mm_loadu_si128, _mm_shuffle_epi32,
    _mm_slli_si128, _mm_storeu_si128, _mm_xor_si128, _mm512_add_epi64, _mm512_aesenc_epi128,
    _mm512_aesenclast_epi128, _mm512_load_si512, _mm512_loadu_si512, _mm512_mask_storeu_epi8,
    _mm512_maskz_loadu_epi8, _mm512_or_si512, _mm512_set_epi64, _mm512_setzero_si512,
    _mm512_shuffle_epi8, _mm512_storeu_si512, _mm512_test_epi8_mask, _mm512_xor_si512,
};

use zeroize::Zeroize;

const BLOCK: usize = 16;
const VECTOR: usize = 64;
/// Vectors that are on their way at once.
const ABREAST: usize = 8;
const STEP: usize = ABREAST * VECTOR;
const ROUND_KEYS: usize = 15;

/// Round keys, each four times. In one place in memory, wiped when it is given up.
#[derive(Clone)]
pub(super) struct Schedule(Box<Keys>);

#[derive(Clone)]
#[repr(align(64))]
struct Keys([[u8; VECTOR]; ROUND_KEYS]);

impl Drop for Schedule {
    fn drop(&mut self) {
        self.0.0.zeroize();
    }
}

pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("aes")
        && is_x86_feature_detected!("vaes")
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
}

impl Schedule {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        assert!(is_available());
        let mut schedule = Self(Box::new(Keys([[0; VECTOR]; ROUND_KEYS])));
        // SAFETY: asserted above.
        unsafe { expand(key, &mut schedule.0.0) };
        schedule
    }
}

pub(super) fn append(schedule: &Schedule, counter: &[u8; 16], input: &[u8], out: &mut Vec<u8>) {
    out.reserve(input.len());
    let from = out.len();
    // SAFETY: a schedule exists only where the instructions do. The room behind `from` was just
    // reserved, all of it is written, and `input` cannot overlap what `out` alone owns.
    unsafe {
        let to = out.as_mut_ptr().add(from);
        xor(schedule, counter, input.as_ptr(), to, input.len());
        out.set_len(from + input.len());
    }
}

pub(super) fn apply(schedule: &Schedule, counter: &[u8; 16], data: &mut [u8]) {
    let at = data.as_mut_ptr();
    // SAFETY: a schedule exists only where the instructions do; input and output are the same
    // bytes, for which one pointer is at hand.
    unsafe { xor(schedule, counter, at, at, data.len()) };
}

/// Both of the same length.
pub(super) fn decrypts_to(
    schedule: &Schedule,
    counter: &[u8; 16],
    cipher: &[u8],
    plain: &[u8],
) -> bool {
    assert_eq!(cipher.len(), plain.len());
    // SAFETY: a schedule exists only where the instructions do; both have this length.
    unsafe { is_xor(schedule, counter, cipher, plain) }
}

/// The schedule of AES-256.
#[target_feature(enable = "aes,sse2")]
fn expand(key: &[u8; 32], keys: &mut [[u8; VECTOR]; ROUND_KEYS]) {
    // SAFETY: both halves have 16 bytes; unaligned loads.
    let (mut even, mut odd) = unsafe {
        let at = key.as_ptr();
        (_mm_loadu_si128(at.cast()), _mm_loadu_si128(at.add(BLOCK).cast()))
    };
    let mut places = keys.iter_mut();
    let mut push = |key: __m128i| {
        for lane in places.next().expect("fifteen").as_chunks_mut::<BLOCK>().0 {
            // SAFETY: a lane has 16 bytes; an unaligned store.
            unsafe { _mm_storeu_si128(lane.as_mut_ptr().cast(), key) };
        }
    };
    push(even);
    push(odd);
    macro_rules! round {
        ($constant:literal) => {
            let word = _mm_aeskeygenassist_si128::<$constant>(odd);
            even = _mm_xor_si128(spread(even), _mm_shuffle_epi32::<0xff>(word));
            push(even);
        };
        ($constant:literal, both) => {
            round!($constant);
            let word = _mm_aeskeygenassist_si128::<0>(even);
            odd = _mm_xor_si128(spread(odd), _mm_shuffle_epi32::<0xaa>(word));
            push(odd);
        };
    }
    round!(0x01, both);
    round!(0x02, both);
    round!(0x04, both);
    round!(0x08, both);
    round!(0x10, both);
    round!(0x20, both);
    round!(0x40);
}

/// Each word with all before it added.
#[inline]
#[target_feature(enable = "sse2")]
fn spread(key: __m128i) -> __m128i {
    let pairs = _mm_xor_si128(key, _mm_slli_si128::<4>(key));
    _mm_xor_si128(pairs, _mm_slli_si128::<8>(pairs))
}

/// Counters as numbers: of each lane the lower half first.
#[derive(Clone, Copy)]
struct Counters(__m512i);

impl Counters {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new(counter: &[u8; 16]) -> Self {
        let (halves, _) = counter.as_chunks::<8>();
        let [high, low] = [halves[0], halves[1]].map(i64::from_be_bytes);
        let first = _mm512_set_epi64(high, low, high, low, high, low, high, low);
        Self(_mm512_add_epi64(first, _mm512_set_epi64(0, 3, 0, 2, 0, 1, 0, 0)))
    }

    /// `vectors` times four further.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn further(self, vectors: usize) -> Self {
        let by = 4 * vectors.cast_signed() as i64;
        Self(_mm512_add_epi64(self.0, _mm512_set_epi64(0, by, 0, by, 0, by, 0, by)))
    }

    /// As bytes, the most significant first.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn bytes(self) -> __m512i {
        const LOW: i64 = 0x08_09_0a_0b_0c_0d_0e_0f;
        const HIGH: i64 = 0x00_01_02_03_04_05_06_07;
        let reversed = _mm512_set_epi64(HIGH, LOW, HIGH, LOW, HIGH, LOW, HIGH, LOW);
        _mm512_shuffle_epi8(self.0, reversed)
    }
}

/// The keystream of `N` vectors from `counters` on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,vaes")]
fn keystream<const N: usize>(schedule: &Schedule, counters: Counters) -> [__m512i; N] {
    let keys = &schedule.0.0;
    // SAFETY: 64 bytes, of which the first is aligned to 64 and so are all.
    let key = |round: usize| unsafe { _mm512_load_si512(keys[round].as_ptr().cast()) };
    let first = key(0);
    let mut state = [first; N];
    for (at, vector) in state.iter_mut().enumerate() {
        *vector = _mm512_xor_si512(counters.further(at).bytes(), first);
    }
    for round in 1..ROUND_KEYS - 1 {
        let key = key(round);
        for vector in &mut state {
            *vector = _mm512_aesenc_epi128(*vector, key);
        }
    }
    let last = key(ROUND_KEYS - 1);
    for vector in &mut state {
        *vector = _mm512_aesenclast_epi128(*vector, last);
    }
    state
}

/// The bytes of a vector that are there.
fn mask(length: usize) -> u64 {
    u64::MAX >> (VECTOR - length.min(VECTOR))
}

/// Writes `length` bytes at `from`, xored with the keystream, to `to`.
///
/// # Safety
/// Both are valid for `length` bytes and the same, or do not overlap.
#[target_feature(enable = "avx512f,avx512bw,vaes")]
unsafe fn xor(
    schedule: &Schedule,
    counter: &[u8; 16],
    from: *const u8,
    to: *mut u8,
    length: usize,
) {
    let mut counters = Counters::new(counter);
    let mut at = 0;
    while length - at >= STEP {
        let stream = keystream::<ABREAST>(schedule, counters);
        counters = counters.further(ABREAST);
        for vector in stream {
            // SAFETY: at + 64 is at most `length`; unaligned load and store.
            unsafe {
                let input = _mm512_loadu_si512(from.add(at).cast());
                _mm512_storeu_si512(to.add(at).cast(), _mm512_xor_si512(input, vector));
            }
            at += VECTOR;
        }
    }
    while at < length {
        let [vector] = keystream::<1>(schedule, counters);
        counters = counters.further(1);
        let mask = mask(length - at);
        // SAFETY: bytes behind `length` are masked out and not touched.
        unsafe {
            let input = _mm512_maskz_loadu_epi8(mask, from.add(at).cast());
            _mm512_mask_storeu_epi8(to.add(at).cast(), mask, _mm512_xor_si512(input, vector));
        }
        at += VECTOR;
    }
}

/// Whether `cipher`, xored with the keystream, is `plain`.
///
/// # Safety
/// Both have the same length.
#[target_feature(enable = "avx512f,avx512bw,vaes")]
unsafe fn is_xor(schedule: &Schedule, counter: &[u8; 16], cipher: &[u8], plain: &[u8]) -> bool {
    let (length, cipher, plain) = (cipher.len(), cipher.as_ptr(), plain.as_ptr());
    let mut counters = Counters::new(counter);
    let mut differing = _mm512_setzero_si512();
    let mut at = 0;
    while length - at >= STEP {
        let stream = keystream::<ABREAST>(schedule, counters);
        counters = counters.further(ABREAST);
        for vector in stream {
            // SAFETY: at + 64 is at most `length`; unaligned loads.
            let (cipher, plain) = unsafe {
                (
                    _mm512_loadu_si512(cipher.add(at).cast()),
                    _mm512_loadu_si512(plain.add(at).cast()),
                )
            };
            let opened = _mm512_xor_si512(vector, cipher);
            differing = _mm512_or_si512(differing, _mm512_xor_si512(opened, plain));
            at += VECTOR;
        }
    }
    while at < length {
        let [vector] = keystream::<1>(schedule, counters);
        counters = counters.further(1);
        let mask = mask(length - at);
        // SAFETY: bytes behind `length` are masked out and not touched.
        let (cipher, plain) = unsafe {
            (
                _mm512_maskz_loadu_epi8(mask, cipher.add(at).cast()),
                _mm512_maskz_loadu_epi8(mask, plain.add(at).cast()),
            )
        };
        let opened = _mm512_xor_si512(vector, cipher);
        let differs =
            _mm512_test_epi8_mask(_mm512_xor_si512(opened, plain), _mm512_xor_si512(opened, plain));
        if differs & mask != 0 {
            return false;
        }
        at += VECTOR;
    }
    _mm512_test_epi8_mask(differing, differing) == 0
}
