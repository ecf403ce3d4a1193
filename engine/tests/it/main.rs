//! Behaviour of the engine, through its public surface.

mod announcing;
mod backup;
mod cache;
mod change;
mod copy;
mod crash_order;
mod damage;
mod dialects;
mod faults;
mod filter;
mod interop;
mod items;
mod kopia;
mod leftover;
mod peer;
mod reclaim;
mod requests;
mod restore;
mod retention;
mod s3;
mod scale;
mod scene;
mod source;
mod store;
mod targets;
mod two_writers;
