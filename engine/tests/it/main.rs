//! Behaviour of the engine, through its public surface.

mod backup;
mod dialects;
mod faults;
mod filter;
mod kopia;
mod restore;
mod scene;
mod source;
mod store;
