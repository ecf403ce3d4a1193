//! Paths for roots, made from templates such as `hosts/%h/%T`.
//!
//! Invariants
//! - The verbs are those that users of restic know: `%i` and `%I` for the short and the whole name
//!   of a root, `%u` user, `%h` host, `%t` each of its tags, `%T` its time; any other letter stands
//!   for itself.
//! - What a root says of itself becomes one part of a path: no value leads upwards or deeper, none
//!   is empty, none longer than a name can be.
//! - A root has no more paths of one template than [`MOST_PATHS`].

use windlass_format::time::Timestamp;

use super::stamp::stamp;
use crate::model::root::{Root, RootId};

/// Paths that one root gets of one template at most: a template may name the tags several times.
const MOST_PATHS: usize = 1024;
/// Bytes of a value in a path: names are 255 bytes at most, and there may be more in a template.
const MOST_VALUE_BYTES: usize = 120;

/// The templates that are used where none were given.
pub const USUAL: [&str; 4] = ["ids/%i", "snapshots/%T", "hosts/%h/%T", "tags/%t/%T"];
/// The layout of times that is used where none was given.
pub const USUAL_TIME: &str = "2006-01-02T15:04:05Z07:00";

/// A template, taken apart.
#[derive(Clone, Debug)]
pub(super) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    ShortId,
    Id,
    User,
    Host,
    Tag,
    Time,
}

/// Where a root goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// The directories above it, without empty parts.
    pub(super) above: Vec<String>,
    /// Its own part of the path, of which there are several where the time has slashes.
    pub(super) own: Vec<String>,
    /// Whether [`own`](Self::own) is its time, so that the newest of those beside it is of interest.
    pub(super) is_time: bool,
}

impl Template {
    pub(super) fn new(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            if char != '%' {
                plain.push(char);
                continue;
            }
            let piece = match chars.next() {
                Some('i') => Piece::ShortId,
                Some('I') => Piece::Id,
                Some('u') => Piece::User,
                Some('h') => Piece::Host,
                Some('t') => Piece::Tag,
                Some('T') => Piece::Time,
                Some(other) => {
                    plain.push(other);
                    continue;
                }
                None => break,
            };
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(piece);
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Self(pieces)
    }

    /// The directories that are there whatever roots there are.
    pub(super) fn fixed(&self) -> Vec<String> {
        match self.0.as_slice() {
            [Piece::Text(text), _, ..] => {
                parts(text.rfind('/').and_then(|end| text.get(..end)).unwrap_or_default())
            }
            _ => Vec::new(),
        }
    }

    /// Where a root goes: once for each of its tags where the template names them, and nowhere
    /// where it has none.
    pub(super) fn spots(&self, id: &RootId, root: &Root, time_layout: &str) -> Vec<Spot> {
        let time = stamp(time_layout, &root.time);
        let (last, before) = match self.0.split_last() {
            Some((Piece::Time, before)) => (true, before),
            _ => (false, self.0.as_slice()),
        };
        let mut paths = vec![String::new()];
        for piece in before {
            match piece {
                Piece::Text(text) => append(&mut paths, text),
                Piece::ShortId => append(&mut paths, &name(id.short())),
                Piece::Id => append(&mut paths, &name(id.as_str())),
                Piece::User => append(&mut paths, &name(&root.username)),
                Piece::Host => append(&mut paths, &name(&root.hostname)),
                Piece::Time => append(&mut paths, &time),
                Piece::Tag => {
                    let tags = root.tags.iter().map(|tag| name(tag));
                    let tagged =
                        tags.flat_map(|tag| paths.iter().map(move |path| format!("{path}{tag}")));
                    paths = tagged.take(MOST_PATHS).collect();
                }
            }
        }
        let spots = paths.into_iter().filter_map(|path| {
            // A time behind other text is a part of the name, not one of several.
            let is_time = last && (path.is_empty() || path.ends_with('/'));
            if is_time {
                return Some(Spot { above: parts(&path), own: parts(&time), is_time });
            }
            let mut above = parts(&if last { format!("{path}{time}") } else { path });
            let own = vec![above.pop()?];
            Some(Spot { above, own, is_time })
        });
        spots.filter(|spot| !spot.own.is_empty()).collect()
    }
}

fn append(paths: &mut [String], text: &str) {
    paths.iter_mut().for_each(|path| path.push_str(text));
}

/// The names in a path.
fn parts(path: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(shortened(part, 2 * MOST_VALUE_BYTES).replace('\0', "_")),
        }
    }
    parts
}

/// A value as one name.
fn name(value: &str) -> String {
    match value {
        "" | "." => "_".into(),
        ".." => "__".into(),
        value => shortened(value, MOST_VALUE_BYTES).replace(['/', '\0'], "_"),
    }
}

fn shortened(text: &str, most_bytes: usize) -> &str {
    let end = (0..=most_bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

/// Whether a layout of times can be the end of a path.
#[must_use]
pub fn is_usable_time(layout: &str) -> bool {
    let shown = parts(&stamp(layout, &Timestamp::utc(0, 0)));
    !shown.is_empty() && !layout.starts_with('/') && !layout.ends_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::chunk::ChunkKey;

    fn root(host: &str, tags: &[&str]) -> Root {
        Root {
            time: Timestamp::parse_rfc3339("2024-05-06T07:08:09.5+02:00").expect("a time"),
            parent: None,
            tree: ChunkKey::full(0, [0; 32]),
            top: None,
            paths: Vec::new(),
            hostname: host.into(),
            username: "me".into(),
            uid: 0,
            gid: 0,
            excludes: Vec::new(),
            tags: tags.iter().map(|tag| (*tag).into()).collect(),
            original: None,
            description: String::new(),
            program: String::new(),
            summary: None,
        }
    }

    fn paths(template: &str, root: &Root) -> Vec<String> {
        let id = RootId::new("0123456789abcdef");
        let spots = Template::new(template).spots(&id, root, USUAL_TIME);
        spots.iter().map(|spot| [&spot.above[..], &spot.own[..]].concat().join("/")).collect()
    }

    #[test]
    fn verbs_are_filled_in() {
        let root = root("desk", &["a", "b"]);
        let time = "2024-05-06T07:08:09+02:00";
        for (template, expected) in [
            ("ids/%i", vec!["ids/01234567".into()]),
            ("%I", vec!["0123456789abcdef".into()]),
            ("snapshots/%T", vec![format!("snapshots/{time}")]),
            ("hosts/%h/%T", vec![format!("hosts/desk/{time}")]),
            ("tags/%t/%T", vec![format!("tags/a/{time}"), format!("tags/b/{time}")]),
            ("%u-%h/%T-x", vec![format!("me-desk/{time}-x")]),
            ("x-%T", vec![format!("x-{time}")]),
            ("100%%/%x%", vec!["100%/x".into()]),
            ("/a//./b/../%h/", vec!["a/desk".into()]),
            ("", vec![]),
        ] {
            assert_eq!(paths(template, &root), expected, "{template}");
        }
        assert_eq!(paths("%t/%t", &root), ["a/a", "b/a", "a/b", "b/b"]);
        assert_eq!(Template::new("a/b%h/%T").fixed(), ["a"]);
        assert_eq!(Template::new("a/b/%T").fixed(), ["a", "b"]);
        assert!(Template::new("a/b").fixed().is_empty());
    }

    #[test]
    fn no_value_leads_elsewhere() {
        for (value, expected) in
            [("", "_"), (".", "_"), ("..", "__"), ("a/../b", "a_.._b"), ("a\0", "a_")]
        {
            assert_eq!(paths("h/%h", &root(value, &[])), [format!("h/{expected}")]);
            assert_eq!(paths("t/%t", &root("", &[value])), [format!("t/{expected}")]);
        }
        let long = "ü".repeat(5000);
        assert_eq!(paths("%h", &root(&long, &[]))[0].len(), MOST_VALUE_BYTES);
        assert!(paths("t/%t", &root("", &[])).is_empty());
    }

    #[test]
    fn tags_do_not_multiply_without_end() {
        let tags: Vec<String> = (0..500).map(|tag| tag.to_string()).collect();
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        assert_eq!(paths("%t/%t/%t/%t/%t/%t", &root("", &tags)).len(), MOST_PATHS);
    }

    #[test]
    fn times_have_to_make_a_name() {
        for (layout, usable) in
            [(USUAL_TIME, true), ("2006/01/02", true), ("", false), ("/2006", false), ("..", false)]
        {
            assert_eq!(is_usable_time(layout), usable, "{layout}");
        }
    }
}
