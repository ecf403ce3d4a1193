//! Operations over stores that fail, break off and lie, and over damage: nothing that could be read
//! is lost by it, and the next run works.
//!
//! Invariants: each round is a function of its seed, which a failure names.
//!
//! `cargo xtask torture` runs these for as long as one likes, with other seeds.

mod crash;
mod faults;
mod flips;
mod stale;
mod work;

/// Rounds at once: they wait for locks to settle more than they work.
const AT_ONCE: usize = 6;
