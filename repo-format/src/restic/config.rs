//! `config`: which repository this is and how it cuts.
//!
//! ```text
//! {"version":2,"id":"<64 hex>","chunker_polynomial":"<hex>"}
//! ```
//!
//! Sealed but never compressed, also in version 2. Checked against `internal/restic/config.go`.
//!
//! Invariants
//! - Decodes exactly if version is 1 or 2, the id 64 hex digits, the polynomial irreducible.
//! - Keys restic does not know are kept in order, escaped as Go does, and encode behind its own:
//!   rustic has several, and [`Chunker`] is one of ours. restic ignores them and drops them when it
//!   rewrites the config.

use super::RepositoryId;
use crate::{
    cut::rabin::Polynomial,
    damage::Damage,
    go_json::{Object, push_compact, push_hex, read::Reader},
};

/// The version of the repository format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// Without compression.
    V1,
    /// With it.
    V2,
}

impl Version {
    /// The number in the config.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}

/// A decoded config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Format version.
    pub version: Version,
    /// Random id of the repository.
    pub id: RepositoryId,
    /// What files are cut with, unless [`Config::chunker`] says otherwise.
    pub polynomial: Polynomial,
    /// Every other key with its JSON, in order.
    pub extra: Vec<(String, String)>,
}

/// How rustic cuts, where its config says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RusticChunker {
    /// With the polynomial, as restic does, possibly between other sizes.
    Rabin,
    /// Into pieces of `chunk_size` bytes.
    FixedSize,
}

/// Our own record of a chunker other than restic's, under the key `windlass_chunker`.
///
/// restic reads such a repository like any other and keeps cutting its own way, so data it adds
/// is not shared with ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunker {
    /// Which algorithm, for example `fastcdc-v2020`.
    pub name: String,
    /// Fewest bytes of a chunk that is not the last of its file.
    pub min: u64,
    /// Bytes aimed at.
    pub avg: u64,
    /// Most bytes of a chunk.
    pub max: u64,
}

/// Most extra keys a config may have.
pub const MAX_EXTRA: usize = 256;

const CHUNKER_KEY: &str = "windlass_chunker";
const WHAT: &str = "config";

impl Config {
    /// Reads the JSON in an opened config.
    pub fn decode(json: &[u8]) -> Result<Self, Damage> {
        let (mut version, mut id, mut polynomial) = (None, None, None);
        let mut extra = Vec::new();
        let mut reader = Reader::new(WHAT, json);
        reader.object(|reader, key| {
            match key {
                "version" => version = Some(reader.u64()?),
                "id" => id = Some(RepositoryId(reader.hex()?)),
                "chunker_polynomial" => {
                    polynomial = Some(Polynomial::from_hex(&reader.string()?)?);
                }
                _ if extra.len() == MAX_EXTRA => {
                    return Err(Damage::OverLimit { what: "config keys", max: 256 });
                }
                _ => extra.push((key.to_owned(), reader.compact_value()?)),
            }
            Ok(())
        })?;
        reader.finish()?;
        let version = match version {
            Some(1) => Version::V1,
            Some(2) => Version::V2,
            _ => return Err(Damage::Unsupported { what: "repository version" }),
        };
        let id = id.ok_or(Damage::Invalid { what: "repository id" })?;
        let polynomial = polynomial.ok_or(Damage::Invalid { what: "chunker polynomial" })?;
        Ok(Self { version, id, polynomial, extra })
    }

    /// Writes the JSON to be sealed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut object = Object::open(&mut out);
        object.u64("version", self.version.number());
        push_hex(&self.id.0, object.key("id"));
        object.string("chunker_polynomial", self.polynomial.to_string());
        for (key, raw) in &self.extra {
            push_compact(raw.as_bytes(), object.key(key));
        }
        object.close();
        out
    }

    /// The JSON of an extra key.
    #[must_use]
    pub fn extra(&self, key: &str) -> Option<&str> {
        self.extra.iter().rfind(|(name, _)| name == key).map(|(_, raw)| raw.as_str())
    }

    /// Our own chunker record, if there is one.
    pub fn chunker(&self) -> Result<Option<Chunker>, Damage> {
        let Some(raw) = self.extra(CHUNKER_KEY) else { return Ok(None) };
        let mut chunker = Chunker { name: String::new(), min: 0, avg: 0, max: 0 };
        Reader::new("chunker record", raw.as_bytes()).object(|reader, key| {
            match key {
                "name" => chunker.name = reader.text()?,
                "min" => chunker.min = reader.u64()?,
                "avg" => chunker.avg = reader.u64()?,
                "max" => chunker.max = reader.u64()?,
                _ => reader.skip_value()?,
            }
            Ok(())
        })?;
        let ordered = 0 < chunker.min && chunker.min <= chunker.avg && chunker.avg <= chunker.max;
        // A blob's length is a 32-bit number in packs and indexes.
        if chunker.name.is_empty() || !ordered || chunker.max > u64::from(u32::MAX) {
            return Err(Damage::Invalid { what: "chunker record" });
        }
        Ok(Some(chunker))
    }

    /// Sets or removes our own chunker record.
    pub fn set_chunker(&mut self, chunker: Option<&Chunker>) {
        self.extra.retain(|(key, _)| key != CHUNKER_KEY);
        if let Some(chunker) = chunker {
            let mut raw = Vec::new();
            let mut object = Object::open(&mut raw);
            object.string("name", &chunker.name);
            object.u64("min", chunker.min);
            object.u64("avg", chunker.avg);
            object.u64("max", chunker.max);
            object.close();
            let raw = String::from_utf8_lossy(&raw).into_owned();
            self.extra.push((CHUNKER_KEY.to_owned(), raw));
        }
    }

    /// How rustic was told to cut; nothing if its config does not say.
    pub fn rustic_chunker(&self) -> Result<Option<RusticChunker>, Damage> {
        let Some(raw) = self.extra("chunker") else { return Ok(None) };
        match Reader::new(WHAT, raw.as_bytes()).text()?.as_str() {
            "" => Ok(None),
            "Rabin" => Ok(Some(RusticChunker::Rabin)),
            "FixedSize" => Ok(Some(RusticChunker::FixedSize)),
            _ => Err(Damage::Unsupported { what: "rustic chunker" }),
        }
    }

    /// A number among rustic's keys, such as `chunk_size` or `chunk_min_size`.
    pub fn rustic_number(&self, key: &str) -> Result<Option<u64>, Damage> {
        match self.extra(key) {
            None | Some("null") => Ok(None),
            Some(raw) => Reader::new(WHAT, raw.as_bytes()).u64().map(Some),
        }
    }

    /// A flag among rustic's keys, such as `is_hot` or `append_only`; false if it is not there.
    pub fn rustic_flag(&self, key: &str) -> Result<bool, Damage> {
        self.extra(key).map_or(Ok(false), |raw| Reader::new(WHAT, raw.as_bytes()).bool())
    }
}
