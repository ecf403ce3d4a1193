//! Key files: the master key sealed under a password.
//!
//! ```text
//! {"created":…,"username":…,"hostname":…,"kdf":"scrypt","N":…,"r":…,"p":…,"salt":…,"data":…}
//! ```
//!
//! Plain JSON, neither sealed nor compressed; its SHA-256 is its name. Checked against
//! `internal/repository/key.go` and `crypto/kdf.go`.
//!
//! Invariants
//! - Cost parameters beyond the limits named here are refused before memory is taken: a key file
//!   is the one thing read before anything is authenticated.
//! - A password that does not fit shows as [`Damage::BadTag`] and nothing else does.

use super::envelope::{self, MasterKey};
use crate::{
    cursor::count,
    damage::Damage,
    go_json::{Object, push_base64, read::Reader},
    secret::{Password, Secret},
    time::Timestamp,
};

/// Bytes of salt in every key file.
pub const SALT: usize = 64;
/// Most bytes one lane of the derivation may take: 128 × N × r.
pub const MAX_LANE_BYTES: u64 = 1 << 30;
/// Most lanes of a derivation.
pub const MAX_LANES: u32 = 64;
/// Most bytes of the sealed master key; it has about 200.
pub const MAX_DATA: usize = 4096;

const WHAT: &str = "key file";

/// What the scrypt of one key file costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfParams {
    /// CPU and memory cost, a power of two.
    pub n: u64,
    /// Block size.
    pub r: u32,
    /// Lanes.
    pub p: u32,
    /// The salt.
    pub salt: [u8; SALT],
}

impl KdfParams {
    /// Bytes one lane takes while it derives.
    pub fn lane_bytes(&self) -> Result<u64, Damage> {
        let over = Damage::OverLimit { what: "scrypt memory", max: MAX_LANE_BYTES };
        let bytes = self.n.checked_mul(128).and_then(|b| b.checked_mul(u64::from(self.r)));
        bytes.filter(|bytes| *bytes <= MAX_LANE_BYTES).ok_or(over)
    }

    /// Refuses parameters that are not scrypt's or cost too much.
    pub fn check(&self) -> Result<(), Damage> {
        if !self.n.is_power_of_two() || self.n < 2 || self.r == 0 || self.p == 0 {
            return Err(Damage::Invalid { what: "scrypt parameters" });
        }
        if self.p > MAX_LANES {
            return Err(Damage::OverLimit { what: "scrypt lanes", max: u64::from(MAX_LANES) });
        }
        self.lane_bytes().map(drop)
    }
}

/// Derives the key that opens a key file. Slow on purpose; lanes run in the current rayon pool.
pub fn derive(params: &KdfParams, password: &Password) -> Result<Secret<64>, Damage> {
    params.check()?;
    let invalid = Damage::Invalid { what: "scrypt parameters" };
    let log_n = u8::try_from(params.n.ilog2()).map_err(|_| invalid)?;
    let scrypt = scrypt::Params::new(log_n, params.r, params.p).map_err(|_| invalid)?;
    let mut derived = zeroize::Zeroizing::new([0; 64]);
    scrypt::scrypt(password.expose(), &params.salt, &scrypt, derived.as_mut_slice())
        .map_err(|_| invalid)?;
    Ok(Secret::new(*derived))
}

/// A decoded key file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    /// When it was made.
    pub created: Timestamp,
    /// Who made it.
    pub username: String,
    /// Where it was made.
    pub hostname: String,
    /// What opening it costs.
    pub kdf: KdfParams,
    /// The sealed JSON of the master key.
    pub data: Vec<u8>,
}

impl KeyFile {
    /// Reads a key file.
    pub fn decode(json: &[u8]) -> Result<Self, Damage> {
        let mut key = Self {
            created: Timestamp::ZERO,
            username: String::new(),
            hostname: String::new(),
            kdf: KdfParams { n: 0, r: 0, p: 0, salt: [0; SALT] },
            data: Vec::new(),
        };
        let (mut kdf, mut salt) = (String::new(), Vec::new());
        let mut reader = Reader::new(WHAT, json);
        reader.object(|reader, field| {
            match field {
                "created" => key.created = reader.timestamp()?,
                "username" => key.username = reader.text()?,
                "hostname" => key.hostname = reader.text()?,
                "kdf" => kdf = reader.text()?,
                "N" => key.kdf.n = reader.u64()?,
                "r" => key.kdf.r = reader.u32()?,
                "p" => key.kdf.p = reader.u32()?,
                "salt" => salt = reader.base64()?.unwrap_or_default(),
                "data" => key.data = reader.base64()?.unwrap_or_default(),
                _ => reader.skip_value()?,
            }
            Ok(())
        })?;
        reader.finish()?;
        if kdf != "scrypt" {
            return Err(Damage::Unsupported { what: "key derivation function" });
        }
        key.kdf.salt = salt.try_into().map_err(|_| Damage::Invalid { what: "length of a salt" })?;
        if key.data.len() > MAX_DATA {
            return Err(Damage::OverLimit { what: WHAT, max: count(MAX_DATA) });
        }
        key.kdf.check()?;
        Ok(key)
    }

    /// Writes the file's bytes, whose SHA-256 names it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        let mut object = Object::open(&mut out);
        object.timestamp("created", &self.created);
        object.string("username", &self.username);
        object.string("hostname", &self.hostname);
        object.string("kdf", "scrypt");
        object.u64("N", self.kdf.n);
        object.u64("r", self.kdf.r);
        object.u64("p", self.kdf.p);
        push_base64(&self.kdf.salt, object.key("salt"));
        push_base64(&self.data, object.key("data"));
        object.close();
        out
    }

    /// Opens the master key with what [`derive()`] gave for this file's parameters.
    pub fn unlock(&self, derived: &Secret<64>) -> Result<MasterKey, Damage> {
        let user = MasterKey::from_bytes(derived.expose())?;
        let mut json = zeroize::Zeroizing::new(self.data.clone());
        let json = envelope::open_in_place(&user, WHAT, &mut json)?;
        MasterKey::from_json(json)
    }

    /// Makes the key file that opens `master` with the password `derived` came from.
    pub fn seal(
        created: Timestamp,
        username: String,
        hostname: String,
        kdf: KdfParams,
        derived: &Secret<64>,
        master: &MasterKey,
        nonce: &[u8; 16],
    ) -> Result<Self, Damage> {
        let user = MasterKey::from_bytes(derived.expose())?;
        let mut data = Vec::new();
        envelope::seal(&user, nonce, &master.to_json(), &mut data);
        Ok(Self { created, username, hostname, kdf, data })
    }
}
