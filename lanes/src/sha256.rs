//! SHA-256 of several independent streams at once.
//!
//! Invariants
//! - Every result is that of the crate `sha2`, whatever the processor and however the bytes are
//!   split over calls; `sha2` also does the work where x86's SHA instructions are missing.
//! - Nothing here allocates but the vector of [`digest_many`].
//!
//! Not here: threads. A caller with one long stream gains nothing from this module; one with two
//! (a chunk and the pack it goes into) gains half as much again.

mod schedule;
#[cfg(target_arch = "x86_64")]
mod shani;

use core::cmp::Reverse;

use self::schedule::{Backend, Stream};

const BLOCK: usize = 64;

const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// A SHA-256 being computed.
#[derive(Clone)]
pub struct Sha256 {
    state: [u32; 8],
    /// Bytes that do not fill a block yet; as many as `length % 64`.
    partial: [u8; BLOCK],
    length: u64,
}

impl Sha256 {
    /// The hash of nothing so far.
    pub fn new() -> Self {
        Self { state: INITIAL, partial: [0; BLOCK], length: 0 }
    }

    /// Appends bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        update_on(Backend::best(), &mut [(self, bytes)]);
    }

    /// Pads and answers the digest.
    pub fn finish(mut self) -> [u8; 32] {
        let (padding, blocks) = pad(&self.partial[..self.filled()], self.length);
        let stream = Stream::new(&mut self.state, [&[], &[], &padding[..blocks]]);
        schedule::run(Backend::best(), core::iter::once(stream));
        to_bytes(&self.state)
    }

    fn filled(&self) -> usize {
        // Below 64, so the cast cannot cut.
        (self.length % BLOCK as u64) as usize
    }

    /// What `bytes` means to this state: how many of them complete its partial block (0 if none
    /// is begun or there are too few), the whole blocks behind, and what is left over.
    fn split<'a>(&self, bytes: &'a [u8]) -> (usize, &'a [[u8; BLOCK]], &'a [u8]) {
        let head = match self.filled() {
            0 => 0,
            filled if filled + bytes.len() < BLOCK => return (0, &[], bytes),
            filled => BLOCK - filled,
        };
        let (blocks, rest) = bytes[head..].as_chunks();
        (head, blocks, rest)
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

/// Appends to each state its bytes, several states at a time. The order of `jobs` is not kept:
/// they are sorted so that the longest start first.
pub fn update_many(jobs: &mut [(&mut Sha256, &[u8])]) {
    update_on(Backend::best(), jobs);
}

/// The digests of `inputs`, in their order; `out` is cleared first.
pub fn digest_many(inputs: &[&[u8]], out: &mut Vec<[u8; 32]>) {
    digest_on(Backend::best(), inputs, out);
}

fn update_on(backend: Backend, jobs: &mut [(&mut Sha256, &[u8])]) {
    jobs.sort_unstable_by_key(|(_, bytes)| Reverse(bytes.len()));
    let streams = jobs.iter_mut().map(|(sha, bytes)| {
        let filled = sha.filled();
        let (head, blocks, _) = sha.split(bytes);
        let Sha256 { state, partial, .. } = &mut **sha;
        let completed: &[[u8; BLOCK]] = if head == 0 {
            &[]
        } else {
            partial[filled..].copy_from_slice(&bytes[..head]);
            core::slice::from_ref(partial)
        };
        Stream::new(state, [completed, blocks, &[]])
    });
    schedule::run(backend, streams);
    for (sha, bytes) in jobs {
        let (_, _, rest) = sha.split(bytes);
        let from = if rest.len() == bytes.len() { sha.filled() } else { 0 };
        sha.partial[from..from + rest.len()].copy_from_slice(rest);
        sha.length += bytes.len() as u64;
    }
}

/// As many digests as are computed from one array on the stack.
const BATCH: usize = 64;

fn digest_on(backend: Backend, inputs: &[&[u8]], out: &mut Vec<[u8; 32]>) {
    struct Digest<'a> {
        at: usize,
        state: [u32; 8],
        blocks: &'a [[u8; BLOCK]],
        padding: [[u8; BLOCK]; 2],
        padding_blocks: usize,
    }
    out.clear();
    out.resize(inputs.len(), [0; 32]);
    for (inputs, out) in inputs.chunks(BATCH).zip(out.chunks_mut(BATCH)) {
        let mut batch: [Digest<'_>; BATCH] = core::array::from_fn(|at| {
            let (blocks, rest) = inputs.get(at).copied().unwrap_or_default().as_chunks();
            let (padding, padding_blocks) = pad(rest, (blocks.len() * BLOCK + rest.len()) as u64);
            Digest { at, state: INITIAL, blocks, padding, padding_blocks }
        });
        let batch = &mut batch[..inputs.len()];
        batch.sort_unstable_by_key(|digest| Reverse(digest.blocks.len()));
        let streams = batch.iter_mut().map(|digest| {
            let padding = &digest.padding[..digest.padding_blocks];
            Stream::new(&mut digest.state, [&[], digest.blocks, padding])
        });
        schedule::run(backend, streams);
        for digest in batch {
            out[digest.at] = to_bytes(&digest.state);
        }
    }
}

/// The last blocks of a message of `length` bytes ending with `rest`, and how many they are.
fn pad(rest: &[u8], length: u64) -> ([[u8; BLOCK]; 2], usize) {
    let mut padding = [[0; BLOCK]; 2];
    let bytes = padding.as_flattened_mut();
    bytes[..rest.len()].copy_from_slice(rest);
    bytes[rest.len()] = 0x80;
    let blocks = if rest.len() < BLOCK - 8 { 1 } else { 2 };
    bytes[blocks * BLOCK - 8..blocks * BLOCK].copy_from_slice(&(length << 3).to_be_bytes());
    (padding, blocks)
}

fn to_bytes(state: &[u32; 8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    bytes
}

#[cfg(test)]
mod tests;
