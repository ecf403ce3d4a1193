//! Behaviour of the engine, through its public surface.

mod filter;
mod source;
mod store;
