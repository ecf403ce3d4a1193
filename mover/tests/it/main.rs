//! The behaviour of the binary, seen from outside.

mod backup;
mod bad_input;
mod default_repository;
mod generate;
mod interrupt;
mod json;
mod key;
mod look;
mod options;
mod password;
mod place;
mod restic;
mod restore;
mod snapshots;
mod stream;
