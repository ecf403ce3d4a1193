//! Which snapshot is restored.
//!
//! Invariants
//! - Snapshots of exactly the data volume's path count, of any host, in the order of their times.
//! - `RESTORE_AS_OF` is meant to the second and includes it.
//! - None left over is an answer; that one could not be read while none is left over is not.

use windlass_engine::format::time::Timestamp;

use crate::{settings::environment::Variables, snapshot::Snapshot, volsync::ending::Halt};

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    /// None that is younger.
    as_of: Option<Timestamp>,
    /// So many are passed over, the youngest first.
    previous: usize,
    /// Whether what the snapshot does not have is removed.
    pub(super) delete: bool,
}

/// What there is.
#[derive(Debug)]
pub(super) struct Choice {
    /// Snapshots of the volume.
    pub(super) found: usize,
    /// Those of them that are old enough.
    pub(super) eligible: usize,
    /// The one to restore.
    pub(super) snapshot: Option<Snapshot>,
    /// What a rule would have chosen that looks for the path anywhere in a line of the list, where
    /// that is another one.
    pub(super) loose: Option<Snapshot>,
}

impl Wish {
    /// Reads the variables.
    pub(super) fn of(variables: &Variables) -> Result<Self, Halt> {
        let as_of = variables.plain("RESTORE_AS_OF")?;
        let as_of = as_of.map(|text| {
            Timestamp::parse_rfc3339(&text).ok_or_else(|| {
                let why = "is no time of RFC 3339 like 2006-01-02T15:04:05+01:00";
                Halt::misused(1, &format!("RESTORE_AS_OF: {text:?} {why}"))
            })
        });
        let previous = match variables.plain("SELECT_PREVIOUS")? {
            None => 0,
            Some(text) => text.parse().map_err(|_not_a_number| {
                let why = "is no number of snapshots to go back";
                Halt::misused(1, &format!("SELECT_PREVIOUS: {text:?} {why}"))
            })?,
        };
        let mut delete = false;
        for word in variables.plain("RESTORE_OPTIONS")?.unwrap_or_default().split_whitespace() {
            if word != "--delete" {
                let why = "is not supported, only --delete is";
                return Err(Halt::misused(1, &format!("RESTORE_OPTIONS: {word} {why}")));
            }
            delete = true;
        }
        Ok(Self { as_of: as_of.transpose()?, previous, delete })
    }

    /// The one that is meant, out of all in the order of their times.
    pub(super) fn choose(&self, snapshots: &[Snapshot], path: &str) -> Choice {
        let exact: Vec<&Snapshot> =
            snapshots.iter().filter(|snapshot| snapshot.root.paths == [path]).collect();
        let mentions = |snapshot: &&Snapshot| {
            let root = &snapshot.root;
            let columns = root.paths.iter().chain(&root.tags).chain([&root.hostname]);
            columns.into_iter().any(|text| text.contains(path))
        };
        let mentioned: Vec<&Snapshot> = snapshots.iter().filter(mentions).collect();
        let chosen = self.pick(&exact);
        let loose = self.pick(&mentioned).filter(|it| chosen.is_none_or(|own| own.id != it.id));
        Choice {
            found: exact.len(),
            eligible: exact.iter().filter(|snapshot| self.is_old_enough(snapshot)).count(),
            snapshot: chosen.cloned(),
            loose: loose.cloned(),
        }
    }

    fn pick<'s>(&self, snapshots: &[&'s Snapshot]) -> Option<&'s Snapshot> {
        let mut newest_first = snapshots.iter().rev().filter(|it| self.is_old_enough(it));
        newest_first.nth(self.previous).copied()
    }

    fn is_old_enough(&self, snapshot: &Snapshot) -> bool {
        self.as_of.is_none_or(|as_of| snapshot.root.time.seconds <= as_of.seconds)
    }
}

#[cfg(test)]
mod tests {
    use windlass_engine::model::root::RootId;

    use super::*;
    use crate::snapshot::filter::tests::root;

    fn snapshot(id: &str, seconds: i64, host: &str, paths: &[&str]) -> Snapshot {
        Snapshot { id: RootId::new(id), root: root(seconds, host, &[], paths) }
    }

    fn chosen(variables: &[(&str, &str)], snapshots: &[Snapshot]) -> Option<String> {
        let wish = Wish::of(&Variables::fixed(variables)).expect("a wish");
        wish.choose(snapshots, "/data").snapshot.map(|it| it.id.as_str().to_owned())
    }

    #[test]
    fn the_newest_that_is_old_enough_and_from_there_back() {
        let all = [
            snapshot("a", 1_000, "volsync", &["/data"]),
            snapshot("b", 2_000, "other", &["/data"]),
            snapshot("c", 3_000, "volsync", &["/data"]),
        ];
        let of = |variables: &[(&str, &str)]| chosen(variables, &all);
        assert_eq!(of(&[]).as_deref(), Some("c"));
        assert_eq!(of(&[("SELECT_PREVIOUS", "1")]).as_deref(), Some("b"));
        assert_eq!(of(&[("SELECT_PREVIOUS", "9999")]), None);
        // To the second, whatever zone it is written in.
        assert_eq!(of(&[("RESTORE_AS_OF", "1970-01-01T00:33:20Z")]).as_deref(), Some("b"));
        assert_eq!(of(&[("RESTORE_AS_OF", "1970-01-01T01:33:20.9+01:00")]).as_deref(), Some("b"));
        assert_eq!(of(&[("RESTORE_AS_OF", "1970-01-01T00:33:19Z")]).as_deref(), Some("a"));
        let both = [("RESTORE_AS_OF", "1970-01-01T00:33:20Z"), ("SELECT_PREVIOUS", "1")];
        assert_eq!(of(&both).as_deref(), Some("a"));
        assert_eq!(of(&[("RESTORE_AS_OF", "1969-12-31T00:00:00Z")]), None);
    }

    #[test]
    fn another_volume_is_not_taken_for_this_one_and_is_told() {
        let all = [
            snapshot("a", 1_000, "volsync", &["/data"]),
            snapshot("b", 2_000, "other", &["/data2"]),
            snapshot("c", 3_000, "other", &["/data", "/etc"]),
        ];
        let choice = Wish::default().choose(&all, "/data");
        assert_eq!((choice.found, choice.eligible), (1, 1));
        assert_eq!(choice.snapshot.map(|it| it.id.as_str().to_owned()).as_deref(), Some("a"));
        assert_eq!(choice.loose.map(|it| it.id.as_str().to_owned()).as_deref(), Some("c"));
        assert!(Wish::default().choose(&all[..1], "/data").loose.is_none());
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        for (name, value) in [
            ("RESTORE_AS_OF", "yesterday"),
            ("RESTORE_AS_OF", "2022-08-01"),
            ("RESTORE_AS_OF", "2022-13-01T00:00:00Z"),
            ("SELECT_PREVIOUS", "-1"),
            ("SELECT_PREVIOUS", "one"),
            ("RESTORE_OPTIONS", "--delete --overwrite=never"),
        ] {
            let halt = Wish::of(&Variables::fixed(&[(name, value)])).expect_err(value);
            assert_eq!(halt.code, 1);
            assert!(halt.lines[0].starts_with(&format!("ERROR: {name}: ")), "{halt:?}");
        }
    }
}
