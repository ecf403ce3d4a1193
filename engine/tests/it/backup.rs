//! Backups of streams and of files with holes, read back chunk by chunk.

use std::{
    io::{self, Read},
    num::NonZeroU64,
    sync::Arc,
    time::Instant,
};

use windlass_engine::{
    backup::{self, BackupError, Options, Stream},
    cancel::Cancel,
    fault::{Class, Fault},
    model::{directory::Kind, object::Content},
    monitor::Silent,
    protocol::restic::{InitOptions, OpenOptions},
    repository::{Environment, Place, Repository},
    store::{Store, memory::MemoryStore},
};
use windlass_format::{restic::config::Version, secret::Password};

async fn fresh() -> Repository {
    let place = Place::store(Store::new(MemoryStore::new()));
    let password = Password::new(b"test".to_vec());
    let environment = Environment::system();
    let options = InitOptions {
        version: Version::V2,
        polynomial: None,
        fast_cdc: false,
        username: "tester".into(),
        hostname: "here".into(),
    };
    Repository::init(&place, &password, &options, &environment).await.expect("created");
    Repository::open(&place, &password, &OpenOptions::default(), environment).await.expect("opened")
}

fn options() -> Options {
    Options::new(Vec::new(), "here".into())
}

async fn back_up(
    repository: &Repository,
    bytes: impl Read + Send + 'static,
) -> Result<backup::Report, BackupError> {
    let stream = Stream { path: "/dumps/db.sql".into(), bytes: Box::new(bytes) };
    let monitor = Arc::new(Silent::default());
    backup::run_stream(repository, stream, options(), monitor, &Cancel::new()).await
}

/// The plaintext and size of the only file below the directories of the newest root.
async fn only_file(repository: &Repository) -> (Vec<u8>, u64, usize) {
    let roots = repository.protocol().list_roots().await.expect("listed");
    let root = roots.last().and_then(|(_, root)| root.as_ref().ok()).expect("a root").clone();
    let reader = repository.reader().await.expect("index");
    tokio::task::spawn_blocking(move || {
        let mut key = root.tree;
        loop {
            let directory = reader.directory(&key).expect("a directory");
            assert_eq!(directory.entries.len(), 1);
            match &directory.entries[0].kind {
                Kind::Directory { tree } => key = tree.expect("a tree"),
                Kind::File { size_bytes, content: Content::Chunks(keys) } => {
                    let mut plain = Vec::new();
                    if *size_bytes < 1 << 30 {
                        keys.iter().for_each(|key| reader.chunk(key, &mut plain).expect("a chunk"));
                    }
                    return (plain, *size_bytes, keys.len());
                }
                other => panic!("neither directory nor file: {other:?}"),
            }
        }
    })
    .await
    .expect("no panic")
}

#[tokio::test]
async fn a_stream_becomes_one_file_and_comes_back_whole() {
    let repository = fresh().await;
    let bytes: Vec<u8> =
        (0..20_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let report = back_up(&repository, io::Cursor::new(bytes.clone())).await.expect("saved");
    assert_eq!(report.summary.total_bytes, bytes.len() as u64);
    let (plain, size, _) = only_file(&repository).await;
    assert_eq!(size, bytes.len() as u64);
    assert!(plain == bytes, "the content differs");
}

#[tokio::test]
async fn a_stream_that_breaks_off_leaves_no_root_and_no_lock() {
    struct Broken(usize);
    impl Read for Broken {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::Error::other("the command failed with status 1"));
            }
            let len = out.len().min(self.0);
            self.0 -= len;
            out[..len].fill(7);
            Ok(len)
        }
    }
    let repository = fresh().await;
    let empty = back_up(&repository, io::empty()).await;
    let broken = back_up(&repository, Broken(30_000_000)).await;
    for result in [empty, broken] {
        let error = result.expect_err("nothing may be saved");
        assert!(matches!(error, BackupError::Fault(Fault::Stream { .. })), "{error:?}");
        assert_eq!(error.class(), Class::WrongInput);
    }
    assert!(repository.protocol().list_roots().await.expect("listed").is_empty());
    assert!(repository.store().listing("locks").await.expect("listed").is_empty());
}

#[tokio::test]
async fn a_hole_of_64_gib_is_neither_read_nor_hashed() {
    const HOLE: u64 = 64 << 30;
    let repository = fresh().await;
    let source = tempfile::tempdir().expect("a directory");
    let path = source.path().join("sparse");
    let file = std::fs::File::create(&path).expect("created");
    std::os::unix::fs::FileExt::write_all_at(&file, b"head", 0).expect("written");
    std::os::unix::fs::FileExt::write_all_at(&file, b"tail", HOLE).expect("written");
    let chunks_of_zeros = NonZeroU64::new(512 << 10).expect("not zero");

    let monitor = Arc::new(Silent::default());
    let began = Instant::now();
    let options = Options { targets: vec![path], ..options() };
    let report = backup::run(&repository, options, monitor, &Cancel::new()).await.expect("saved");
    assert!(began.elapsed().as_secs() < 30, "took {:?}", began.elapsed());
    assert_eq!(report.summary.total_bytes, HOLE + 4);
    assert!(report.summary.data_chunks <= 3, "{} chunks stored", report.summary.data_chunks);
    let (_, size, chunks) = only_file(&repository).await;
    assert_eq!(size, HOLE + 4);
    let zeros = HOLE / chunks_of_zeros;
    assert!((zeros..zeros + 3).contains(&(chunks as u64)), "{chunks} chunks");
}
