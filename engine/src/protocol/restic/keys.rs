//! Passwords: which key file opens a repository, adding and removing them.
//!
//! Invariants
//! - The hinted key is tried first, then at most `MOST_KEYS` in the order of the listing; a key
//!   that does not open is passed over, one that cannot be read is an error.
//! - The derivation runs on the worker pool, its lanes side by side, never on the runtime.
//! - The key in use is never removed.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use windlass_format::{
    damage::Damage,
    restic::{
        KeyId,
        envelope::MasterKey,
        key::{self, KdfParams, KeyFile},
        path::{FileKind, FileName},
    },
    secret::Password,
};

use super::key_of;
use crate::{
    entropy::Entropy,
    fault::Fault,
    protocol::keys::{ListedKey, MOST_KEYS, OpenError, Owner},
    store::{Existing, Range, Store},
};

/// The cost of a new key: what restic's calibration arrives at on a machine of these years, half
/// a second of one core and 32 MiB a lane.
const NEW_KEY_COST: (u64, u32, u32) = (1 << 15, 8, 6);

/// The name of a key file.
pub(super) type KeyName = KeyId;

/// A key file and what is in it.
pub(super) struct Unlocked {
    pub(super) name: KeyName,
    /// As it is stored.
    pub(super) sealed: Bytes,
    pub(super) master: MasterKey,
}

/// Finds the key file that opens with `password`.
pub(super) async fn unlock(
    store: &Store,
    password: &Password,
    hint: Option<&str>,
    pool: &Arc<rayon::ThreadPool>,
) -> Result<Unlocked, OpenError> {
    let mut names = names(store).await?;
    if let Some(hint) = hint {
        names.sort_by_key(|name| !name.to_hex().starts_with(hint));
    }
    let many = names.len() > MOST_KEYS;
    for name in names.into_iter().take(MOST_KEYS) {
        let sealed = read_sealed(store, name).await?;
        match open(decode(name, &sealed)?, password, pool).await {
            Ok(master) => return Ok(Unlocked { name, sealed, master }),
            Err(Damage::BadTag { .. }) => {}
            Err(damage) => return Err(Fault::damaged(format!("key {name}"), damage).into()),
        }
    }
    let location = store.location();
    Err(if many { OpenError::TooManyKeys } else { OpenError::WrongPassword { location } })
}

/// The master key in the copy of a key file, while the store is asked whether it still has that.
/// Nothing where it has not, or where `password` does not open it.
pub(super) async fn unlock_copy(
    store: &Store,
    name: KeyName,
    copy: &[u8],
    password: &Password,
    pool: &Arc<rayon::ThreadPool>,
) -> Option<MasterKey> {
    let opened = open(decode(name, copy).ok()?, password, pool);
    let (stored, master) = tokio::join!(read(store, name), opened);
    stored.ok().and(master.ok())
}

/// Stores a key file that opens `master` with `password`.
pub(super) async fn add(
    store: &Store,
    password: &Password,
    master: &MasterKey,
    owner: &Owner,
    pool: &Arc<rayon::ThreadPool>,
    entropy: &Entropy,
) -> Result<KeyName, OpenError> {
    let (n, r, p) = NEW_KEY_COST;
    let kdf = KdfParams { n, r, p, salt: entropy.bytes().map_err(Fault::from)? };
    let derived = derive(kdf, password, pool).await.map_err(new_key_damaged)?;
    let nonce = entropy.bytes().map_err(Fault::from)?;
    let Owner { username, hostname, created } = owner.clone();
    let file = KeyFile::seal(created, username, hostname, kdf, &derived, master, &nonce)
        .map_err(new_key_damaged)?;
    let json = file.encode();
    let read_back = KeyFile::decode(&json).and_then(|file| file.unlock(&derived));
    if read_back.map(|key| key.to_json()).ok().as_deref() != Some(&*master.to_json()) {
        return Err(Fault::VerifyFailed { what: "a new key".into() }.into());
    }
    let name = KeyId(Sha256::digest(&json).into());
    let stored = store
        .put(&key_of(FileName::Key(name)), &json, Existing::Keep, name)
        .await
        .map_err(Fault::from)?;
    Ok(stored.into_inner())
}

/// The keys of a repository, oldest first.
pub(super) async fn list(store: &Store) -> Result<Vec<ListedKey>, OpenError> {
    let mut keys = Vec::new();
    for name in names(store).await? {
        let file = read(store, name).await?;
        let owner =
            Owner { username: file.username, hostname: file.hostname, created: file.created };
        keys.push(ListedKey { name: name.to_hex(), owner });
    }
    keys.sort_by_key(|key| key.owner.created.instant());
    Ok(keys)
}

/// Removes the one key whose name begins with `prefix`.
pub(super) async fn remove(
    store: &Store,
    prefix: &str,
    in_use: &str,
) -> Result<KeyName, OpenError> {
    let mut matching = names(store).await?;
    matching.retain(|name| name.to_hex().starts_with(prefix));
    match matching.as_slice() {
        [name] if name.to_hex() == in_use => Err(OpenError::KeyInUse),
        [name] => {
            store.delete(&key_of(FileName::Key(*name))).await.map_err(Fault::from)?;
            Ok(*name)
        }
        _ => Err(OpenError::NoSuchKey { prefix: prefix.into() }),
    }
}

async fn names(store: &Store) -> Result<Vec<KeyName>, OpenError> {
    let mut names = Vec::new();
    let mut collect = |row: crate::store::Listed| {
        if let Some(FileName::Key(name)) = FileName::parse(row.key.as_str()) {
            names.push(name);
        }
    };
    store.list(FileKind::Key.directory(), &mut collect).await.map_err(Fault::from)?;
    names.sort_unstable();
    Ok(names)
}

async fn read(store: &Store, name: KeyName) -> Result<KeyFile, OpenError> {
    Ok(decode(name, &read_sealed(store, name).await?)?)
}

async fn read_sealed(store: &Store, name: KeyName) -> Result<Bytes, OpenError> {
    Ok(store.read(&key_of(FileName::Key(name)), Range::All).await.map_err(Fault::from)?)
}

/// A key file, proved to be what its name says.
fn decode(name: KeyName, json: &[u8]) -> Result<KeyFile, Fault> {
    let damaged = |damage| Fault::damaged(format!("key {name}"), damage);
    if name.0 != <[u8; 32]>::from(Sha256::digest(json)) {
        return Err(damaged(Damage::BadHash { what: "key file" }));
    }
    KeyFile::decode(json).map_err(damaged)
}

async fn open(
    file: KeyFile,
    password: &Password,
    pool: &Arc<rayon::ThreadPool>,
) -> Result<MasterKey, Damage> {
    let derived = derive(file.kdf, password, pool).await?;
    file.unlock(&derived)
}

/// Runs the derivation on the worker pool.
async fn derive(
    kdf: KdfParams,
    password: &Password,
    pool: &Arc<rayon::ThreadPool>,
) -> Result<windlass_format::secret::Secret<64>, Damage> {
    let (password, pool) = (password.clone(), Arc::clone(pool));
    let derived =
        tokio::task::spawn_blocking(move || pool.install(|| key::derive(&kdf, &password)));
    derived.await.unwrap_or(Err(Damage::Invalid { what: "key derivation that panicked" }))
}

fn new_key_damaged(damage: Damage) -> OpenError {
    Fault::damaged("a new key", damage).into()
}
