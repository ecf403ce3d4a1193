//! Operations on backup repositories in any store.

pub mod backup;
pub mod budget;
pub mod cancel;
pub mod clock;
pub mod dialect;
pub mod entropy;
pub mod fault;
pub mod filter;
pub mod index;
pub mod model;
pub mod monitor;
pub mod owner;
pub mod protocol;
pub mod reader;
pub mod repository;
pub mod resources;
pub mod restore;
pub mod source;
pub mod store;
pub mod target;

/// The codecs, whose passwords, times and versions appear in signatures here.
pub use windlass_format as format;
