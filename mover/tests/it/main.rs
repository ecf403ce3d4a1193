//! The behaviour of the binary, seen from outside.

mod archive;
mod backup;
mod bad_input;
mod default_repository;
mod forge;
mod full_disk;
mod generate;
mod hostile;
mod interrupt;
mod json;
mod key;
mod kill;
mod kopia;
mod look;
mod options;
mod password;
mod place;
mod restic;
mod restore;
mod snapshots;
mod source;
mod stream;
mod unprivileged;
