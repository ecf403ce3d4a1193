//! An empty restic repository that opens without cost.
//!
//! Invariants: the key file's derivation is the cheapest that scrypt has, so that a repository can
//! be opened a thousand times; everything else is as `init` makes it. All of it is the same in
//! every run.

use std::{fs, path::Path, time::Duration};

use sha2::{Digest, Sha256};
use windlass_engine::{
    entropy::Entropy,
    format::{
        cut::rabin::Polynomial,
        id::to_hex,
        restic::{
            RepositoryId,
            config::{Config, Version},
            envelope::{self, MasterKey},
            key::{self, KdfParams, KeyFile},
        },
        secret::Password,
        time::Timestamp,
    },
    protocol::{Access, Announcement, listener::Listener},
    store::Key,
};

/// What opens it.
pub const PASSWORD: &str = "secret";
/// The host noted with its key.
pub const HOST: &str = "host";

/// The master key of every such repository.
///
/// # Panics
/// Never: it is made from a seed.
#[must_use]
pub fn master() -> MasterKey {
    MasterKey::generate(&Entropy::seeded(7).bytes().expect("seeded"))
}

/// Its objects, with `extra` in its config.
///
/// # Panics
/// Never: all parameters are legal.
#[must_use]
pub fn objects(version: Version, extra: Vec<(String, String)>) -> Vec<(Key, Vec<u8>)> {
    objects_for(PASSWORD, version, extra)
}

fn objects_for(
    password: &str,
    version: Version,
    extra: Vec<(String, String)>,
) -> Vec<(Key, Vec<u8>)> {
    let (random, master) = (Entropy::seeded(8), master());
    let kdf = KdfParams { n: 2, r: 1, p: 1, salt: random.bytes().expect("seeded") };
    let derived = key::derive(&kdf, &Password::new(password)).expect("legal parameters");
    let nonce = random.bytes().expect("seeded");
    let (user, host) = ("user".into(), HOST.into());
    let now = Timestamp::utc(1_700_000_000, 0);
    let file = KeyFile::seal(now, user, host, kdf, &derived, &master, &nonce).expect("sealed");
    let file = file.encode();
    let config = Config {
        version,
        id: RepositoryId(random.bytes().expect("seeded")),
        polynomial: Polynomial::from_hex("3da3358b4dc173").expect("irreducible"),
        extra,
    };
    let mut sealed = Vec::new();
    let nonce = random.bytes().expect("seeded");
    envelope::seal(&master, &nonce, &config.encode(), &mut sealed);
    let name = to_hex(&<[u8; 32]>::from(Sha256::digest(&file)));
    vec![(Key::new(format!("keys/{name}")), file), (Key::new("config"), sealed)]
}

/// Writes it into a directory.
///
/// # Panics
/// Where that cannot be written.
pub fn write(at: &Path, version: Version) {
    write_for(PASSWORD, at, version);
}

/// The same for another password.
///
/// # Panics
/// Where that cannot be written.
pub fn write_for(password: &str, at: &Path, version: Version) {
    for directory in ["data", "index", "keys", "locks", "snapshots"] {
        fs::create_dir_all(at.join(directory)).expect("made");
    }
    (0..=255_u8)
        .for_each(|shard| fs::create_dir(at.join(format!("data/{shard:02x}"))).expect("made"));
    for (key, bytes) in objects_for(password, version, Vec::new()) {
        fs::write(at.join(key.as_str()), bytes).expect("written");
    }
}

/// How somebody else, on another host, says that he is at work.
#[must_use]
pub fn announcement(access: Access) -> Announcement {
    Announcement {
        access,
        hostname: "another host".into(),
        username: "somebody".into(),
        patience: Duration::ZERO,
        lineage: None,
        listener: Listener::default(),
    }
}
