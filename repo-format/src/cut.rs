//! Where a stream of file bytes is cut into chunks.
//!
//! Not here: reading the bytes, hashing the chunks, or deciding which cutter a repository uses
//! (its config or format blob says so).

pub mod rabin;
