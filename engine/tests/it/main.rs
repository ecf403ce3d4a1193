//! Behaviour of the engine, through its public surface.

mod backup;
mod dialects;
mod filter;
mod kopia;
mod restore;
mod source;
mod store;
