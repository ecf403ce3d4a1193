//! Marker files that keep the contents of their directory out of a backup.
//!
//! Invariants
//! - The marker itself is kept, so that a restored directory is marked again. Where several
//!   markers of different names hold, each keeps out the others and nothing is kept.
//! - A marker counts by what is on disk, even if a pattern keeps it out of the backup.
//!
//! Not here: reading the header; the walker does, and only if the name is there.

use super::FilterError;

/// What the cache directory tagging standard prescribes.
const CACHE_TAG: &[u8] = b"CACHEDIR.TAG:Signature: 8a477f597d28d172789f06886806bc55";

/// A name, and how a file of that name has to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    name: Box<[u8]>,
    header: Box<[u8]>,
}

/// What the first bytes of a file with a marker's name say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// It is the marker.
    Matches,
    /// The file ends too early. Worth a warning: someone meant to mark the directory.
    TooShort,
    /// It begins otherwise. Worth a warning as well.
    Differs,
}

/// The markers that hold in one directory.
#[derive(Clone, Debug, Default)]
pub struct Marked<'a>(Vec<&'a Marker>);

impl Marker {
    /// Reads `name` or `name:header`.
    pub fn parse(text: &[u8]) -> Result<Self, FilterError> {
        let mut parts = text.splitn(2, |byte| *byte == b':');
        let name = parts.next().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| FilterError::MarkerWithoutName(lossy(text)))?;
        Ok(Self { name: name.into(), header: parts.next().unwrap_or_default().into() })
    }

    /// `CACHEDIR.TAG` with its signature.
    pub fn cache_tag() -> Self {
        let (name, header) = CACHE_TAG.split_at(CACHE_TAG.len().min(b"CACHEDIR.TAG".len()));
        Self { name: name.into(), header: header.strip_prefix(b":").unwrap_or(header).into() }
    }

    /// The name to look for in the directory.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Whether the name can be found in a listing. One with a slash, and `.` and `..`, has to be
    /// looked up relative to the directory.
    pub fn is_listed(&self) -> bool {
        !self.name.contains(&b'/') && *self.name != *b"." && *self.name != *b".."
    }

    /// How many bytes of the file [`Marker::matches`] needs; none if being there is enough.
    pub fn header_bytes(&self) -> usize {
        self.header.len()
    }

    /// Judges a file of this name by its first bytes.
    pub fn matches(&self, first_bytes: &[u8]) -> Header {
        match first_bytes.get(..self.header.len()) {
            None => Header::TooShort,
            Some(header) if *header == *self.header => Header::Matches,
            Some(_) => Header::Differs,
        }
    }
}

impl<'a> Marked<'a> {
    /// Adds a marker that was found.
    pub fn add(&mut self, marker: &'a Marker) {
        self.0.push(marker);
    }

    /// Whether an entry of the directory stays out of the backup.
    pub fn excludes(&self, name: &[u8]) -> bool {
        self.0.iter().any(|marker| *marker.name != *name)
    }
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_a_name_and_perhaps_a_header() {
        let cases: [(&[u8], &[u8], &[u8]); 4] = [
            (b".nobackup", b".nobackup", b""),
            (b"x:", b"x", b""),
            (b"x:y:z", b"x", b"y:z"),
            (CACHE_TAG, b"CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55"),
        ];
        for (text, name, header) in cases {
            let marker = Marker::parse(text).unwrap();
            assert_eq!((&*marker.name, &*marker.header), (name, header));
        }
        assert_eq!(Marker::parse(CACHE_TAG).unwrap(), Marker::cache_tag());
        assert!(Marker::parse(b"").is_err() && Marker::parse(b":x").is_err());
    }

    #[test]
    fn the_header_decides() {
        let marker = Marker::parse(b"tag:abc").unwrap();
        assert_eq!(marker.header_bytes(), 3);
        assert_eq!(marker.matches(b"abcdef"), Header::Matches);
        assert_eq!(marker.matches(b"abd"), Header::Differs);
        assert_eq!(marker.matches(b"ab"), Header::TooShort);
        assert_eq!(Marker::parse(b"tag").unwrap().matches(b""), Header::Matches);
    }

    #[test]
    fn a_marker_keeps_itself_and_two_keep_nothing() {
        let (one, two) = (Marker::parse(b"one").unwrap(), Marker::parse(b"two").unwrap());
        let mut marked = Marked::default();
        assert!(!marked.excludes(b"file"));
        marked.add(&one);
        assert!(marked.excludes(b"file") && !marked.excludes(b"one"));
        marked.add(&two);
        assert!(marked.excludes(b"one") && marked.excludes(b"two"));
    }

    #[test]
    fn a_marker_elsewhere_is_not_in_the_listing() {
        for (name, listed) in [("tag", true), ("sub/tag", false), ("../tag", false), (".", false)] {
            assert_eq!(Marker::parse(name.as_bytes()).unwrap().is_listed(), listed, "{name}");
        }
    }
}
