//! What every storage adapter must do, as one suite that runs against any of them.
//!
//! Invariants: [`conformance`] wants an empty, created location, and leaves it with no objects.
//!
//! Not here: what only one adapter can do (its own tests), and faults of the network.

use std::slice;

use bytes::Bytes;
use windlass_engine::store::{Backend, Existing, Failure, Key, Listed, Range, StoreError};

/// How keys of a location look, since not every layout takes every name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// `data/<64 hex>`, `snapshots/<64 hex>`.
    Typed,
    /// `p<32 hex>`, `q<32 hex>`.
    Flat,
}

/// What becomes of an object when other content is put under its name. No caller relies on it: names
/// stand for their content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It stays, and the put fails.
    Kept,
    /// It is replaced, and whoever reads meanwhile may see a part of it: the server has no way to
    /// avoid either.
    Replaced,
}

impl Naming {
    fn prefixes(self) -> [&'static str; 2] {
        match self {
            Self::Typed => ["data/", "snapshots/"],
            Self::Flat => ["p", "q"],
        }
    }

    /// A key under the first or second prefix; `number` is its first byte.
    fn key(self, kind: usize, number: u8) -> Key {
        let digits = if self == Self::Typed { 62 } else { 30 };
        Key::new(format!("{}{number:02x}{}", self.prefixes()[kind], "c".repeat(digits)))
    }

    fn missing(self) -> Key {
        self.key(0, 255)
    }
}

/// Puts an object whole.
pub async fn put(
    store: &dyn Backend,
    key: &Key,
    bytes: &[u8],
    existing: Existing,
) -> Result<(), StoreError> {
    let mut draft = store.draft(bytes.len() as u64)?;
    draft.append(bytes)?;
    draft.commit(key, existing).await
}

/// Every key under `prefix` with its size, sorted.
pub async fn listed(store: &dyn Backend, prefix: &str) -> Result<Vec<Listed>, StoreError> {
    let mut rows = Vec::new();
    store.list(prefix, &mut |row| rows.push(row)).await?;
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(rows)
}

/// Runs the suite.
///
/// # Panics
/// Where the store does not conform.
pub async fn conformance(store: &dyn Backend, naming: Naming) {
    conformance_where(store, naming, Taken::Kept).await;
}

/// Runs the suite where names that are taken are treated so.
///
/// # Panics
/// Where the store does not conform.
pub async fn conformance_where(store: &dyn Backend, naming: Naming, taken: Taken) {
    empty(store, naming).await;
    ranges(store, naming).await;
    listings(store, naming).await;
    large_objects(store, naming).await;
    existing_objects(store, naming, taken).await;
    dropped_drafts(store, naming).await;
    concurrent_commits(store, naming, taken).await;
    assert_eq!(keys(store, "").await, [], "the suite cleans up");
}

/// Runs the part of the suite for a location that does not exist, then creates it.
///
/// # Panics
/// Where the store does not conform.
pub async fn absent_location(store: &dyn Backend, naming: Naming) {
    let key = naming.missing();
    check_failure(store.list("", &mut |_| ()).await, Failure::NotFound);
    check_failure(store.stat(&key).await, Failure::NotFound);
    check_failure(store.read(&key, Range::All).await, Failure::NotFound);
    check_failure(put(store, &key, b"x", Existing::Keep).await, Failure::NotFound);
    check_failure(put(store, &key, &[1; 1 << 20], Existing::Keep).await, Failure::NotFound);
    check_failure(store.list("", &mut |_| ()).await, Failure::NotFound);
    store.create().await.expect("created");
    assert_eq!(keys(store, "").await, []);
    put(store, &key, b"x", Existing::Keep).await.expect("put");
    store.create().await.expect("harmless on an existing location");
    assert_eq!(keys(store, "").await, slice::from_ref(&key));
    store.delete(&key).await.expect("deleted");
}

async fn empty(store: &dyn Backend, naming: Naming) {
    let key = naming.missing();
    assert_eq!(keys(store, "").await, []);
    assert_eq!(keys(store, naming.prefixes()[0]).await, []);
    check_failure(store.stat(&key).await, Failure::NotFound);
    check_failure(store.read(&key, Range::All).await, Failure::NotFound);
    check_failure(store.read(&key, Range::Last { len: 1 }).await, Failure::NotFound);
    check_gone(store, &key).await;
}

/// Deleting what is not there: some stores do not say that there was nothing.
async fn check_gone(store: &dyn Backend, key: &Key) {
    if let Err(error) = store.delete(key).await {
        assert_eq!(error.failure, Failure::NotFound, "{error}");
    }
    check_failure(store.stat(key).await, Failure::NotFound);
}

async fn ranges(store: &dyn Backend, naming: Naming) {
    let key = naming.key(0, 1);
    put(store, &key, b"0123456789", Existing::Keep).await.expect("put");
    let read = async |range| store.read(&key, range).await;
    assert_eq!(read(Range::All).await.expect("read"), "0123456789");
    for (start, len, want) in
        [(0, 10, "0123456789"), (3, 4, "3456"), (9, 1, "9"), (4, 0, ""), (10, 0, "")]
    {
        assert_eq!(read(Range::At { start, len }).await.expect("read"), want);
    }
    for (len, want) in [(1, "9"), (10, "0123456789"), (11, "0123456789"), (0, "")] {
        assert_eq!(read(Range::Last { len }).await.expect("read"), want);
    }
    for (start, len) in [(0, 11), (9, 2), (10, 1), (100, 1), (u64::MAX, 1), (1, u64::MAX)] {
        check_failure(read(Range::At { start, len }).await, Failure::Short);
    }
    store.delete(&key).await.expect("deleted");
    check_gone(store, &key).await;

    put(store, &key, b"", Existing::Keep).await.expect("an empty object is one");
    assert_eq!(read(Range::All).await.expect("read"), "");
    assert_eq!(read(Range::Last { len: 5 }).await.expect("read"), "");
    store.delete(&key).await.expect("deleted");
}

async fn listings(store: &dyn Backend, naming: Naming) {
    let [first, second] = naming.prefixes();
    for number in (0..=255).rev() {
        put(store, &naming.key(0, number), &[number; 3], Existing::Keep).await.expect("put");
    }
    put(store, &naming.key(1, 7), b"root", Existing::Keep).await.expect("put");

    let rows = listed(store, first).await.expect("listed");
    let want: Vec<Key> = (0..=255).map(|number| naming.key(0, number)).collect();
    assert_eq!(rows.iter().map(|row| row.key.clone()).collect::<Vec<_>>(), want);
    assert!(rows.iter().all(|row| row.stored_bytes == 3));
    assert_eq!(keys(store, second).await, [naming.key(1, 7)]);
    assert_eq!(listed(store, "").await.expect("listed").len(), 257);
    let key = naming.key(0, 0x4f);
    assert_eq!(keys(store, key.as_str()).await, slice::from_ref(&key));
    assert_eq!(keys(store, &key.as_str()[..first.len() + 2]).await, slice::from_ref(&key));
    assert_eq!(keys(store, &key.as_str()[..first.len() + 1]).await.len(), 16);
    assert_eq!(keys(store, "nothing begins so").await, []);

    let row = store.stat(&key).await.expect("stat");
    assert_eq!(rows.get(0x4f), Some(&row), "stat and list agree on size and time");
    for row in listed(store, "").await.expect("listed") {
        store.delete(&row.key).await.expect("deleted");
    }
}

/// Larger than whatever an adapter gathers in memory, in uneven pieces.
async fn large_objects(store: &dyn Backend, naming: Naming) {
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
    let mut draft = store.draft(bytes.len() as u64).expect("draft");
    for piece in bytes.chunks(70_001) {
        draft.append(piece).expect("appended");
    }
    assert!(draft.read_back().expect("read back") == bytes, "a draft gives back what went in");
    draft.append(b"tail").expect("appended after reading back");
    let key = naming.key(0, 2);
    check_failure(store.stat(&key).await, Failure::NotFound);
    draft.commit(&key, Existing::Keep).await.expect("committed");
    let whole = store.read(&key, Range::All).await.expect("read");
    assert!(whole[..bytes.len()] == bytes && whole[bytes.len()..] == *b"tail");
    let part = store.read(&key, Range::At { start: 1_234_567, len: 1_000_000 }).await;
    assert!(part.expect("read") == bytes[1_234_567..2_234_567]);
    store.delete(&key).await.expect("deleted");
}

async fn existing_objects(store: &dyn Backend, naming: Naming, taken: Taken) {
    for size in [5, 1_000_000] {
        let key = naming.key(1, 3);
        let (old, new) = (vec![1; size], vec![2; size]);
        put(store, &key, &old, Existing::Keep).await.expect("put");
        put(store, &key, &old, Existing::Keep).await.expect("the same again is stored");
        if taken == Taken::Kept {
            check_failure(put(store, &key, &new, Existing::Keep).await, Failure::Permanent);
            check_failure(put(store, &key, &old[1..], Existing::Keep).await, Failure::Permanent);
        }
        assert!(store.read(&key, Range::All).await.expect("read") == old);
        put(store, &key, &new, Existing::Replace).await.expect("replaced");
        assert!(store.read(&key, Range::All).await.expect("read") == new);
        assert_eq!(keys(store, "").await, slice::from_ref(&key));
        store.delete(&key).await.expect("deleted");
    }
}

async fn dropped_drafts(store: &dyn Backend, _naming: Naming) {
    for size in [10, 2_000_000] {
        let mut draft = store.draft(size).expect("draft");
        draft.append(&vec![7; usize::try_from(size).expect("small")]).expect("appended");
        assert_eq!(keys(store, "").await, [], "a draft is not visible");
        drop(draft);
        assert_eq!(keys(store, "").await, []);
    }
}

async fn concurrent_commits(store: &dyn Backend, naming: Naming, taken: Taken) {
    let key = naming.key(0, 9);
    for size in [100, 600_000] {
        let bytes = vec![5; size];
        let (one, two, three, four) = tokio::join!(
            put(store, &key, &bytes, Existing::Keep),
            put(store, &key, &bytes, Existing::Keep),
            put(store, &key, &bytes, Existing::Keep),
            async {
                match taken {
                    Taken::Kept => read_while_written(store, &key, size).await.map(drop),
                    Taken::Replaced => Ok(()),
                }
            },
        );
        one.and(two).and(three).expect("all of them stored it");
        four.expect("a reader sees all or nothing");
        assert!(store.read(&key, Range::All).await.expect("read") == bytes);
        assert_eq!(keys(store, "").await, slice::from_ref(&key));
        store.delete(&key).await.expect("deleted");
    }
}

async fn read_while_written(
    store: &dyn Backend,
    key: &Key,
    size: usize,
) -> Result<Bytes, StoreError> {
    loop {
        match store.read(key, Range::All).await {
            Ok(bytes) => {
                assert_eq!(bytes.len(), size, "a commit is atomic");
                return Ok(bytes);
            }
            Err(error) if error.failure == Failure::NotFound => tokio::task::yield_now().await,
            Err(error) => return Err(error),
        }
    }
}

async fn keys(store: &dyn Backend, prefix: &str) -> Vec<Key> {
    let rows = listed(store, prefix).await.expect("listed");
    rows.into_iter().map(|row| row.key).collect()
}

/// Asserts the class of a failure.
///
/// # Panics
/// On success, and on a failure of another class.
pub fn check_failure<T>(result: Result<T, StoreError>, failure: Failure) {
    match result {
        Ok(_) => panic!("expected {failure:?}, and it worked"),
        Err(error) => assert_eq!(error.failure, failure, "{error}"),
    }
}
