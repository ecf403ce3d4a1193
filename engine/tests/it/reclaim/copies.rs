//! Chunks that are there several times, some of them damaged: the last good one never goes.

use std::time::Duration;

use windlass_engine::{
    model::pack::{Lane, PackInfo, PackName},
    protocol::{Access, reclaim::NamedPack},
    reclaim::Options,
    store::memory::MemoryStore,
};

use super::{super::scene::Scene, clean, forgotten, named, options};

/// Stores each pack of pieces a second time; which of both is damaged.
fn doubled(scene: &Scene, base: &MemoryStore, first: bool) -> MemoryStore {
    let store = base.fork();
    let repository = scene.open(store.clone());
    let presence = scene.announce(&repository, Access::Shared);
    let packs = named(scene, &repository).into_iter().flat_map(|(_, packs)| packs);
    let packs: Vec<NamedPack> = packs.filter(|pack| pack.info.lane == Lane::Data).collect();
    assert!(packs.len() > 3);
    let copies = packs.into_iter().enumerate().map(|(number, pack)| {
        let mut id = [if number % 2 == 0 { 1 } else { 0xFF }; 32];
        id[31] = number as u8;
        let copy = PackInfo { name: PackName::Hash(id), ..pack.info.clone() };
        let [was, is] = [&pack.info, &copy].map(|info| repository.dialect().pack_key(&info.name));
        let whole = store.contents()[&was].clone();
        let mut damaged = whole.to_vec();
        for chunk in &copy.chunks {
            damaged[chunk.offset as usize + 20] ^= 1;
        }
        let (was_bytes, is_bytes) =
            if first { (damaged, whole.to_vec()) } else { (whole.to_vec(), damaged) };
        store.overwrite(&was, was_bytes);
        store.overwrite(&is, is_bytes);
        copy
    });
    let copies: Vec<PackInfo> = copies.collect();
    scene.runtime.block_on(async {
        let protocol = repository.protocol();
        let copies = copies.into_iter().map(Ok);
        let _beside =
            protocol.replace_segments(&presence, copies, Vec::new()).await.expect("named");
        presence.release().await.expect("released");
    });
    store
}

#[test]
fn a_copy_goes_only_after_the_one_that_stays_was_proved() {
    let scene = Scene::putting_aside();
    // With packs all of which is in use, and with some that are to be rewritten.
    for forgotten_places in [&[][..], &[0, 2]] {
        let base = forgotten(&scene, forgotten_places);
        for first in [true, false] {
            let doubled = doubled(&scene, &base, first);
            scene.check_whole(&scene.open(doubled.clone()));
            for most_time in [None, Some(Duration::ZERO)] {
                let store = doubled.fork();
                let timed = Options { most_time, ..options() };
                let report = clean(&scene, &scene.open(store.clone()), &timed);
                assert!(report.forecast.duplicate.bytes > 2_500_000, "{report:?}");
                scene.check_whole(&scene.open(store.clone()));
                clean(&scene, &scene.open(store.clone()), &options());
                scene.check_whole(&scene.open(store.clone()));
            }
        }
    }
}
