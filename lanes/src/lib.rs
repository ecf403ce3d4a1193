//! Exact kernels that work on several streams at once.
//!
//! Purpose: the few loops in which Windlass spends its time, on the widest instructions the
//! processor has.
//!
//! Invariants
//! - A kernel never changes a result: each has a scalar twin, and the tests compare the two over
//!   everything that can differ. Which one runs is decided at run time.
//! - This is the only crate of the workspace with unsafe code.
//!
//! Not here: formats, threads, I/O.

pub mod aes_ctr;
pub mod buzhash;
#[cfg(target_arch = "x86_64")]
mod columns;
pub mod heap;
pub mod poly1305;
pub mod rabin;
pub mod search;
pub mod sha256;
#[cfg(test)]
mod test_data;
