//! Stores that record, fail and lag.

use std::time::Duration;

use windlass_engine::store::{
    Backend, Existing, Failure, Key, Range, StoreError, memory::MemoryStore,
};
use windlass_testkit::{
    conformance::{Naming, check_failure, conformance, listed, put},
    faulty::{Fault, FaultyStore},
    recording::{Action, RecordingStore, replay},
    stale::StaleListing,
};

fn check(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(work);
}

fn key(name: &str) -> Key {
    Key::new(name)
}

async fn keep(store: &dyn Backend, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    put(store, &key(name), bytes, Existing::Keep).await
}

#[test]
fn the_doubles_conform_while_nothing_is_wrong() {
    check(async {
        conformance(&RecordingStore::new(MemoryStore::new()), Naming::Typed).await;
        conformance(&FaultyStore::new(MemoryStore::new()), Naming::Typed).await;
        conformance(&StaleListing::new(MemoryStore::new()), Naming::Typed).await;
    });
}

#[test]
fn a_recording_counts_calls_and_bytes_in_order() {
    check(async {
        let store = RecordingStore::new(MemoryStore::new());
        let log = store.log();
        keep(&store, "data/a", b"12345").await.expect("put");
        keep(&store, "index/b", b"1").await.expect("put");
        store.read(&key("data/a"), Range::At { start: 1, len: 2 }).await.expect("read");
        check_failure(store.read(&key("data/z"), Range::All).await, Failure::NotFound);
        drop(store.draft(5).expect("a draft is no call until it is committed"));
        let calls: Vec<_> = log.calls().into_iter().map(|call| (call.action, call.bytes)).collect();
        let want = [(Action::Write, 5), (Action::Write, 1), (Action::Read, 2), (Action::Read, 0)];
        assert_eq!(calls, want);
        assert_eq!(log.calls()[3].failure, Some(Failure::NotFound));
        assert_eq!((log.count(Action::Write, "data/"), log.count(Action::Read, "")), (1, 2));
        assert_eq!(log.take().len(), 4);
        assert_eq!(log.calls(), []);
    });
}

#[test]
fn every_prefix_of_the_changes_can_be_replayed() {
    check(async {
        let store = RecordingStore::new(MemoryStore::new());
        keep(&store, "data/a", b"a").await.expect("put");
        keep(&store, "config", b"old").await.expect("put");
        put(&store, &key("config"), b"new", Existing::Replace).await.expect("put");
        check_failure(keep(&store, "config", b"refused").await, Failure::Permanent);
        store.delete(&key("data/a")).await.expect("deleted");
        let changes = store.log().changes();
        assert_eq!(changes.len(), 4);
        let want = ["", "data/a=a", "config=old data/a=a", "config=new data/a=a", "config=new"];
        for (count, want) in want.into_iter().enumerate() {
            let memory = MemoryStore::new();
            replay(&changes[..count], &memory).await.expect("replayed");
            let contents = memory.contents();
            let found = contents
                .iter()
                .map(|(key, bytes)| format!("{key}={}", String::from_utf8_lossy(bytes)));
            assert_eq!(found.collect::<Vec<_>>().join(" "), want);
        }
    });
}

#[test]
fn the_nth_call_fails_and_the_next_one_does_not() {
    check(async {
        let memory = MemoryStore::new();
        let store = FaultyStore::new(memory.clone());
        store.faults().once(Action::Write, "data/", 1, Fault::Fail(Failure::NoSpace));
        assert!(!store.faults().all_happened());
        keep(&store, "data/a", b"a").await.expect("put");
        keep(&store, "index/a", b"a").await.expect("another prefix does not count");
        check_failure(keep(&store, "data/b", b"b").await, Failure::NoSpace);
        assert!(!memory.contents().contains_key(&key("data/b")));
        keep(&store, "data/b", b"b").await.expect("put");
        assert!(store.faults().all_happened());

        store.faults().always(Action::List, "", Fault::Fail(Failure::Transient));
        for _ in 0..3 {
            check_failure(listed(&store, "data/").await, Failure::Transient);
        }
        store.faults().clear();
        assert_eq!(listed(&store, "data/").await.expect("listed").len(), 2);
    });
}

#[test]
fn writes_tear_and_answers_get_lost() {
    check(async {
        let memory = MemoryStore::new();
        let store = FaultyStore::new(memory.clone());
        store.faults().once(Action::Write, "", 0, Fault::Tear);
        check_failure(keep(&store, "data/a", b"123456").await, Failure::Transient);
        assert_eq!(memory.contents()[&key("data/a")], "123");
        store.faults().once(Action::Write, "", 0, Fault::LoseAnswer);
        check_failure(keep(&store, "data/b", b"123456").await, Failure::Transient);
        assert_eq!(memory.contents()[&key("data/b")], "123456");
        store.faults().once(Action::Delete, "", 0, Fault::LoseAnswer);
        check_failure(store.delete(&key("data/b")).await, Failure::Transient);
        check_failure(store.delete(&key("data/b")).await, Failure::NotFound);
    });
}

#[test]
fn reads_are_cut_flipped_and_slow() {
    check(async {
        let store = FaultyStore::new(MemoryStore::new());
        keep(&store, "data/a", &[0; 10]).await.expect("put");
        let read = async || store.read(&key("data/a"), Range::All).await.expect("read");
        store.faults().once(Action::Read, "", 0, Fault::CutShort);
        assert_eq!(read().await.len(), 5);
        store.faults().once(Action::Read, "", 0, Fault::FlipBit(13));
        assert_eq!(read().await, [0, 0, 0, 8, 0, 0, 0, 0, 0, 0].as_slice());
        store.faults().once(Action::Read, "", 0, Fault::Delay(Duration::from_millis(30)));
        let start = std::time::Instant::now();
        assert_eq!(read().await, [0; 10].as_slice());
        assert!(start.elapsed() >= Duration::from_millis(30));
    });
}

#[test]
fn a_frozen_listing_shows_the_past_and_reads_show_the_present() {
    check(async {
        let store = StaleListing::new(MemoryStore::new());
        keep(&store, "data/a", b"a").await.expect("put");
        store.freeze("").await.expect("frozen");
        keep(&store, "data/b", b"b").await.expect("put");
        store.delete(&key("data/a")).await.expect("deleted");
        let rows = async || -> Vec<String> {
            let rows = listed(&store, "data/").await.expect("listed");
            rows.into_iter().map(|row| row.key.to_string()).collect()
        };
        assert_eq!(rows().await, ["data/a"]);
        assert_eq!(store.read(&key("data/b"), Range::All).await.expect("read"), "b");
        assert_eq!(listed(&store, "index/").await.expect("listed"), []);
        store.thaw();
        assert_eq!(rows().await, ["data/b"]);
    });
}
