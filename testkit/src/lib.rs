//! Test doubles and generators: what tests of several crates need, kept out of production code.
//!
//! Purpose: storage adapters are held to one suite, faults are made on purpose, and random trees of
//! files can be compared.
//!
//! Invariants: everything random is a function of a seed.

pub mod b2;
pub mod bare;
pub mod compare;
pub mod conformance;
pub mod drive;
pub mod faulty;
pub mod forest;
pub mod hooked;
mod loopback;
pub mod recording;
pub mod rounds;
pub mod s3;
pub mod segments;
pub mod server;
pub mod stale;
pub mod swift;
pub mod toxic;
pub mod tree;
mod wire;
