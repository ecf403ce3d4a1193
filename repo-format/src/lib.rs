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
//!
//! A restic directory, encoded, sealed, and read back:
//!
//! ```
//! use windlass_format::{
//!     damage::Damage,
//!     restic::{
//!         envelope::{self, MasterKey},
//!         tree::{self, Mode, Node, NodeKind, Tree},
//!     },
//! };
//!
//! # fn main() -> Result<(), Damage> {
//! let mut node = Node::new(b"notes <1>.txt".to_vec(), NodeKind::File);
//! node.mode = Mode::from_st_mode(0o100_644);
//! let json = Tree { nodes: vec![node.clone()] }.encode()?;
//! // Go's JSON escapes angle brackets, and the name of the tree is the hash of these bytes.
//! assert!(json.starts_with(br#"{"nodes":[{"name":"notes \u003c1\u003e.txt","type":"file","mode":420"#));
//!
//! // Randomness comes from the caller: the master key, and a nonce that is never used twice.
//! let key = MasterKey::generate(&[7; 64]);
//! let mut sealed = Vec::new();
//! envelope::seal(&key, &[9; 16], &json, &mut sealed);
//!
//! let mut opened = Vec::new();
//! envelope::open(&key, "tree", &sealed, &mut opened)?;
//! assert_eq!(tree::decode(&opened)?.nodes, [node]);
//!
//! // One bit flipped in the store is damage, never a panic and never other data.
//! sealed[40] ^= 1;
//! assert_eq!(
//!     envelope::open(&key, "tree", &sealed, &mut opened),
//!     Err(Damage::BadTag { what: "tree" })
//! );
//! # Ok(())
//! # }
//! ```

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
