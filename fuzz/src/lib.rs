//! What is asked of every decoder of repository bytes, whatever the bytes.
//!
//! Invariants: each function here takes any bytes and returns; it panics when a decoder does, or
//! when something decoded does not survive being encoded and decoded again. One fuzz target per
//! function; the tests below drive the same functions with damaged seeds where no fuzzer is at
//! hand, so a target that rots is noticed without one.

use windlass_format::cut::rabin::Polynomial;
use windlass_format::time::Timestamp;

/// A decoder under its target's name.
pub type Decoder = (&'static str, fn(&[u8]));

/// Every decoder.
pub const DECODERS: &[Decoder] =
    &[("restic_polynomial", restic_polynomial), ("rfc3339_time", rfc3339_time)];

/// The chunker polynomial in a restic config.
pub fn restic_polynomial(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(polynomial) = Polynomial::from_hex(text) else { return };
    let again = Polynomial::from_hex(&polynomial.to_string());
    assert!(again == Ok(polynomial), "{polynomial} does not survive");
}

/// A time in the JSON of either format.
pub fn rfc3339_time(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some(time) = Timestamp::parse_rfc3339(text) else { return };
    assert!(time.nanos < 1_000_000_000 && time.offset_seconds.abs() < 86_400);
    assert!(time.same_instant(&Timestamp::utc(time.seconds, time.nanos)));
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
            seeds.iter().for_each(|seed| decode(seed));
            let mut draw = Draw(0x9e37_79b9_7f4a_7c15);
            for _ in 0..ROUNDS {
                let other = &seeds[draw.below(seeds.len())];
                let mut bytes = seeds[draw.below(seeds.len())].clone();
                draw.damage(&mut bytes, other);
                decode(&bytes);
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
            assert!(target.unwrap().contains(&format!("windlass_fuzz::{name}(data)")), "{name}");
        }
    }
}
