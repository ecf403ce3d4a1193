//! Codecs of the restic and kopia repository formats: bytes to types and back.
//!
//! Purpose: everything Windlass knows about bytes at rest, and nothing else.
//!
//! Invariants
//! - No I/O, clock, randomness, environment or threads of its own: nonces and times are arguments,
//!   reads that need more bytes answer [`step::Step::Need`].
//! - Nothing read from a store panics, overflows or allocates without a named limit.
//! - [`restic`] and [`kopia`] are siblings in their own vocabulary and never import each other.
//!
//! Not here: which bytes to write when (engine `protocol`), neutral nouns (engine `model`).

#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used, clippy::panic)
)]

pub mod cursor;
pub mod cut;
pub mod damage;
pub mod go_json;
pub mod id;
pub mod kopia;
pub mod restic;
pub mod secret;
pub mod step;
pub mod time;
