//! Entries of snapshots as restic prints them: lines, and the objects of `ls` and `find`.
//!
//! Invariant: numbers and letters of modes are those of Go's `FileMode`, because scripts read them.

use serde::Serialize;
use windlass_engine::{
    format::{restic::tree::Mode, time::Timestamp},
    model::directory::{Entry, Kind, Target},
};

use super::{is_default, quote::quoted};
use crate::units;

/// An entry of `ls --json`.
#[derive(Debug, Serialize)]
pub(crate) struct NodeJson {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    path: String,
    uid: u32,
    gid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "is_default")]
    mode: u32,
    permissions: String,
    mtime: String,
    atime: String,
    ctime: String,
    #[serde(skip_serializing_if = "is_default")]
    inode: u64,
    message_type: &'static str,
    struct_type: &'static str,
}

/// An entry of `find --json`.
#[derive(Debug, Serialize)]
pub(crate) struct MatchJson {
    path: String,
    permissions: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "is_default")]
    mode: u32,
    mtime: String,
    atime: String,
    ctime: String,
    uid: u32,
    gid: u32,
    #[serde(skip_serializing_if = "is_default")]
    user: String,
    #[serde(skip_serializing_if = "is_default")]
    group: String,
    #[serde(skip_serializing_if = "is_default")]
    inode: u64,
    #[serde(skip_serializing_if = "is_default")]
    device_id: u64,
    #[serde(skip_serializing_if = "is_default")]
    size: u64,
    #[serde(skip_serializing_if = "is_default")]
    links: u64,
    #[serde(skip_serializing_if = "is_default")]
    linktarget: String,
    #[serde(skip_serializing_if = "is_default")]
    error: String,
}

impl NodeJson {
    pub(crate) fn new(path: &[u8], entry: &Entry) -> Self {
        let mode = go_mode(entry);
        Self {
            name: lossy(&entry.name),
            kind: word(&entry.kind),
            path: lossy(path),
            uid: entry.uid,
            gid: entry.gid,
            size: size(entry),
            mode,
            permissions: letters(mode),
            mtime: units::rfc3339(&entry.mtime),
            atime: units::rfc3339(&entry.atime),
            ctime: change_time(entry),
            inode: entry.inode,
            message_type: "node",
            struct_type: "node",
        }
    }
}

impl MatchJson {
    pub(crate) fn new(path: &[u8], entry: &Entry) -> Self {
        let mode = go_mode(entry);
        Self {
            path: lossy(path),
            permissions: letters(mode),
            kind: word(&entry.kind),
            mode,
            mtime: units::rfc3339(&entry.mtime),
            atime: units::rfc3339(&entry.atime),
            ctime: change_time(entry),
            uid: entry.uid,
            gid: entry.gid,
            user: entry.user.to_string(),
            group: entry.group.to_string(),
            inode: entry.inode,
            device_id: entry.device,
            size: size(entry).unwrap_or(0),
            links: entry.links,
            linktarget: lossy(link_target(entry)),
            error: entry.residue.as_ref().map(|it| it.error.to_string()).unwrap_or_default(),
        }
    }
}

/// A line: the path alone, or with `long` mode, owner, size and time before it.
pub(crate) fn line(path: &[u8], entry: &Entry, long: bool, human_readable: bool) -> String {
    if !long {
        return quoted(path).into_owned();
    }
    let bytes = size(entry).unwrap_or(0);
    let size = if human_readable { units::bytes(bytes) } else { format!("{bytes:6}") };
    let target = match &entry.kind {
        Kind::Symlink { .. } => format!(" -> {}", quoted(link_target(entry))),
        _ => String::new(),
    };
    format!(
        "{} {:5} {:5} {size} {} {}{target}",
        letters(go_mode(entry)),
        entry.uid,
        entry.gid,
        units::local_time(&entry.mtime),
        quoted(path)
    )
}

/// Bytes, where it is a file.
pub(crate) fn size(entry: &Entry) -> Option<u64> {
    match entry.kind {
        Kind::File { size_bytes, .. } => Some(size_bytes),
        _ => None,
    }
}

fn change_time(entry: &Entry) -> String {
    units::rfc3339(&entry.ctime.unwrap_or(Timestamp::ZERO))
}

fn word(kind: &Kind) -> &'static str {
    match kind {
        Kind::File { .. } => "file",
        Kind::Directory { .. } => "dir",
        Kind::Symlink { .. } => "symlink",
        Kind::BlockDevice { .. } => "dev",
        Kind::CharDevice { .. } => "chardev",
        Kind::Fifo => "fifo",
        Kind::Socket => "socket",
        Kind::Unknown => "irregular",
    }
}

fn link_target(entry: &Entry) -> &[u8] {
    match &entry.kind {
        Kind::Symlink { target: Target::Inline(target) } => target,
        _ => b"",
    }
}

fn go_mode(entry: &Entry) -> u32 {
    let kind = match entry.kind {
        Kind::File { .. } => 0o100_000,
        Kind::Directory { .. } => 0o040_000,
        Kind::Symlink { .. } => 0o120_000,
        Kind::BlockDevice { .. } => 0o060_000,
        Kind::CharDevice { .. } => 0o020_000,
        Kind::Fifo => 0o010_000,
        Kind::Socket => 0o140_000,
        Kind::Unknown => 0,
    };
    Mode::from_st_mode(kind | entry.mode).0
}

/// `drwxr-xr-x` and the like.
fn letters(mode: u32) -> String {
    let kinds = "dalTLDpSugct?".chars().enumerate();
    let mut text: String =
        kinds.filter(|(at, _)| mode & (1 << (31 - at)) != 0).map(|(_, letter)| letter).collect();
    if text.is_empty() {
        text.push('-');
    }
    let rights = "rwxrwxrwx".chars().enumerate();
    text.extend(rights.map(|(at, letter)| if mode & (1 << (8 - at)) != 0 { letter } else { '-' }));
    text
}

pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_written_in_letters() {
        for (st_mode, text) in [
            (0o100_644, "-rw-r--r--"),
            (0o040_755, "drwxr-xr-x"),
            (0o120_777, "Lrwxrwxrwx"),
            (0o020_660, "Dcrw-rw----"),
            (0o041_777, "dtrwxrwxrwx"),
            (0o104_755, "urwxr-xr-x"),
        ] {
            assert_eq!(letters(Mode::from_st_mode(st_mode).0), text);
        }
    }
}
