//! Operations on backup repositories in any store.
//!
//! Reading order: the neutral nouns ([`model`]), the store ([`store`]), the two heights of the seam
//! between the formats ([`dialect`] for bytes, [`protocol`] for order), the handle that joins them
//! ([`repository`]), and the operations ([`mod@backup`], [`restore`]), each one pipeline.
//!
//! Invariants: nothing here prints, reads the environment or keeps state outside the values it
//! returns; what an operation tells goes to a [`monitor::Monitor`], what stops it is a
//! [`cancel::Cancel`].
//!
//! A backup and its restore, with a repository in memory:
//!
//! ```
//! use std::{fs, sync::Arc};
//!
//! use windlass_engine::{
//!     backup,
//!     cancel::Cancel,
//!     format::{restic::config::Version, secret::Password},
//!     monitor::Silent,
//!     protocol::restic::{InitOptions, OpenOptions},
//!     repository::{Environment, Place, Repository},
//!     restore,
//!     store::{Store, memory::MemoryStore},
//! };
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let work = tempfile::tempdir()?;
//! let source = work.path().join("letters");
//! fs::create_dir(&source)?;
//! fs::write(source.join("a.txt"), "Dear Alice")?;
//!
//! // `Place::local(path)` would keep it in a directory.
//! let place = Place::store(Store::new(MemoryStore::new()));
//! let password = Password::new("correct horse battery staple");
//! let environment = Environment::system();
//! let init = InitOptions {
//!     version: Version::V2,
//!     polynomial: None,
//!     fast_cdc: false,
//!     username: "alice".into(),
//!     hostname: "desk".into(),
//! };
//! Repository::init(&place, &password, &init, &environment).await?;
//!
//! let cancel = Cancel::new();
//! let open = OpenOptions::default();
//! let repository = Repository::open(&place, &password, &open, environment.clone()).await?;
//! let options = backup::Options::new(vec![source.clone()], "desk".into());
//! let report = backup::run(&repository, options, Arc::new(Silent::default()), &cancel).await?;
//! assert!(!report.is_partial());
//! assert_eq!(report.summary.files_new, 1);
//!
//! // An open repository keeps the index it has loaded; opening it again shows what others added.
//! let repository = Repository::open(&place, &password, &open, environment).await?;
//! let roots = repository.protocol().list_roots().await?;
//! let (id, root) = roots.into_iter().next().expect("one backup");
//! assert_eq!(Some(id), report.root);
//!
//! let target = work.path().join("restored");
//! let mut options = restore::Options::new(&target);
//! options.sub_path = source.to_str().expect("UTF-8").into();
//! let report =
//!     restore::run(&repository, &root?, options, Arc::new(Silent::default()), &cancel).await?;
//! assert_eq!(report.outcome(), restore::Outcome::Success);
//! assert_eq!(fs::read_to_string(target.join("a.txt"))?, "Dear Alice");
//! # Ok(())
//! # }
//! ```

pub mod backup;
pub mod browse;
pub mod budget;
pub mod cancel;
mod carry;
mod catalogue;
pub mod check;
pub mod clock;
pub mod copy;
mod deposit;
pub mod dialect;
pub mod dump;
pub mod entropy;
pub mod fault;
pub mod filter;
pub mod find;
pub mod forget;
pub mod heap;
pub mod immutability;
pub mod index;
mod mark;
pub mod model;
pub mod monitor;
pub mod owner;
mod packing;
mod process;
pub mod protocol;
pub mod reader;
pub mod reclaim;
mod records;
pub mod recover;
pub mod repair;
pub mod repository;
pub mod resources;
pub mod restore;
pub mod retention;
pub mod rewrite;
pub mod source;
#[cfg_attr(
    not(feature = "default"),
    allow(
        dead_code,
        unused_imports,
        unused_variables,
        reason = "what stores share is not used by each of them"
    )
)]
pub mod store;
pub mod target;

/// The codecs, whose passwords, times and versions appear in signatures here.
pub use windlass_format as format;

/// The examples of the README compile, too.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
