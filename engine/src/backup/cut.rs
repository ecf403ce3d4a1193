//! Where the bytes at hand are cut: by the source thread alone, or by several threads at once.
//!
//! Invariants: both ways give the same cuts, those of the cutter; only a cutter whose candidates
//! depend on nothing but the bytes just before them is spread over threads.

use rayon::prelude::*;
use windlass_format::cut::{
    Cutter,
    lengths::WINDOW,
    resolve::{Candidates, Resolver},
};

/// Bytes that one thread searches at once.
const SEGMENT_BYTES: usize = 4 << 20;

/// The lengths of all chunks of `data`, which begins where a chunk begins. Without `at_end`, what
/// is behind the last cut that is certain is left out.
pub(super) fn cut(
    cutter: &Cutter,
    pool: &rayon::ThreadPool,
    data: &[u8],
    at_end: bool,
) -> Vec<usize> {
    let worth_it = pool.current_num_threads() > 1 && data.len() >= 2 * cutter.max();
    let spread = worth_it.then(|| search(cutter, pool, data)).flatten();
    match spread {
        Some((mut resolver, segments)) => {
            let fed = segments.into_iter().all(|candidates| resolver.feed(candidates));
            debug_assert!(fed, "segments follow each other");
            std::iter::from_fn(|| resolver.next(at_end)).map(|len| len as usize).collect()
        }
        None => alone(cutter, data, at_end),
    }
}

fn alone(cutter: &Cutter, mut data: &[u8], at_end: bool) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let Some(len) = cutter.next(data, at_end).filter(|len| *len > 0) {
        lengths.push(len);
        data = &data[len..];
    }
    lengths
}

/// The candidates of all segments, found side by side.
fn search(
    cutter: &Cutter,
    pool: &rayon::ThreadPool,
    data: &[u8],
) -> Option<(Resolver, Vec<Candidates>)> {
    let resolver = Resolver::new(cutter)?;
    let candidates = |start: usize| {
        let history = start.min(WINDOW - 1);
        let end = data.len().min(start + SEGMENT_BYTES);
        cutter.candidates(&data[start - history..end], history, start as u64)
    };
    let starts: Vec<usize> = (0..data.len()).step_by(SEGMENT_BYTES).collect();
    let segments = pool.install(|| starts.into_par_iter().map(candidates).collect::<Option<_>>());
    Some((resolver, segments?))
}

#[cfg(test)]
mod tests {
    use windlass_format::cut::{fastcdc::FastCdcParams, rabin::Polynomial};

    use super::*;
    use crate::entropy::Entropy;

    #[test]
    fn several_threads_cut_where_one_does() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().expect("a pool");
        let mut data = vec![0; 40 << 20];
        Entropy::seeded(3).fill(&mut data).expect("seeded");
        data[9 << 20..15 << 20].fill(0);
        data[20 << 20..30 << 20].fill(b'x');
        let rabin = Cutter::rabin(Polynomial::new(0x3D_A335_8B4D_C173).expect("irreducible"));
        let fast_cdc = Cutter::fast_cdc(FastCdcParams::default());
        for cutter in [rabin, fast_cdc] {
            for (len, at_end) in [(data.len(), true), (data.len(), false), (33_333_333, true)] {
                let data = &data[..len];
                let lengths = cut(&cutter, &pool, data, at_end);
                assert_eq!(lengths, alone(&cutter, data, at_end), "{cutter:?} {len} {at_end}");
                assert!(!at_end || lengths.iter().sum::<usize>() == len);
            }
        }
    }
}
