//! JSON messages, beside those of the real restic for the same work: the same types of messages,
//! the same fields, the same types of values.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use serde_json::Value;

use crate::{
    place::{PASSWORD, Place, Said},
    restic::there_is_restic_as_documented,
};

/// What restic is called here, and what is done with it.
const OURS: &str = "ours";
const THEIRS: &str = "theirs";

/// Types of values by field, by kind of message.
type Shapes = BTreeMap<String, BTreeMap<String, BTreeSet<&'static str>>>;

/// A place in which both tools do the same with a repository each, and what restic said so far.
struct Both(Place, RefCell<Shapes>);

impl Both {
    fn new() -> Self {
        let place = Place::new();
        for directory in ["src/empty", "src/gone/deep"] {
            fs::create_dir_all(place.path(directory)).expect("a directory");
        }
        place.write("src/gone/deep/x", b"gone");
        place.write("src/left-out.tmp", b"left out");
        fs::hard_link(place.path("src/a"), place.path("src/link")).expect("a link");
        std::os::unix::fs::symlink("a", place.path("src/turned")).expect("a link");
        Self(place, RefCell::default())
    }

    fn ours(&self, args: &[&str]) -> Said {
        Said::of(
            self.0.command(args).env("RESTIC_REPOSITORY", OURS).env("RESTIC_PROGRESS_FPS", "60"),
        )
    }

    fn theirs(&self, args: &[&str]) -> Said {
        let mut command = Command::new("restic");
        command.current_dir(self.0.dir.path()).args(args).env("RESTIC_PROGRESS_FPS", "60");
        command.env("RESTIC_REPOSITORY", THEIRS).env("RESTIC_PASSWORD", PASSWORD).env("TZ", "UTC");
        Said::of(command.env("XDG_CACHE_HOME", self.0.path("caches")))
    }

    /// Does the same with both; they end in the same way. `OUT` stands for a directory of each
    /// tool.
    fn both(&self, args: &[&str]) -> [Said; 2] {
        let with = |name: &str| -> Vec<String> {
            args.iter().map(|arg| arg.replace("OUT", &format!("{name}-out"))).collect()
        };
        let texts = |args: &[String], run: &dyn Fn(&[&str]) -> Said| {
            run(&args.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let ours = texts(&with(OURS), &|args| self.ours(args));
        let theirs = texts(&with(THEIRS), &|args| self.theirs(args));
        assert_eq!(ours.code, theirs.code, "{args:?}\n{ours:?}\n{theirs:?}");
        for (kind, fields) in shapes(&theirs.out) {
            self.1.borrow_mut().entry(kind).or_default().extend(fields);
        }
        [ours, theirs]
    }

    /// Both say the same, but for `status`, of which how many there are depends on the speed.
    fn agree(&self, args: &[&str]) {
        let [ours, theirs] = self.both(args);
        let [mut our_shapes, mut their_shapes] = [&ours.out, &theirs.out].map(|out| shapes(out));
        our_shapes.remove("status");
        their_shapes.remove("status");
        assert_eq!(our_shapes, their_shapes, "{args:?}\n{ours:?}\n{theirs:?}");
        let [mut our_errors, their_errors] = [&ours.err, &theirs.err].map(|err| shapes(err));
        // What to do next is more than restic says.
        our_errors.entry("exit_error".into()).or_default().remove(".advice");
        our_errors.retain(|_kind, fields| !fields.is_empty());
        for (kind, fields) in &their_errors {
            assert_eq!(our_errors.get(kind), Some(fields), "{args:?}\n{ours:?}\n{theirs:?}");
        }
    }

    /// What is done differs, but nothing is said that restic would not say in some case.
    fn agree_in_words(&self, args: &[&str]) {
        let [ours, theirs] = self.both(args);
        for (kind, fields) in shapes(&ours.out) {
            let known = self.1.borrow().get(&kind).cloned().unwrap_or_default();
            for (field, types) in fields {
                assert_eq!(known.get(&field), Some(&types), "{kind}{field} {ours:?} {theirs:?}");
            }
        }
    }
}

/// What messages look like. Lines that are no JSON are none.
fn shapes(text: &str) -> Shapes {
    let mut shapes = Shapes::new();
    for line in text.lines() {
        let Ok(value) = serde_json::from_str::<Value>(line) else { continue };
        let kind = match (&value["message_type"], &value["action"]) {
            (Value::String(kind), Value::String(action)) => format!("{kind}: {action}"),
            (Value::String(kind), _) => kind.clone(),
            _ => "document".into(),
        };
        look_at(&value, "", shapes.entry(kind).or_default());
    }
    shapes
}

fn look_at(value: &Value, path: &str, fields: &mut BTreeMap<String, BTreeSet<&'static str>>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    fields.entry(path.to_owned()).or_default().insert(kind);
    match value {
        Value::Array(values) => {
            values.iter().for_each(|it| look_at(it, &format!("{path}[]"), fields))
        }
        Value::Object(values) => {
            values.iter().for_each(|(name, it)| look_at(it, &format!("{path}.{name}"), fields));
        }
        _ => {}
    }
}

#[test]
fn messages_have_the_fields_of_restic() {
    if !there_is_restic_as_documented() {
        return;
    }
    let both = Both::new();
    let place = &both.0;
    both.agree(&["init", "--json"]);
    let backup = ["backup", "src", "--json", "-vv", "--exclude=*.tmp", "--tag=t", "--host=h"];
    both.agree(&backup);
    both.agree(&["snapshots", "--json"]);
    fs::write(place.path("src/a"), b"other").expect("written");
    fs::remove_dir_all(place.path("src/gone")).expect("removed");
    fs::create_dir(place.path("src/new")).expect("a directory");
    fs::write(place.path("src/new/f"), b"new").expect("written");
    both.agree(&backup);
    both.agree(&["backup", "src", "missing", "--json"]);
    both.agree(&["backup", "missing", "--json"]);
    both.agree(&["backup", "src", "--json", "--skip-if-unchanged"]);

    both.agree(&["restore", "latest", "--target=OUT", "--json", "-vv"]);
    for name in [OURS, THEIRS] {
        fs::write(place.path(&format!("{name}-out/src/a")), b"changed").expect("written");
        fs::write(place.path(&format!("{name}-out/src/extra")), b"extra").expect("written");
    }
    // Directories that are as they should be are restored again by restic, and not by Windlass.
    let again = |option: &str| {
        both.agree_in_words(&["restore", "latest", "--target=OUT", "--json", "-vv", option]);
    };
    again("--delete");
    again("--overwrite=never");
    again("--dry-run");

    for args in [
        &["snapshots", "--json"][..],
        &["snapshots", "--json", "--group-by=host,paths,tags"],
        &["snapshots", "--json", "--tag=none"],
        &["key", "list", "--json"],
        &["version", "--json"],
        &["ls", "--json", "latest"],
        &["find", "--json", "a", "new"],
        &["stats", "--json", "--mode=raw-data"],
        &["snapshots", "--json", "0123456789"],
        &["restore", "0123456789", "--target=OUT", "--json"],
    ] {
        both.agree(args);
    }
    let wrong = |mut command: Command| Said::of(command.env("RESTIC_PASSWORD", "wrong"));
    let mut command = place.command(&["snapshots", "--json", "-r", OURS]);
    command.env_remove("RESTIC_REPOSITORY");
    let said = wrong(command);
    assert_eq!(said.code, Some(12));
    let error: Value = serde_json::from_str(&said.err).expect("one message");
    assert_eq!((&error["message_type"], &error["code"]), (&"exit_error".into(), &12.into()));
}

#[test]
fn status_names_what_is_being_read() {
    let both = Both::new();
    both.ours(&["init"]);
    let dump = "head -c 3000000 /dev/urandom; sleep 1.5; echo end";
    let args = ["backup", "--json", "--stdin-from-command", "--", "sh", "-c", dump];
    let ours = both.ours(&args);
    assert_eq!(ours.code, Some(0), "{ours:?}");
    let of = |said: &Said| shapes(&said.out).remove("status").unwrap_or_default();
    let fields = of(&ours);
    let messages = ours.messages();
    let current = messages.iter().find_map(|message| message.get("current_files"));
    assert_eq!(current, Some(&serde_json::json!(["/stdin"])), "{ours:?}");
    let statuses = messages.iter().filter(|message| message["message_type"] == "status");
    assert!(statuses.count() > 10, "{ours:?}");
    if there_is_restic_as_documented() {
        both.theirs(&["init"]);
        let theirs = of(&both.theirs(&args));
        for (field, types) in &theirs {
            let known = fields.get(field);
            assert!(known.is_none_or(|known| known == types), "{field} {known:?} {types:?}");
        }
        for field in [".percent_done", ".seconds_elapsed", ".bytes_done", ".current_files[]"] {
            assert!(theirs.contains_key(field) && fields.contains_key(field), "{field} {theirs:?}");
        }
        let known = [
            "",
            ".message_type",
            ".seconds_elapsed",
            ".seconds_remaining",
            ".percent_done",
            ".total_files",
            ".files_done",
            ".total_bytes",
            ".bytes_done",
            ".error_count",
            ".current_files",
            ".current_files[]",
        ];
        assert!(fields.keys().all(|field| known.contains(&field.as_str())), "{fields:?}");
    }
}

#[test]
fn changes_of_keys_are_messages_too() {
    let place = Place::with_repository();
    place.write("second", b"second\n");
    let added = place.done(&["key", "add", "--json", "--new-password-file=second"]);
    let added = added.message("key_added");
    let id = added["id"].as_str().expect("an id");
    let removed = place.done(&["key", "remove", "--json", id]).message("key_removed");
    assert_eq!(removed["id"], id);
}
