//! Poly1305 tags of whole messages.
//!
//! Invariants
//! - Every tag is that of the crate `poly1305`, which also computes short messages' and, where the
//!   processor has no AVX-512 IFMA, all.
//! - No branch and no address depends on the key or the message, only on its length.
//!
//! Not here: where keys come from, and comparing tags, which must be done in constant time.

#[cfg(target_arch = "x86_64")]
mod ifma;
#[cfg(target_arch = "x86_64")]
mod number;

/// The tag of `data` under the one-time key r || s; r is clamped here.
pub fn tag(key: &[u8; 32], data: &[u8]) -> [u8; 16] {
    #[cfg(target_arch = "x86_64")]
    if data.len() >= ifma::WORTHWHILE && ifma::is_available() {
        return ifma::tag(key, data);
    }
    portable(key, data)
}

/// The same by the crate `poly1305` alone, for tests and benchmarks.
pub fn portable(key: &[u8; 32], data: &[u8]) -> [u8; 16] {
    use poly1305::Poly1305;
    use poly1305::universal_hash::KeyInit;
    Poly1305::new(&(*key).into()).compute_unpadded(data).into()
}

#[cfg(test)]
mod tests;
