//! Operations on a small repository, each of them whole: announced, done, released; and what has to
//! be true of the repository whatever became of one.
//!
//! Invariants: an operation that fails says so with a class that is no bug of ours; the repository
//! before it is whole.

use std::{
    error::Error,
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use windlass_engine::{
    backup::Options as BackupOptions,
    cancel::Cancel,
    check, copy,
    fault::Class,
    filter::{PatternTexts, Selection},
    forget,
    model::{
        pack::PackName,
        root::{Root, RootId},
    },
    monitor::{Monitor, Silent},
    protocol::{
        Access, AnnounceError, Presence,
        amend::Amendment,
        holders::{Looker, Which},
    },
    reclaim, recover,
    repair::{heal, index, packs},
    repository::Repository,
    restore, rewrite,
    store::memory::MemoryStore,
};
use windlass_format::restic::config::Version;

use super::super::{
    repair::recovered_root,
    scene::{HOST, Scene, announcement, differences, empty, locks, noise},
};

/// Size of packs: small, so that there are several.
const PACK_BYTES: u64 = 1 << 20;

/// No operation on so little takes as long.
const MOST_TIME: Duration = Duration::from_secs(60);

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Backup,
    Restore,
    Check,
    Forget,
    Tag,
    Prune,
    CopyFrom,
    CopyInto,
    Rewrite,
    RepairIndex,
    RepairPacks,
    Mend,
    Heal,
    Recover,
    Unlock,
}

impl Work {
    pub(super) const ALL: [Self; 15] = [
        Self::Backup,
        Self::Restore,
        Self::Check,
        Self::Forget,
        Self::Tag,
        Self::Prune,
        Self::CopyFrom,
        Self::CopyInto,
        Self::Rewrite,
        Self::RepairIndex,
        Self::RepairPacks,
        Self::Mend,
        Self::Heal,
        Self::Recover,
        Self::Unlock,
    ];
}

/// Why an operation did not come to its end.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) class: Class,
    pub(super) text: String,
}

impl Ended {
    fn of(class: Class, error: &dyn Error) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Self { class, text }
    }
}

/// Names the class of each error that has one.
macro_rules! ends_by {
    ($($error:ty),*) => {
        $(impl From<$error> for Ended {
            fn from(error: $error) -> Self {
                Self::of(error.class(), &error)
            }
        })*
    };
}

ends_by!(
    AnnounceError,
    windlass_engine::backup::BackupError,
    windlass_engine::fault::Fault,
    copy::CopyError,
    forget::ForgetError,
    heal::HealError,
    packs::PacksError,
    reclaim::ReclaimError,
    restore::RestoreError,
    rewrite::RewriteError
);

/// Something is wrong with the repository, and was told.
fn told(what: impl std::fmt::Debug) -> Ended {
    Ended { class: Class::Damaged, text: format!("{what:?}") }
}

/// A repository of three snapshots, the first of them forgotten, and a copy of them elsewhere.
pub(super) struct Site {
    pub(super) scene: Scene,
    pub(super) store: MemoryStore,
    pub(super) roots: Vec<(RootId, Root)>,
    /// The same snapshots in another repository.
    other: MemoryStore,
    /// Another snapshot in yet another one.
    foreign: MemoryStore,
    /// A pack with pieces that every snapshot needs.
    pack: PackName,
    targets: AtomicUsize,
}

impl Site {
    /// With files of hundreds of kilobytes.
    pub(super) fn new() -> Self {
        Self::of(1000)
    }

    /// With files of hundreds of bytes, all of them in a few packs.
    pub(super) fn small() -> Self {
        Self::of(1)
    }

    fn of(scale: usize) -> Self {
        let scene = Scene::putting_aside();
        let store = empty(Version::V2);
        let repository = scene.open(store.clone());
        scene.write("always", noise(1, 900 * scale));
        scene.write("hollow/empty", "");
        for number in 0..3_u8 {
            scene.write("changing", noise(10 + u64::from(number), 500 * scale));
            scene.write(&format!("d{number}/small"), [number; 100]);
            scene.write("secret", noise(20 + u64::from(number), 300 * scale));
            let options = BackupOptions { pack_bytes: PACK_BYTES, ..scene.options() };
            scene.try_back_up(&repository, options).expect("backed up");
        }
        // So that a backup has something to do.
        scene.write("changing", noise(30, 500 * scale));
        let pack = needed_by_all(&scene, &repository);
        let (other, foreign) = (empty(Version::V2), empty(Version::V2));
        scene.back_up(&scene.open(foreign.clone()));
        let site = Self {
            roots: Vec::new(),
            store: store.clone(),
            other: other.clone(),
            foreign,
            pack,
            targets: AtomicUsize::new(0),
            scene,
        };
        let (oldest, _) = site.scene.roots(&repository).swap_remove(0);
        let forgotten = async |presence: &Presence, cancel: &Cancel| {
            let right = presence.delete_right()?;
            forget::run(&repository, &right, vec![oldest], cancel, |_, _| {}).await?;
            Ok::<(), Ended>(())
        };
        let alone = announced(&repository, Access::Exclusive, forgotten);
        site.scene.runtime.block_on(alone).expect("forgotten");
        let roots = site.scene.roots(&repository);
        let site = Self { roots, ..site };
        let target = site.scene.open(other);
        site.run_copy(&repository, &target).expect("copied");
        site
    }

    /// Does it.
    pub(super) fn run(&self, work: Work, repository: &Repository) -> Result<(), Ended> {
        let Self { scene, .. } = self;
        let quiet = || Arc::new(Silent::default());
        let alone = Access::Exclusive;
        match work {
            Work::Backup => {
                let options = BackupOptions { pack_bytes: PACK_BYTES, ..scene.options() };
                let report = scene.try_back_up(repository, options)?;
                none_of(&report.problems)
            }
            Work::Restore => self.restore(repository),
            Work::Check => {
                let options = check::Options { read: check::Read::All, only: None };
                let cancel = Cancel::new();
                let checked = check::run(repository, &options, quiet(), &cancel, |_| {});
                none_of(&self.in_time(async { Ok(checked.await?.findings) })?)
            }
            Work::Forget => self.announced(repository, alone, async |presence, cancel| {
                let right = presence.delete_right()?;
                let (oldest, _) = self.roots[0].clone();
                let removed = forget::run(repository, &right, vec![oldest], cancel, |_, _| {});
                none_of(&removed.await?.failed)
            }),
            Work::Tag => self.announced(repository, alone, async |presence, cancel| {
                let right = presence.delete_right()?;
                let tags = Amendment { tags: Some(vec!["kept".into()]), ..Amendment::default() };
                let protocol = repository.protocol();
                let mut failed = Vec::new();
                for (root, _) in &self.roots {
                    // Gone where it was done before.
                    if !protocol.list_roots().await?.iter().any(|(id, _)| id == root) {
                        continue;
                    }
                    protocol.amend_root(presence, root, &tags).await?;
                    let book = |_: RootId, result: Result<(), _>| failed.extend(result.err());
                    protocol.retire_roots(&right, vec![root.clone()], cancel, book).await?;
                }
                none_of(&failed)
            }),
            Work::Prune => {
                let options = super::super::reclaim::options();
                let cancel = Cancel::new();
                let cleaned = reclaim::run(repository, &options, quiet(), &cancel, |_| {});
                none_of(&self.in_time(async { Ok(cleaned.await?.packs_left) })?)
            }
            Work::CopyFrom => {
                let store = empty(Version::V2);
                self.run_copy(repository, &scene.open(store.clone()))?;
                let copied = scene.open(store);
                scene.check_whole(&copied);
                assert!(scene.roots(&copied).len() >= self.roots.len());
                Ok(())
            }
            Work::CopyInto => self.run_copy(&scene.open(self.foreign.clone()), repository),
            Work::Rewrite => self.run_rewrite(repository, without_secrets()),
            Work::Mend => self.run_rewrite(repository, rewrite::Content::Mended),
            Work::RepairIndex => self.announced(repository, alone, async |presence, cancel| {
                let options =
                    index::Options { read_all: true, only_named: false, pack_bytes: PACK_BYTES };
                let done = index::run(repository, &options, presence, cancel, &mut |_| {}).await?;
                none_of(&done.chunks_lost)
            }),
            Work::RepairPacks => self.announced(repository, alone, async |presence, cancel| {
                let packs = vec![self.pack.clone()];
                let options = packs::Options { packs, pack_bytes: PACK_BYTES };
                match packs::run(repository, &options, presence, cancel).await {
                    // It was done before.
                    Err(packs::PacksError::NoSuchPack(_)) => Ok(()),
                    done => {
                        let report = done?;
                        none_of(&report.lost)?;
                        none_of(&report.left)
                    }
                }
            }),
            Work::Heal => {
                let other = scene.open(self.other.clone());
                self.announced(repository, alone, async |presence, cancel| {
                    let options = heal::Options { read: check::Read::All, pack_bytes: PACK_BYTES };
                    let remedies = [heal::Remedy::Repository(&other)];
                    let monitor: Arc<dyn Monitor> = quiet();
                    let presence = Some(presence);
                    let healed =
                        heal::run(repository, &options, &remedies, presence, &monitor, cancel);
                    none_of(&healed.await?.still_lost)
                })
            }
            Work::Recover => self.announced(repository, alone, async |presence, cancel| {
                let step = Arc::new(|_: recover::Step<'_>| {});
                let options = recover::Options { root: recovered_root(), pack_bytes: PACK_BYTES };
                recover::run(repository, &options, presence, quiet(), cancel, step).await?;
                Ok(())
            }),
            Work::Unlock => self.in_time(async {
                repository
                    .protocol()
                    .evict(Which::Stale, Looker { hostname: HOST, lineage: None })
                    .await?;
                Ok(())
            }),
        }
    }

    /// What is restored is what there was, or told.
    fn restore(&self, repository: &Repository) -> Result<(), Ended> {
        let number = self.targets.fetch_add(1, Ordering::Relaxed);
        let name = format!("target {number}");
        let target = self.scene.path(&name);
        let (_, root) = self.roots.last().expect("a root");
        let mut options = restore::Options::new(&target);
        options.sub_path = self.scene.source().into_os_string().into_encoded_bytes();
        let cancel = Cancel::new();
        let quiet = Arc::new(Silent::default());
        let restored = restore::run(repository, root, options, quiet, &cancel);
        let report = self.in_time(async { Ok(restored.await?) })?;
        for difference in differences(&self.scene.source(), &target) {
            let path = difference.path.to_str().expect("UTF-8");
            let is_told = report.problems.iter().any(|problem| {
                let at = String::from_utf8_lossy(&problem.path).into_owned();
                path.starts_with(at.trim_start_matches('/'))
            });
            // The source has changed since.
            assert!(path == "changing" || is_told, "{difference}, {:?}", report.problems);
        }
        fs::remove_dir_all(target).expect("removed");
        none_of(&report.problems)
    }

    fn run_copy(&self, source: &Repository, target: &Repository) -> Result<(), Ended> {
        let roots = self.in_time(async { Ok(source.protocol().list_roots().await?) })?;
        let roots: Result<Vec<_>, _> =
            roots.into_iter().map(|(id, root)| root.map(|root| (id, root))).collect();
        let options = copy::Options { roots: roots?, pack_bytes: PACK_BYTES };
        self.announced(target, Access::Shared, async |presence, cancel| {
            let step = Arc::new(|_: copy::Step<'_>| {});
            let quiet = Arc::new(Silent::default());
            copy::run(source, target, &options, presence, quiet, cancel, step).await?;
            Ok(())
        })
    }

    fn run_rewrite(&self, repository: &Repository, content: rewrite::Content) -> Result<(), Ended> {
        self.announced(repository, Access::Exclusive, async |presence, cancel| {
            let roots = repository.protocol().list_roots().await?.into_iter();
            let roots: Result<Vec<_>, _> =
                roots.map(|(id, root)| root.map(|root| (id, root))).collect();
            let options = rewrite::Options {
                roots: roots?,
                content: content.clone(),
                amendment: Amendment::default(),
                mark: "rewrite".into(),
                forget: true,
                pack_bytes: PACK_BYTES,
            };
            let step = Arc::new(|_: rewrite::Step<'_>| {});
            rewrite::run(repository, &options, Some(presence), cancel, step).await?;
            Ok(())
        })
    }

    fn announced<T>(
        &self,
        repository: &Repository,
        access: Access,
        work: impl AsyncFnOnce(&Presence, &Cancel) -> Result<T, Ended>,
    ) -> Result<T, Ended> {
        self.in_time(announced(repository, access, work))
    }

    fn in_time<T>(&self, work: impl Future<Output = Result<T, Ended>>) -> Result<T, Ended> {
        let timed = async { tokio::time::timeout(MOST_TIME, work).await };
        self.scene.runtime.block_on(timed).expect("it does not end")
    }

    /// Every snapshot that `work` is not to remove is there, or one that was made of it; and each
    /// that is there is whole.
    pub(super) fn check_whole(&self, work: Work, store: &MemoryStore, told: &str) {
        let repository = self.scene.open(store.clone());
        let roots = self.scene.roots(&repository);
        let stays = if work == Work::Forget { &self.roots[1..] } else { &self.roots[..] };
        for (id, _) in stays {
            let lives =
                roots.iter().any(|(it, root)| it == id || root.original.as_ref() == Some(id));
            assert!(lives, "{told}: {id} is gone");
        }
        for (id, root) in &roots {
            let mut files = Vec::new();
            let walked = self.scene.walk(&repository, root, |path, directory| {
                files.extend(directory.entries.iter().map(|entry| {
                    String::from_utf8_lossy(&[path, b"/", &entry.name].concat()).into_owned()
                }));
            });
            walked.unwrap_or_else(|fault| panic!("{told}: snapshot {id}: {fault}"));
            let has = |name: &str| files.iter().any(|file| file.ends_with(name));
            for name in ["/source/always", "/source/changing", "/source/hollow/empty"] {
                assert!(has(name), "{told}: snapshot {id} lacks {name}: {files:?}");
            }
            let may_lack = work == Work::Rewrite && root.original.is_some();
            assert!(may_lack || has("/source/secret"), "{told}: snapshot {id}: {files:?}");
        }
    }

    /// The next run of `work` comes to its end, and so does a backup by a handle that saw the last.
    pub(super) fn check_goes_on(
        &self,
        work: Work,
        store: &MemoryStore,
        seen: Option<&Repository>,
        told: &str,
    ) {
        if let Some(repository) = seen {
            let again = self.run(Work::Backup, repository);
            again.unwrap_or_else(|ended| panic!("{told}: then a backup: {ended:?}"));
            self.check_whole(work, store, told);
        }
        let again = self.run(work, &self.scene.open(store.clone()));
        again.unwrap_or_else(|ended| panic!("{told}: then again: {ended:?}"));
        self.check_whole(work, store, told);
        assert_eq!(locks(store), [""; 0], "{told}");
    }
}

async fn announced<T>(
    repository: &Repository,
    access: Access,
    work: impl AsyncFnOnce(&Presence, &Cancel) -> Result<T, Ended>,
) -> Result<T, Ended> {
    let cancel = Cancel::new();
    let presence = repository.protocol().announce(&announcement(access), &cancel).await?;
    let done = work(&presence, &cancel).await;
    let released = presence.release().await;
    let done = done?;
    released?;
    Ok(done)
}

fn none_of<'a, T: std::fmt::Debug + 'a>(
    problems: impl IntoIterator<Item = &'a T>,
) -> Result<(), Ended> {
    problems.into_iter().next().map_or(Ok(()), |problem| Err(told(problem)))
}

fn without_secrets() -> rewrite::Content {
    let exclude = PatternTexts { sensitive: vec![b"secret".to_vec()], insensitive: Vec::new() };
    let selection = Selection::new(&PatternTexts::default(), &exclude).expect("patterns");
    rewrite::Content::Selected(selection)
}

/// The pack of the first piece of a file that does not change.
fn needed_by_all(scene: &Scene, repository: &Repository) -> PackName {
    use windlass_engine::model::{directory::Kind, object::Content};
    let (_, root) = scene.roots(repository).swap_remove(0);
    let mut piece = None;
    let walked = scene.walk(repository, &root, |_, directory| {
        for entry in directory.entries.iter().filter(|entry| *entry.name == *b"always") {
            if let Kind::File { content: Content::Chunks(chunks), .. } = &entry.kind {
                piece = chunks.first().copied();
            }
        }
    });
    walked.expect("whole");
    let index = scene.runtime.block_on(repository.index()).expect("an index");
    let place = index.find(&piece.expect("a piece")).expect("indexed");
    index.pack_name(place.pack).expect("a name")
}
