//! Behaviour of the codecs, seen through their public functions.

mod kopia;
mod restic;
