//! The kopia repository format: format versions 1 to 3, read side.
//!
//! Reading order: names ([`id`], [`shards`]), the way in ([`format_blob`], [`blobcfg`]), the
//! algorithms it names ([`hash`], [`cipher`], [`compress`], together a [`crypter`]), where contents
//! are ([`epoch`], [`index`], [`pack`]), the contents themselves ([`content`]) and what is in them
//! ([`object`], [`dir`], [`manifest`], [`snapshot`]).
//!
//! Invariants
//! - Kopia's own words: a *blob* is a stored file, a *content* a sealed piece of one, an *object*
//!   one or more contents in a row.
//! - Every content that [`content::open`] returns hashes to the id it was asked for.
//!
//! Not here: Reed-Solomon error correction, s2 and lz4 compression, BLAKE3 and SHA-3 hashes. Each
//! is refused by name.

pub mod blobcfg;
pub mod cipher;
pub mod compress;
pub mod content;
pub mod crypter;
pub mod dir;
pub mod epoch;
pub mod format;
pub mod format_blob;
pub mod hash;
pub mod id;
pub mod index;
mod index_v1;
mod index_v2;
mod json;
pub mod manifest;
pub mod object;
pub mod pack;
pub mod refusal;
pub mod shards;
pub mod snapshot;
