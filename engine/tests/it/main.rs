//! Behaviour of the engine, through its public surface.

mod backup;
mod filter;
mod source;
mod store;
