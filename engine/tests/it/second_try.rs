//! A server of which every put goes wrong at first: it fails, or its answer is lost although the
//! object is there. The second try is all that an operation needs.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use bytes::Bytes;
use windlass_engine::{
    cancel::Cancel,
    copy,
    monitor::Silent,
    protocol::Access,
    repository::Repository,
    store::{
        Backend, Failure, Key, Listed, Range, StoreError,
        memory::MemoryStore,
        remote::{Page, PutRules, Remote, Row, Stat, Traits},
        settings::StoreSettings,
    },
};
use windlass_format::restic::config::Version;

use super::{
    reach,
    reclaim::{clean, forget, options},
    scene::{Scene, empty, noise},
};

/// What goes wrong with the first put of every name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    Fails,
    LosesItsAnswer,
}

/// A server. Clones are the same.
#[derive(Clone, Debug)]
struct Moody {
    objects: MemoryStore,
    first: First,
    puts: Arc<Mutex<HashMap<String, u32>>>,
}

impl Moody {
    fn new(first: First) -> Self {
        Self { objects: empty(Version::V2), first, puts: Arc::default() }
    }

    fn puts(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.puts.lock().expect("no panic")
    }

    fn open(&self, scene: &Scene) -> Repository {
        scene.open(reach::store(self.clone(), &StoreSettings::default()))
    }

    /// Everything is whole and stored once, nothing is left over, and every put was tried again.
    fn check(&self, scene: &Scene, kinds: &[&str]) {
        let repository = self.open(scene);
        assert!(!scene.roots(&repository).is_empty());
        scene.check_whole(&repository);
        let forecast = clean(scene, &repository, &options()).forecast;
        let left = (forecast.unused.chunks, forecast.duplicate.chunks, forecast.packs_unreferenced);
        assert_eq!(left, (0, 0, 0), "{forecast:?}");
        let names = self.objects.contents().into_keys();
        let locks = names.filter(|key| key.as_str().starts_with("locks/"));
        assert_eq!(locks.collect::<Vec<Key>>(), []);
        let puts = std::mem::take(&mut *self.puts());
        let begins: HashSet<&str> = puts.keys().filter_map(|name| name.split('/').next()).collect();
        assert!(kinds.iter().all(|kind| begins.contains(kind)), "{begins:?}");
        assert!(puts.values().all(|tries| *tries == 2), "{puts:?}");
    }
}

fn transient(action: &'static str, name: &str) -> StoreError {
    StoreError::new(Failure::Transient, action, name, "a fault was ordered")
}

#[async_trait]
impl Remote for Moody {
    fn location(&self) -> String {
        "moody".into()
    }

    fn traits(&self) -> Traits {
        Traits { connections: 5, flaky: false, limits_itself: true }
    }

    async fn create(&self, _directories: &[String]) -> Result<(), StoreError> {
        Ok(())
    }

    async fn page(&self, prefix: &str, _next: Option<String>) -> Result<Page, StoreError> {
        let mut rows = Vec::new();
        let mut each = |Listed { key, stored_bytes, modified, .. }: Listed| {
            rows.push(Row { name: key.as_str().to_owned(), stored_bytes, modified });
        };
        self.objects.list(prefix, &mut each).await?;
        Ok(Page { rows, next: None })
    }

    async fn stat(&self, name: &str) -> Result<Stat, StoreError> {
        let Listed { stored_bytes, modified, .. } = self.objects.stat(&Key::new(name)).await?;
        Ok(Stat { stored_bytes, modified })
    }

    async fn read(&self, name: &str, range: Range) -> Result<Bytes, StoreError> {
        self.objects.read(&Key::new(name), range).await
    }

    async fn put(&self, name: &str, bytes: Bytes, rules: PutRules) -> Result<(), StoreError> {
        let tries = {
            let mut puts = self.puts();
            let tries = puts.entry(name.to_owned()).or_default();
            *tries += 1;
            *tries
        };
        if tries == 1 && self.first == First::Fails {
            return Err(transient("write", name));
        }
        let mut draft = self.objects.draft(bytes.len() as u64)?;
        draft.append(&bytes)?;
        draft.commit(&Key::new(name), rules.existing).await?;
        match (tries, self.first) {
            (1, First::LosesItsAnswer) => Err(transient("write", name)),
            _ => Ok(()),
        }
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.objects.delete(&Key::new(name)).await
    }
}

/// Backs up, cleans up and copies.
fn check_all(first: First) {
    let scene = Scene::new();
    let server = Moody::new(first);
    let repository = server.open(&scene);
    scene.write("always", noise(1, 1_500_000));
    for number in 0..2_u8 {
        scene.write("changing", noise(10 + u64::from(number), 1_200_000));
        scene.write(&format!("d{number}/small"), [number; 1000]);
        scene.back_up(&repository);
    }
    let (oldest, _) = scene.roots(&repository).swap_remove(0);
    forget(&scene, &repository, vec![oldest]);
    let report = clean(&scene, &server.open(&scene), &options());
    assert!(report.packs_removed > 0 && report.forecast.packs_repack > 0, "{report:?}");
    let kinds = ["data", "index", "snapshots", "locks"];
    server.check(&scene, &kinds);

    let (source, other) = (server.open(&scene), Moody::new(first));
    let target = other.open(&scene);
    let copied = copy::Options { roots: scene.roots(&source), pack_bytes: 1 << 20 };
    let presence = scene.announce(&target, Access::Shared);
    let (quiet, cancel) = (Arc::new(Silent::default()), Cancel::new());
    let step = Arc::new(|_: copy::Step<'_>| {});
    scene.runtime.block_on(async {
        let copying = copy::run(&source, &target, &copied, &presence, quiet, &cancel, step);
        let report = copying.await.expect("copied");
        assert_eq!(report.copied.len(), 1);
        presence.release().await.expect("released");
    });
    other.check(&scene, &kinds);
}

#[test]
fn backup_prune_and_copy_need_no_more_than_a_second_try_of_every_put() {
    // Most of it is waiting before second tries.
    std::thread::scope(|scope| {
        for first in [First::Fails, First::LosesItsAnswer] {
            scope.spawn(move || check_all(first));
        }
    });
}
