//! The neutral nouns: plain data without behaviour, shaped by both formats.
//!
//! | here | restic | kopia |
//! |---|---|---|
//! | [`chunk`] | blob | content |
//! | [`pack`] | pack file | pack blob |
//! | [`object`] | list of blobs in a node | object, direct or indirect |
//! | [`directory`] | tree | directory object |
//! | [`root`] | snapshot file | snapshot manifest |
//!
//! Not here: bytes (`dialect`), order of writes (`protocol`).

pub mod chunk;
pub mod directory;
pub mod object;
pub mod pack;
pub mod root;
