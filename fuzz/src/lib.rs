//! What is asked of every decoder of repository bytes, whatever the bytes.
//!
//! Invariants: each function here takes any bytes and comes back; it panics when a decoder does, or
//! when something decoded does not survive being encoded and decoded again. One fuzz target per
//! function; the tests below drive the same functions with damaged seeds where no fuzzer is at
//! hand, so a target that rots is noticed without one.

pub mod kopia;
pub mod restic;
pub mod time;

/// A decoder under its target's name; it answers whether the bytes were what it decodes.
pub type Decoder = (&'static str, fn(&[u8]) -> bool);

/// Every decoder, in order of name.
pub const DECODERS: &[Decoder] = &[
    ("kopia_compressed", kopia::compressed),
    ("kopia_directory", kopia::directory),
    ("kopia_epochs", kopia::epochs),
    ("kopia_format", kopia::format),
    ("kopia_format_blob", kopia::format_blob),
    ("kopia_ids", kopia::ids),
    ("kopia_index", kopia::index),
    ("kopia_list", kopia::list),
    ("kopia_manifests", kopia::manifests),
    ("kopia_pack_tail", kopia::pack_tail),
    ("kopia_shards", kopia::shards),
    ("restic_compressed", restic::compressed),
    ("restic_config", restic::config),
    ("restic_file_name", restic::file_name),
    ("restic_index", restic::index),
    ("restic_key", restic::key),
    ("restic_lock", restic::lock),
    ("restic_master_key", restic::master_key),
    ("restic_name", restic::name),
    ("restic_pack_entries", restic::pack_entries),
    ("restic_polynomial", restic::polynomial),
    ("restic_snapshot", restic::snapshot),
    ("restic_tree", restic::tree),
    ("restic_unpacked", restic::unpacked),
    ("time_rfc3339", time::rfc3339),
];

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    const ROUNDS: usize = 20_000;

    fn here() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
    }

    fn seeds(name: &str) -> Vec<Vec<u8>> {
        let files = fs::read_dir(here().join("seeds").join(name)).unwrap();
        let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        paths.sort();
        paths.iter().map(|path| fs::read(path).unwrap()).collect()
    }

    fn stems(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let mut stems: Vec<String> =
            paths.map(|path| path.file_stem().unwrap().to_str().unwrap().to_string()).collect();
        stems.sort();
        stems
    }

    /// A small generator, so that a failure can be repeated.
    struct Draw(u64);

    impl Draw {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 11) as usize % bound.max(1)
        }

        fn damage(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
            for _ in 0..=self.below(4) {
                let at = self.below(bytes.len());
                match self.below(6) {
                    _ if bytes.is_empty() => bytes.extend_from_slice(other),
                    0 => bytes[at] ^= 1 << self.below(8),
                    1 => bytes[at] = [0, 0x7f, 0x80, 0xff, b'"', b'0'][self.below(6)],
                    2 => bytes.truncate(at),
                    3 => bytes.insert(at, self.below(256) as u8),
                    4 => drop(bytes.drain(at..(at + self.below(8)).min(bytes.len()))),
                    _ => {
                        let from = self.below(other.len());
                        let to = (from + self.below(64)).min(other.len());
                        bytes.splice(at..at, other[from..to].iter().copied());
                    }
                }
            }
        }
    }

    #[test]
    fn no_decoder_panics_on_damaged_seeds() {
        for (name, decode) in DECODERS {
            let seeds = seeds(name);
            assert!(!seeds.is_empty(), "{name} has no seeds");
            for seed in &seeds {
                assert!(decode(seed), "a seed of {name} is refused");
            }
            let mut draw = Draw(0x9e37_79b9_7f4a_7c15);
            for _ in 0..ROUNDS {
                let other = &seeds[draw.below(seeds.len())];
                let mut bytes = seeds[draw.below(seeds.len())].clone();
                draw.damage(&mut bytes, other);
                let _ = decode(&bytes);
            }
        }
    }

    #[test]
    fn every_decoder_has_a_target_and_seeds() {
        let names: Vec<&str> = DECODERS.iter().map(|(name, _)| *name).collect();
        assert_eq!(stems(&here().join("fuzz_targets")), names);
        assert_eq!(stems(&here().join("seeds")), names);
        let manifest = fs::read_to_string(here().join("Cargo.toml")).unwrap();
        for name in names {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} in Cargo.toml");
            let target = fs::read_to_string(here().join(format!("fuzz_targets/{name}.rs")));
            let function = name.replacen('_', "::", 1);
            assert!(
                target.unwrap().contains(&format!("windlass_fuzz::{function}(data)")),
                "{name}"
            );
        }
    }
}
