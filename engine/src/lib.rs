//! Operations on backup repositories in any store.

pub mod budget;
pub mod store;
