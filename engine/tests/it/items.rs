//! What is told of each item of a backup, to whoever listens.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use windlass_engine::{
    backup::{self, Options, Report},
    cancel::Cancel,
    monitor::{Action, Counters, Event, ItemKind, Monitor},
    repository::Repository,
};
use windlass_format::restic::config::Version;

use super::scene::{Scene, empty, noise};

#[derive(Clone, Copy, Debug, PartialEq)]
struct Told {
    action: Action,
    kind: ItemKind,
    added: (u64, u64),
    took: Duration,
}

/// Keeps what is told of items, each of which is told once.
#[derive(Default)]
struct Keeper {
    counters: Counters,
    items: Mutex<BTreeMap<String, Told>>,
}

impl Monitor for Keeper {
    fn event(&self, event: Event<'_>) {
        let Event::Item { path, action, kind, added_bytes, added_stored_bytes, took, .. } = event
        else {
            return;
        };
        let path = String::from_utf8(path.to_vec()).expect("UTF-8");
        let told = Told { action, kind, added: (added_bytes, added_stored_bytes), took };
        let before = self.items.lock().expect("whole").insert(path.clone(), told);
        assert_eq!(before, None, "{path}");
    }

    fn wants_items(&self) -> bool {
        true
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// Backs up the source as `.`, and gives what was told.
fn back_up(scene: &Scene, repository: &Repository) -> (Report, BTreeMap<String, Told>) {
    let keeper = Arc::new(Keeper::default());
    let options = Options { targets: vec![".".into()], base: scene.source(), ..scene.options() };
    let cancel = Cancel::new();
    let run = backup::run(repository, options, keeper.clone(), &cancel);
    let report = scene.runtime.block_on(run).expect("backed up");
    let items = std::mem::take(&mut *keeper.items.lock().expect("whole"));
    (report, items)
}

#[test]
fn items_carry_what_was_new_of_them_and_how_long_it_took() {
    use Action::{Modified, New, Unchanged};
    let scene = Scene::new();
    scene.write("dir/below/text", "text ".repeat(1000));
    scene.write("dir/noise", noise(1, 3000));
    scene.write("large", noise(2, 9 << 20));
    scene.write("twin/one", noise(3, 4000));
    scene.write("twin/two", noise(3, 4000));
    std::os::unix::fs::symlink("large", scene.source().join("link")).expect("linked");
    let repository = scene.open(empty(Version::V2));

    let (report, items) = back_up(&scene, &repository);
    let names: Vec<_> = items.keys().map(String::as_str).collect();
    let all = ["/dir", "/dir/below", "/dir/below/text", "/dir/noise", "/large", "/link", "/twin"];
    assert_eq!(names, [&all[..], &["/twin/one", "/twin/two"]].concat());
    assert!(items.values().all(|told| told.action == New), "{items:?}");
    let added = |name: &str| items[name].added;
    assert_eq!(added("/dir/below/text").0, 5000);
    assert!((1..1000).contains(&added("/dir/below/text").1), "{items:?}");
    assert_eq!(added("/dir/noise").0, 3000);
    assert!((3000..3200).contains(&added("/dir/noise").1), "{items:?}");
    assert_eq!(added("/large").0, 9 << 20);
    // Which of the two is the first is up to chance.
    assert_eq!(added("/twin/one").0 + added("/twin/two").0, 4000);
    assert!(added("/twin/one").0 == 0 || added("/twin/two").0 == 0, "{items:?}");
    let of = |kind| items.values().filter(move |told| told.kind == kind);
    assert!(of(ItemKind::Directory).all(|told| told.added.0 > 100 && told.added.1 > 0));
    assert!(of(ItemKind::File).chain(of(ItemKind::Directory)).all(|told| !told.took.is_zero()));
    // All but the directory that stands for none of the source.
    let sum = |of: fn(&Told) -> u64| items.values().map(of).sum::<u64>();
    let rest = report.summary.added_bytes - sum(|told| told.added.0);
    assert!((500..5000).contains(&rest), "{rest}");
    assert!(report.summary.added_stored_bytes > sum(|told| told.added.1));

    let (_, items) = back_up(&scene, &repository);
    assert_eq!(items.len(), 9);
    assert!(items.values().all(|told| (told.action, told.added) == (Unchanged, (0, 0))));

    scene.write("dir/below/text", "text ".repeat(1001));
    let (_, items) = back_up(&scene, &repository);
    for (name, told) in &items {
        let is_new = ["/dir", "/dir/below", "/dir/below/text"].contains(&name.as_str());
        let expected = if is_new { Modified } else { Unchanged };
        assert_eq!((told.action, told.added.0 > 0), (expected, is_new), "{name}");
    }
}
