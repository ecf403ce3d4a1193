//! AES-256 in counter mode over whole messages.
//!
//! Invariants
//! - Every keystream is that of the crates `aes` and `ctr` with a big-endian counter of 128 bits,
//!   which also compute it where the processor has no wide AES and where the counter's lower half
//!   would overflow.
//! - No branch and no address depends on the key or the message; key schedules are wiped.
//!
//! Not here: authentication, and where counters come from: none may be used twice under one key.

#[cfg(target_arch = "x86_64")]
mod vaes;

use aes::{
    Aes256Enc, Block,
    cipher::{Array, InnerIvInit as _, KeyInit as _, StreamCipherCore as _},
};
use ctr::{CtrCore, flavors::Ctr128BE};

/// Bytes that the twin works on at once, so that they stay in the nearest cache.
const STRIDE: usize = 4096;

/// A key, ready for use.
#[derive(Clone)]
pub struct Aes256Ctr {
    portable: Aes256Enc,
    #[cfg(target_arch = "x86_64")]
    wide: Option<vaes::Schedule>,
}

impl core::fmt::Debug for Aes256Ctr {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Aes256Ctr")
    }
}

impl Aes256Ctr {
    /// Expands a key.
    pub fn new(key: &[u8; 32]) -> Self {
        Self {
            portable: Aes256Enc::new(&Array(*key)),
            #[cfg(target_arch = "x86_64")]
            wide: vaes::is_available().then(|| vaes::Schedule::new(key)),
        }
    }

    /// Appends `input`, encrypted or decrypted, to `out`.
    pub fn append(&self, counter: &[u8; 16], input: &[u8], out: &mut Vec<u8>) {
        #[cfg(target_arch = "x86_64")]
        if let Some(schedule) = self.wide(counter, input.len()) {
            return vaes::append(schedule, counter, input, out);
        }
        self.append_portable(counter, input, out);
    }

    /// Encrypts or decrypts `data` where it is.
    pub fn apply(&self, counter: &[u8; 16], data: &mut [u8]) {
        #[cfg(target_arch = "x86_64")]
        if let Some(schedule) = self.wide(counter, data.len()) {
            return vaes::apply(schedule, counter, data);
        }
        self.apply_portable(counter, data);
    }

    /// Whether `cipher` decrypts to `plain`, without writing it anywhere.
    pub fn decrypts_to(&self, counter: &[u8; 16], cipher: &[u8], plain: &[u8]) -> bool {
        if cipher.len() != plain.len() {
            return false;
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(schedule) = self.wide(counter, cipher.len()) {
            return vaes::decrypts_to(schedule, counter, cipher, plain);
        }
        self.decrypts_to_portable(counter, cipher, plain)
    }

    /// The wide schedule, where a counter in 64 bits is enough for `length` bytes.
    #[cfg(target_arch = "x86_64")]
    fn wide(&self, counter: &[u8; 16], length: usize) -> Option<&vaes::Schedule> {
        let [.., a, b, c, d, e, f, g, h] = *counter;
        let low = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        low.checked_add(length as u64)?;
        self.wide.as_ref()
    }

    /// [`append`](Self::append) by the twin alone, for tests and benchmarks.
    pub fn append_portable(&self, counter: &[u8; 16], input: &[u8], out: &mut Vec<u8>) {
        out.reserve(input.len());
        let mut keystream = self.keystream(counter);
        for stride in input.chunks(STRIDE) {
            let from = out.len();
            out.extend_from_slice(stride);
            go_on(&mut keystream, &mut out[from..]);
        }
    }

    fn apply_portable(&self, counter: &[u8; 16], data: &mut [u8]) {
        go_on(&mut self.keystream(counter), data);
    }

    fn decrypts_to_portable(&self, counter: &[u8; 16], cipher: &[u8], plain: &[u8]) -> bool {
        let mut keystream = self.keystream(counter);
        let mut stride = [0; STRIDE];
        cipher.chunks(STRIDE).zip(plain.chunks(STRIDE)).all(|(cipher, plain)| {
            let opened = &mut stride[..cipher.len()];
            opened.copy_from_slice(cipher);
            go_on(&mut keystream, opened);
            opened == plain
        })
    }

    fn keystream(&self, counter: &[u8; 16]) -> CtrCore<&Aes256Enc, Ctr128BE> {
        CtrCore::inner_iv_init(&self.portable, &Array(*counter))
    }
}

/// Goes on with a keystream; only the last piece may end within a block.
fn go_on(keystream: &mut CtrCore<&Aes256Enc, Ctr128BE>, data: &mut [u8]) {
    let (blocks, tail) = data.as_chunks_mut();
    keystream.apply_keystream_blocks(Block::cast_slice_from_core_mut(blocks));
    if tail.is_empty() {
        return;
    }
    let mut block = Block::default();
    keystream.write_keystream_block(&mut block);
    for (byte, key) in tail.iter_mut().zip(block) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests;
