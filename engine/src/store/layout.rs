//! How flat keys become relative paths of files, and back.
//!
//! Invariants
//! - [`Layout::key`] answers only for paths that [`Layout::path`] gives: whatever does not map back
//!   (temporary files, side files of other tools, misplaced objects) is foreign and never listed.
//! - No path leaves the location: components are never empty, `.` or `..`, and hold no separator.
//!
//! Not here: which layout a repository has (`protocol`), and opening files (`local`).

use super::Key;

/// How an adapter with directories stores keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// The key is the path; names with [`TEMPORARY_MARK`] are no keys.
    Plain,
    /// `type/name`, where names are 64 lowercase hex digits and `data/abcd…` becomes
    /// `data/ab/abcd…`; one object, `config`, lies at the top.
    Sharded {
        /// Directories to create up front, parents first.
        dirs: Vec<String>,
    },
    /// Directories take their letters from the front of the name: with shards 1 and 3, `p1234abcd…`
    /// becomes `p/123/4abcd….f`.
    Leading {
        /// Letters for each level of directories.
        shards: Vec<usize>,
        /// Other shards for names that start so; the first match counts.
        overrides: Vec<(String, Vec<usize>)>,
        /// Names of at most so many letters stay at the top.
        max_unsharded: usize,
        /// What is appended to every name.
        suffix: String,
    },
}

/// Part of the name of every file that is not an object yet; no layout takes it for an object.
pub const TEMPORARY_MARK: &str = "-tmp-";

/// What an object is called whose name is not known yet.
pub const DRAFT_NAME: &str = "draft";

const NAME_DIGITS: usize = 64;
const SHARDED_TYPE: &str = "data";
const TOP_OBJECT: &str = "config";

impl Layout {
    /// Where `key` lies below the location; `None` for a key that this layout has no place for.
    #[must_use]
    pub fn path(&self, key: &Key) -> Option<String> {
        let name = key.as_str();
        let path = match self {
            Self::Plain if name.contains(TEMPORARY_MARK) => return None,
            Self::Plain => name.to_owned(),
            Self::Sharded { dirs } => sharded_path(dirs, name)?,
            Self::Leading { shards, overrides, max_unsharded, suffix } => {
                if name.is_empty() || !name.is_ascii() || name.contains('/') {
                    return None;
                }
                let shards = overrides
                    .iter()
                    .find(|(prefix, _)| name.starts_with(prefix.as_str()))
                    .map_or(shards, |(_, shards)| shards);
                let shards = if name.len() > *max_unsharded { shards.as_slice() } else { &[] };
                leading_path(shards, suffix, name)
            }
        };
        stays_inside(&path).then_some(path)
    }

    /// The key of the object at `path`; `None` for foreign files.
    #[must_use]
    pub fn key(&self, path: &str) -> Option<Key> {
        let key = match self {
            Self::Plain => Key::new(path),
            Self::Sharded { .. } => match path.split_once('/') {
                None => Key::new(path),
                Some((kind, rest)) => {
                    let name = rest.rsplit('/').next()?;
                    Key::new(format!("{kind}/{name}"))
                }
            },
            Self::Leading { suffix, .. } => {
                Key::new(path.strip_suffix(suffix.as_str())?.replace('/', ""))
            }
        };
        (self.path(&key)? == path).then_some(key)
    }

    /// Whether the directory at `path` may hold objects whose key starts with `prefix`; `false`
    /// for foreign directories.
    #[must_use]
    pub fn may_hold(&self, path: &str, prefix: &str) -> bool {
        let begins = match self {
            Self::Plain => format!("{path}/"),
            Self::Sharded { dirs } => match path.split_once('/') {
                None if has_type(dirs, path) => format!("{path}/"),
                Some((SHARDED_TYPE, shard)) if shard.len() == 2 && is_hex(shard) => path.to_owned(),
                _ => return false,
            },
            Self::Leading { shards, overrides, .. } => {
                let deepest = overrides.iter().map(|(_, shards)| shards.len()).max().unwrap_or(0);
                if path.split('/').count() > deepest.max(shards.len()) {
                    return false;
                }
                path.replace('/', "")
            }
        };
        begins.starts_with(prefix) || prefix.starts_with(&begins)
    }

    /// What the paths of all objects start with whose keys start with `prefix`. Others may, too.
    #[must_use]
    pub fn path_prefix(&self, prefix: &str) -> String {
        match self {
            Self::Plain => prefix.to_owned(),
            Self::Sharded { .. } => match prefix.split_once('/') {
                Some((SHARDED_TYPE, digits)) if digits.len() >= 2 && digits.is_ascii() => {
                    format!("{SHARDED_TYPE}/{}/{digits}", &digits[..2])
                }
                _ => prefix.to_owned(),
            },
            Self::Leading { shards, overrides, .. } => {
                // Short names have no directory and long ones may have several kinds.
                let all = overrides.iter().map(|(_, shards)| shards).chain([shards]);
                let firsts = all.map(|shards| shards.first().copied().unwrap_or(usize::MAX));
                let same = firsts.min().unwrap_or(0).min(prefix.len());
                prefix.get(..same).unwrap_or_default().to_owned()
            }
        }
    }

    /// Whether a writer of this layout gives this name to what is no object yet: the name and place
    /// of an object, or of one whose name is not known yet, and random digits behind the mark.
    #[must_use]
    pub fn is_temporary(&self, path: &str) -> bool {
        // Only of this one it is known what all its writers do.
        let Self::Sharded { .. } = self else { return false };
        let Some((object, random)) = path.rsplit_once(TEMPORARY_MARK) else { return false };
        let is_random = match random.len() {
            1..=10 => random.bytes().all(|digit| digit.is_ascii_digit()),
            16 => is_hex(random),
            _ => false,
        };
        let draft = || format!("{}/{DRAFT_NAME}", self.draft_directory());
        is_random && (object == draft() || self.key(object).is_some())
    }

    /// The directories to create with the location, parents first.
    #[must_use]
    pub fn directories(&self) -> &[String] {
        match self {
            Self::Sharded { dirs } => dirs,
            Self::Plain | Self::Leading { .. } => &[],
        }
    }

    /// Where to assemble an object whose name is not known yet: on the file system of most
    /// objects, and in a directory where tools of this layout overlook files of other names.
    #[must_use]
    pub fn draft_directory(&self) -> &'static str {
        match self {
            Self::Sharded { .. } => SHARDED_TYPE,
            Self::Plain | Self::Leading { .. } => "",
        }
    }

    /// The object whose permissions say how all others are created, where there is one; then
    /// objects are read-only files.
    #[must_use]
    pub fn model_object(&self) -> Option<&'static str> {
        match self {
            Self::Sharded { .. } => Some(TOP_OBJECT),
            Self::Plain | Self::Leading { .. } => None,
        }
    }
}

fn sharded_path(dirs: &[String], name: &str) -> Option<String> {
    let Some((kind, digits)) = name.split_once('/') else {
        return (name == TOP_OBJECT).then(|| name.to_owned());
    };
    if digits.len() != NAME_DIGITS || !is_hex(digits) || !has_type(dirs, kind) {
        return None;
    }
    if kind == SHARDED_TYPE {
        let shard = digits.get(..2)?;
        return Some(format!("{kind}/{shard}/{digits}"));
    }
    Some(name.to_owned())
}

fn leading_path(shards: &[usize], suffix: &str, name: &str) -> String {
    let mut path = String::with_capacity(name.len() + shards.len() + suffix.len());
    let mut rest = name;
    for &letters in shards {
        // A name that is used up stays whole from here on; the last letter is never a directory.
        let Some((directory, left)) = rest.split_at_checked(letters) else { break };
        if left.is_empty() {
            break;
        }
        path.push_str(directory);
        path.push('/');
        rest = left;
    }
    path.push_str(rest);
    path.push_str(suffix);
    path
}

fn has_type(dirs: &[String], kind: &str) -> bool {
    dirs.iter().any(|dir| dir == kind)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

fn stays_inside(path: &str) -> bool {
    !path.contains('\0') && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sharded() -> Layout {
        Layout::Sharded { dirs: ["data", "data/00", "index", "keys"].map(str::to_owned).to_vec() }
    }

    fn leading(shards: &[usize]) -> Layout {
        Layout::Leading {
            shards: shards.to_vec(),
            overrides: vec![("x".to_owned(), vec![2])],
            max_unsharded: 20,
            suffix: ".f".to_owned(),
        }
    }

    fn check_path(layout: &Layout, key: &str, path: &str) {
        assert_eq!(layout.path(&Key::new(key)).as_deref(), Some(path));
        assert_eq!(layout.key(path), Some(Key::new(key)), "{path}");
    }

    #[test]
    fn data_is_sharded_and_the_rest_is_not() {
        let name = "4f2a".repeat(16);
        check_path(&sharded(), &format!("data/{name}"), &format!("data/4f/{name}"));
        check_path(&sharded(), &format!("index/{name}"), &format!("index/{name}"));
        check_path(&sharded(), "config", "config");
    }

    #[test]
    fn leading_letters_become_directories() {
        let name = "p1234567890123456789012";
        check_path(&leading(&[1, 3]), name, "p/123/4567890123456789012.f");
        check_path(&leading(&[3, 3]), name, "p12/345/67890123456789012.f");
        check_path(&leading(&[]), name, "p1234567890123456789012.f");
        check_path(&leading(&[1, 40]), name, "p/1234567890123456789012.f");
        check_path(&leading(&[23]), name, "p1234567890123456789012.f");
        check_path(&leading(&[1, 3]), "x12345678901234567890", "x1/2345678901234567890.f");
    }

    #[test]
    fn names_of_twenty_letters_stay_at_the_top() {
        check_path(&leading(&[1, 3]), "a.settings.blob", "a.settings.blob.f");
        check_path(&leading(&[1, 3]), "p1234567890123456789", "p1234567890123456789.f");
        check_path(&leading(&[1, 3]), "p12345678901234567890", "p/123/45678901234567890.f");
    }

    #[test]
    fn foreign_files_have_no_key() {
        let name = "4f2a".repeat(16);
        for path in [
            format!("data/{name}"),
            format!("data/4e/{name}"),
            format!("data/4f/{name}-tmp-12"),
            format!("data/4f/{name}.par2"),
            format!("index/{}", name.to_uppercase()),
            format!("other/{name}"),
            format!("index/4f/{name}"),
            "README".to_owned(),
            "index/".to_owned(),
        ] {
            assert_eq!(sharded().key(&path), None, "{path}");
        }
        for path in [".shards", "p/123/4567890123456789012", "p/1234567890123456789012.f", ".f"] {
            assert_eq!(leading(&[1, 3]).key(path), None, "{path}");
        }
    }

    #[test]
    fn hostile_keys_have_no_path() {
        let dots = format!("..{}", "a".repeat(30));
        for key in ["", "../x", "a/../b", "/etc", "a//b", "a\0b", "data/..", dots.as_str()] {
            assert_eq!(sharded().path(&Key::new(key)), None, "{key}");
            assert_eq!(leading(&[2, 3]).path(&Key::new(key)), None, "{key}");
        }
        assert_eq!(Layout::Plain.path(&Key::new("../x")), None);
    }

    #[test]
    fn a_listing_enters_only_directories_that_can_hold_the_prefix() {
        let name = "4f2a".repeat(16);
        assert!(sharded().may_hold("data", "data/"));
        assert!(sharded().may_hold("data", &format!("data/{name}")));
        assert!(sharded().may_hold("data/4f", &format!("data/{name}")));
        assert!(!sharded().may_hold("data/4e", &format!("data/{name}")));
        assert!(!sharded().may_hold("index", "data/"));
        assert!(!sharded().may_hold("other", ""));
        assert!(!sharded().may_hold("index/4f", ""));
        assert!(leading(&[1, 3]).may_hold("p", "p1"));
        assert!(leading(&[1, 3]).may_hold("p/123", "p1"));
        assert!(!leading(&[1, 3]).may_hold("p/223", "p1"));
        assert!(!leading(&[1, 3]).may_hold("p/123/4", "p1"));
    }

    #[test]
    fn prefixes_of_keys_become_prefixes_of_paths() {
        let name = "4f2a".repeat(16);
        let path = format!("data/4f/{name}");
        for (prefix, want) in [
            ("", ""),
            ("da", "da"),
            ("data/", "data/"),
            ("data/4", "data/4"),
            ("data/4f", "data/4f/4f"),
            ("data/4f2", "data/4f/4f2"),
            ("index/4f2", "index/4f2"),
        ] {
            assert_eq!(sharded().path_prefix(prefix), want, "{prefix}");
            assert!(!prefix.starts_with("data") || path.starts_with(want));
        }
        assert_eq!(leading(&[2, 3]).path_prefix("p1234"), "p1");
    }

    proptest! {
        #[test]
        fn every_name_with_a_path_maps_back(
            name in "[a-z_.0-9-]{1,60}",
            shards in prop::collection::vec(0_usize..6, 0..4),
        ) {
            let layout = leading(&shards);
            if let Some(path) = layout.path(&Key::new(name.as_str())) {
                prop_assert_eq!(layout.key(&path), Some(Key::new(name.as_str())));
                let mut directory = path.as_str();
                while let Some((parent, _)) = directory.rsplit_once('/') {
                    prop_assert!(layout.may_hold(parent, &name));
                    directory = parent;
                }
                for end in 0..=name.len() {
                    prop_assert!(path.starts_with(&layout.path_prefix(&name[..end])));
                }
            }
        }
    }
}
