//! Directory objects.
//!
//! Invariants
//! - Entries keep the order they are stored in: directories first, then the rest, each by name.
//! - Names are as stored. Kopia replaced bytes that are not UTF-8 before it stored them, so two
//!   entries may bear the same name; whether a name is safe to create is the reader's to check.
//! - A missing `mtime` is the Unix epoch, a missing `uid` or `gid` is 0.
//!
//! ```text
//! {"stream":"kopia:directory","entries":[..],"summary":{..}}
//! ```
//!
//! Traps: `mode` is the octal of *Go's* mode bits without the type: sticky is 04000000, setuid
//! 040000000, setgid 020000000.
//!
//! Checked against `snapshot/manifest.go`, `snapshot/snapshotfs/dir_reader.go` and `fs/entry.go`.

use std::borrow::Cow;

use serde::Deserialize;

use super::id::ObjectId;
use super::json;
use crate::damage::Damage;
use crate::time::Timestamp;

/// Bytes of the largest directory object that is decoded: some two million entries.
pub const DIRECTORY_LEN_MAX: usize = 512 << 20;

const STREAM: &str = "kopia:directory";

/// A directory as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Its entries.
    pub entries: Vec<DirEntry>,
    /// Totals of everything below, if they were written.
    pub summary: Option<Summary>,
}

/// One entry of a directory, or the root of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// Name in the directory; of a root, the last part of its path.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// Go's mode bits without the type, as stored.
    pub go_mode: u32,
    /// Bytes of a file; the length of a link's target; 0 for directories.
    pub size: u64,
    /// Modification time in UTC.
    pub mtime: Timestamp,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Contents of a file, listing of a directory, target of a link (raw bytes); `None` where a
    /// failed run left it out.
    pub object: Option<ObjectId>,
    /// Totals of everything below a directory.
    pub summary: Option<Summary>,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// `f`
    File,
    /// `d`
    Directory,
    /// `s`
    Symlink,
    /// A type this reader does not know; kopia writes none.
    Unknown,
}

impl DirEntry {
    /// The twelve permission bits of POSIX.
    #[must_use]
    pub fn permissions(&self) -> u32 {
        let bit = |go: u32, posix: u32| if self.go_mode & go == 0 { 0 } else { posix };
        self.go_mode & 0o777 | bit(1 << 23, 0o4000) | bit(1 << 22, 0o2000) | bit(1 << 20, 0o1000)
    }
}

/// Totals of everything below a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Bytes of all files.
    pub size: i64,
    /// Files.
    pub files: i64,
    /// Symbolic links.
    pub symlinks: i64,
    /// Directories, this one included.
    pub dirs: i64,
    /// Newest modification time below.
    pub max_time: Timestamp,
    /// Why the listing is not whole, empty if it is.
    pub incomplete: String,
    /// Entries that could not be read.
    pub failed: i64,
    /// Entries that could not be read and were meant to be ignored.
    pub ignored: i64,
}

#[derive(Deserialize)]
struct Wire<'j> {
    #[serde(borrow, default)]
    stream: Cow<'j, str>,
    #[serde(borrow, default)]
    entries: Option<Vec<WireEntry<'j>>>,
    #[serde(borrow, default)]
    summary: Option<WireSummary<'j>>,
}

/// An entry as it is in JSON, borrowing what has no escapes; empty text stands for a missing field.
/// Shared with the root entry of snapshots.
#[derive(Deserialize)]
pub(super) struct WireEntry<'j> {
    #[serde(default)]
    name: String,
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'j, str>,
    #[serde(borrow, default)]
    mode: Cow<'j, str>,
    #[serde(default)]
    size: i64,
    #[serde(borrow, default)]
    mtime: Cow<'j, str>,
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
    #[serde(borrow, default)]
    obj: Cow<'j, str>,
    #[serde(borrow, default)]
    summ: Option<WireSummary<'j>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireSummary<'j> {
    #[serde(default)]
    size: i64,
    #[serde(default)]
    files: i64,
    #[serde(default)]
    symlinks: i64,
    #[serde(default)]
    dirs: i64,
    #[serde(borrow, default)]
    max_time: Cow<'j, str>,
    #[serde(default)]
    incomplete: String,
    #[serde(default)]
    num_failed: i64,
    #[serde(default)]
    num_ignored_errors: i64,
}

/// Decodes a directory object.
pub fn decode(bytes: &[u8]) -> Result<Directory, Damage> {
    let wire: Wire<'_> = json::read(bytes, "directory", DIRECTORY_LEN_MAX)?;
    if wire.stream != STREAM {
        return Err(Damage::Invalid { what: "directory stream" });
    }
    let entries = wire.entries.unwrap_or_default().into_iter().map(DirEntry::try_from);
    Ok(Directory {
        entries: entries.collect::<Result<_, _>>()?,
        summary: wire.summary.map(Summary::try_from).transpose()?,
    })
}

impl TryFrom<WireEntry<'_>> for DirEntry {
    type Error = Damage;

    fn try_from(wire: WireEntry<'_>) -> Result<Self, Damage> {
        let object = match &*wire.obj {
            "" => None,
            text => {
                let what = "object id in a directory";
                Some(ObjectId::parse(text).ok_or(Damage::Invalid { what })?)
            }
        };
        Ok(Self {
            name: wire.name,
            kind: match &*wire.kind {
                "f" => EntryKind::File,
                "d" => EntryKind::Directory,
                "s" => EntryKind::Symlink,
                _ => EntryKind::Unknown,
            },
            go_mode: go_mode(&wire.mode)?,
            size: u64::try_from(wire.size)
                .map_err(|_error| Damage::Invalid { what: "size in a directory" })?,
            mtime: time(&wire.mtime)?,
            uid: wire.uid,
            gid: wire.gid,
            object,
            summary: wire.summ.map(Summary::try_from).transpose()?,
        })
    }
}

impl TryFrom<WireSummary<'_>> for Summary {
    type Error = Damage;

    fn try_from(wire: WireSummary<'_>) -> Result<Self, Damage> {
        Ok(Self {
            size: wire.size,
            files: wire.files,
            symlinks: wire.symlinks,
            dirs: wire.dirs,
            max_time: time(&wire.max_time)?,
            incomplete: wire.incomplete,
            failed: wire.num_failed,
            ignored: wire.num_ignored_errors,
        })
    }
}

/// An octal number that begins with 0 and fits Go's 31 bits.
fn go_mode(text: &str) -> Result<u32, Damage> {
    if text.is_empty() {
        return Ok(0);
    }
    let octal = text.starts_with('0') && text.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| octal && *mode < 1 << 31);
    mode.ok_or(Damage::Invalid { what: "mode in a directory" })
}

fn time(text: &str) -> Result<Timestamp, Damage> {
    if text.is_empty() {
        return Ok(Timestamp::utc(0, 0));
    }
    let time = Timestamp::parse_rfc3339(text);
    let time = time.ok_or(Damage::Invalid { what: "time in a directory" })?;
    Ok(Timestamp { offset_seconds: 0, ..time })
}

#[cfg(test)]
mod tests;
