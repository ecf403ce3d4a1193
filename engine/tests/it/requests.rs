//! How many requests an operation makes: on a store far away each is time, on a rented one money.

use windlass_format::restic::config::Version;
use windlass_testkit::recording::{Action, Call, RecordingStore};

use super::scene::{Scene, empty, noise};

/// Kind and place of each call.
fn list(calls: &[Call]) -> Vec<(Action, String)> {
    let place = |call: &Call| match call.object.split_once('/') {
        Some((kind, _)) => kind.to_owned(),
        None => call.object.clone(),
    };
    calls.iter().map(|call| (call.action, place(call))).collect()
}

#[test]
fn an_unchanged_backup_makes_these_requests_and_no_others() {
    use Action::{Delete, List, Read, Stat, Write};
    let scene = Scene::new();
    for directory in 0..20 {
        for file in 0..20 {
            let name = format!("{directory}/{file}");
            scene.write(&name, format!("content of {name}"));
        }
    }
    scene.write("large", noise(1, 5 << 20));
    let store = empty(Version::V2);
    scene.back_up(&scene.open(store.clone()));

    let recording = RecordingStore::new(store);
    let log = recording.log();
    let repository = scene.open(recording);
    let opening = list(&log.take());
    // Both formats are looked for at once, and what is found is not asked for again.
    let (mut looks, rest) = (opening[..2].to_vec(), opening[2..].to_vec());
    looks.sort_by(|(_, a), (_, b)| a.cmp(b));
    let words = |calls: &[(Action, &str)]| -> Vec<(Action, String)> {
        calls.iter().map(|(action, place)| (*action, (*place).to_owned())).collect()
    };
    assert_eq!(looks, words(&[(Read, "config"), (Read, "kopia.repository")]));
    assert_eq!(rest, words(&[(List, "keys"), (Read, "keys")]));

    let report = scene.back_up(&repository);
    assert_eq!(report.summary.files_unmodified, 401, "{report:?}");
    let calls = log.take();
    let mut expected = vec![
        (List, "locks"),
        (Write, "locks"),
        (List, "snapshots"),
        (Read, "snapshots"),
        (List, "index"),
        (Read, "index"),
        // All trees lie in one pack and are read with one request.
        (Read, "data"),
        (Write, "snapshots"),
        (Delete, "locks"),
    ];
    let mut made = list(&calls);
    let is_asked = |call: &(Action, String)| *call == (Stat, "locks".to_owned());
    if report.summary.meta_chunks > 0 {
        // The parents of the source may have changed, and then there is a pack of their trees; and
        // whoever stored something asks whether its lock is still there.
        expected.splice(7..7, [(Write, "data"), (Write, "index"), (Stat, "locks")]);
    } else if let Some(asked) = made.iter().position(is_asked) {
        // Who has not asks where the last look was a while ago.
        made.remove(asked);
    }
    // Settling goes on beside the walk: two requests somewhere between the index and the first
    // thing that is stored.
    let is = |action, place: &str| {
        let place = place.to_owned();
        move |call: &(Action, String)| *call == (action, place.clone())
    };
    let index = made.iter().position(is(Read, "index")).expect("an index is read");
    let look = index + made[index..].iter().position(is(List, "locks")).expect("a second look");
    let _second_look = made.remove(look);
    let proof = look + made[look..].iter().position(is(List, "index")).expect("a proof");
    let _proof = made.remove(proof);
    let stored =
        look + made[look..].iter().position(|(action, _)| *action == Write).expect("a root");
    assert!(proof <= stored, "{calls:?}");
    assert_eq!(made, words(&expected));
}
