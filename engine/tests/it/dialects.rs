//! Which metadata survives being written and read; the counterpart for formats that are only read
//! is with their recorded repositories.

use tokio::runtime::Runtime;
use windlass_engine::{
    model::{
        chunk::ChunkKey,
        directory::{Directory, Entry, Kind, Target, Xattr},
        object::Content,
    },
    protocol::open::{InitOptions, OpenOptions},
    repository::{Environment, Place, Repository},
    store::{Store, memory::MemoryStore},
};
use windlass_format::{restic::config::Version, secret::Password, time::Timestamp};

fn repository(runtime: &Runtime) -> Repository {
    let place = Place::store(Store::new(MemoryStore::new()));
    let (password, environment) = (Password::new("p"), Environment::system());
    let options = InitOptions {
        version: Version::V2,
        polynomial: None,
        fast_cdc: false,
        username: "user".into(),
        hostname: "host".into(),
    };
    runtime.block_on(async {
        Repository::init(&place, &password, &options, &environment).await.expect("created");
        Repository::open(&place, &password, &OpenOptions::default(), environment)
            .await
            .expect("opened")
    })
}

/// An entry with something in every field.
fn full(name: &str, kind: Kind) -> Entry {
    Entry {
        name: name.as_bytes().into(),
        kind,
        mode: 0o6751,
        mtime: Timestamp::utc(1_700_000_000, 123_456_789),
        atime: Timestamp::utc(1_700_000_001, 1),
        ctime: Some(Timestamp::utc(1_700_000_002, 999_999_999)),
        uid: 1000,
        gid: 4_000_000_000,
        user: "someone".into(),
        group: "some group".into(),
        inode: u64::MAX,
        device: 66_305,
        links: 2,
        xattrs: vec![Xattr {
            name: b"user.x".as_slice().into(),
            value: [0, 255].as_slice().into(),
        }],
        residue: None,
    }
}

#[test]
fn restic_keeps_every_field_of_every_kind() {
    let runtime = Runtime::new().expect("a runtime");
    let repository = repository(&runtime);
    let (data, tree) = (ChunkKey::full(0, [1; 32]), ChunkKey::full(1, [2; 32]));
    let content = Content::Chunks(vec![data, data]);
    let target = Target::Inline(b"../\xfftarget".as_slice().into());
    let kinds = [
        ("a file", Kind::File { size_bytes: 1 << 40, content }),
        ("b empty", Kind::File { size_bytes: 0, content: Content::EMPTY }),
        ("c directory", Kind::Directory { tree: Some(tree) }),
        ("d link", Kind::Symlink { target }),
        ("e block device", Kind::BlockDevice { rdev: 2049 }),
        ("f character device", Kind::CharDevice { rdev: 259 }),
        ("g FIFO", Kind::Fifo),
        ("h socket", Kind::Socket),
    ];
    let entries: Vec<Entry> = kinds.into_iter().map(|(name, kind)| full(name, kind)).collect();
    let directory = Directory { entries };
    let (mut bytes, encoder) = (Vec::new(), repository.dialect().encoder().expect("an encoder"));
    encoder.write_directory(&directory, &mut bytes).expect("written");
    let read = repository.dialect().read_directory(&bytes).expect("read");
    assert_eq!(read.entries.len(), directory.entries.len());
    for (read, written) in read.entries.iter().zip(&directory.entries) {
        assert_eq!(read, written);
    }
}
