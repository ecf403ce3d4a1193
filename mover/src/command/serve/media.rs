//! What kind of content a file is said to be.
//!
//! Invariants: only kinds in which a browser runs nothing are named and shown; everything else is
//! bytes to be stored. Names decide, nobody looks into the file, and browsers are told not to.

/// A kind of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Media {
    pub(super) name: &'static str,
    /// Whether a browser may show it.
    pub(super) is_shown: bool,
}

const BYTES: Media = Media { name: "application/octet-stream", is_shown: false };
const TEXT: &str = "text/plain; charset=utf-8";

/// Kinds by the ends of names.
const SHOWN: [(&str, &str); 26] = [
    ("txt", TEXT),
    ("text", TEXT),
    ("md", TEXT),
    ("log", TEXT),
    ("conf", TEXT),
    ("ini", TEXT),
    ("toml", TEXT),
    ("yaml", TEXT),
    ("yml", TEXT),
    ("csv", TEXT),
    ("json", "application/json"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("avif", "image/avif"),
    ("bmp", "image/bmp"),
    ("mp3", "audio/mpeg"),
    ("ogg", "audio/ogg"),
    ("opus", "audio/ogg"),
    ("flac", "audio/flac"),
    ("wav", "audio/wav"),
    ("m4a", "audio/mp4"),
    ("mp4", "video/mp4"),
    ("webm", "video/webm"),
];

/// The kind of a file with this name.
pub(super) fn of(name: &[u8]) -> Media {
    let extension = name.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    let has_one = extension.len() < name.len();
    let is_it = |known: &str| has_one && extension.eq_ignore_ascii_case(known.as_bytes());
    let shown = SHOWN.iter().find(|(known, _)| is_it(known));
    shown.map_or(BYTES, |(_, name)| Media { name, is_shown: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_run_is_never_shown() {
        for name in ["a.html", "a.svg", "a.xml", "a.xhtml", "a.pdf", "a.js", "a", "txt", "a.txt~"] {
            assert_eq!(of(name.as_bytes()), BYTES, "{name}");
        }
        for (name, expected) in [("a.TXT", TEXT), (".log", TEXT), ("a.html.png", "image/png")] {
            assert_eq!(of(name.as_bytes()), Media { name: expected, is_shown: true });
        }
    }
}
