//! Behaviour of the engine, through its public surface.

mod source;
mod store;
