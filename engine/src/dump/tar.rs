//! Entries as tar writes them: plain headers, and extended ones where plain ones do not suffice.
//!
//! Extended are: times with a fraction, paths and targets that are long or not ASCII, numbers that
//! do not fit, extended attributes (`SCHILY.xattr.NAME`) and access lists (`SCHILY.acl.*`).

use std::io::{self, Write};

use super::{
    acl,
    archive::{BeginError, Item, What},
};
use crate::model::directory::Entry;

const BLOCK: u64 = 512;
/// Bytes of a name or target in a plain header.
const MOST_NAME: usize = 100;
/// Bytes of a user's or group's name in a plain header.
const MOST_OWNER: usize = 31;
/// Numbers of owners, and sizes and seconds, in a plain header.
const MOST_ID: u32 = 0o7_777_777;
const MOST_NUMBER: u64 = 0o77_777_777_777;

/// An archive being written.
pub(super) struct Writer<W: Write>(tar::Builder<W>);

type Record = (String, Vec<u8>);

impl<W: Write> Writer<W> {
    pub(super) fn new(out: W) -> Self {
        Self(tar::Builder::new(out))
    }

    /// Writes the headers of an entry.
    pub(super) fn begin(&mut self, item: &Item<'_>) -> Result<(), BeginError> {
        let entry = item.entry;
        let mut path = item.path.to_vec();
        let mut header = tar::Header::new_ustar();
        let mut records = Vec::new();
        let (kind, size_bytes, target) = match item.what {
            What::File { size_bytes } => (tar::EntryType::Regular, size_bytes, &[][..]),
            What::Directory => (tar::EntryType::Directory, 0, &[][..]),
            What::Symlink { target } => (tar::EntryType::Symlink, 0, target),
        };
        if kind == tar::EntryType::Directory {
            path.push(b'/');
        }
        header.set_entry_type(kind);
        header.set_mode(entry.mode & 0o7777);
        if let Some(ustar) = header.as_ustar_mut() {
            put(&mut ustar.name, &path, "path", MOST_NAME, &mut records);
            put(&mut ustar.linkname, target, "linkpath", MOST_NAME, &mut records);
            put(&mut ustar.uname, entry.user.as_bytes(), "uname", MOST_OWNER, &mut records);
            put(&mut ustar.gname, entry.group.as_bytes(), "gname", MOST_OWNER, &mut records);
        }
        header.set_size(size_bytes.min(MOST_NUMBER));
        header.set_uid(entry.uid.min(MOST_ID).into());
        header.set_gid(entry.gid.min(MOST_ID).into());
        let seconds = u64::try_from(entry.mtime.seconds).unwrap_or(0);
        header.set_mtime(seconds.min(MOST_NUMBER));
        numbers(entry, size_bytes, seconds, &mut records);
        attributes(entry, &mut records);
        header.set_cksum();

        self.extend(item.path, &records)
            .and_then(|()| self.0.get_mut().write_all(header.as_bytes()))
            .map_err(BeginError::Write)
    }

    /// Writes the extended header. It has a name, which nobody looks at but who takes a header
    /// without one for the end of the archive.
    fn extend(&mut self, path: &[u8], records: &[Record]) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let mut body = Vec::new();
        records.iter().for_each(|(key, value)| push_record(key, value, &mut body));
        let mut header = tar::Header::new_ustar();
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let ascii = name.iter().filter(|byte| byte.is_ascii_graphic()).copied();
        let name: Vec<u8> = b"PaxHeaders/".iter().copied().chain(ascii).take(MOST_NAME).collect();
        if let Some(ustar) = header.as_ustar_mut() {
            ustar.name[..name.len()].copy_from_slice(&name);
        }
        header.set_entry_type(tar::EntryType::XHeader);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(body.len() as u64);
        header.set_cksum();
        let out = self.0.get_mut();
        out.write_all(header.as_bytes())?;
        out.write_all(&body)?;
        self.pad(body.len() as u64)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// Fills the last block of a file.
    pub(super) fn pad(&mut self, size_bytes: u64) -> io::Result<()> {
        let rest = (BLOCK - size_bytes % BLOCK) % BLOCK;
        let zeros = [0; BLOCK as usize];
        self.0.get_mut().write_all(zeros.get(..rest as usize).unwrap_or_default())
    }

    pub(super) fn finish(self) -> io::Result<W> {
        self.0.into_inner()
    }
}

/// A record: its whole length in decimal, its own digits included, a space, key, `=`, value, line
/// break.
fn push_record(key: &str, value: &[u8], body: &mut Vec<u8>) {
    let rest = key.len() + value.len() + b" =\n".len();
    let mut digits = 1;
    while (rest + digits).to_string().len() > digits {
        digits += 1;
    }
    body.extend_from_slice(format!("{} {key}=", rest + digits).as_bytes());
    body.extend_from_slice(value);
    body.push(b'\n');
}

/// Puts text into its field, and into a record too where the field is too short or not ASCII.
fn put(field: &mut [u8], text: &[u8], key: &str, most: usize, records: &mut Vec<Record>) {
    if text.len() > most || !text.is_ascii() {
        records.push((key.to_owned(), text.to_vec()));
    }
    let fits = text.len().min(most);
    field[..fits].copy_from_slice(&text[..fits]);
}

fn numbers(entry: &Entry, size_bytes: u64, seconds: u64, records: &mut Vec<Record>) {
    let mut number = |key: &str, text: String| records.push((key.to_owned(), text.into_bytes()));
    if size_bytes > MOST_NUMBER {
        number("size", size_bytes.to_string());
    }
    if entry.uid > MOST_ID {
        number("uid", entry.uid.to_string());
    }
    if entry.gid > MOST_ID {
        number("gid", entry.gid.to_string());
    }
    let time = entry.mtime;
    if time.nanos != 0 || time.seconds < 0 || seconds > MOST_NUMBER {
        number("mtime", decimal(time.seconds, time.nanos));
    }
}

/// A moment as seconds with a fraction.
fn decimal(seconds: i64, nanos: u32) -> String {
    // Before the epoch the fraction counts backwards: -1 s and 0.75 s is -0.25.
    let (sign, whole, nanos) = match (seconds < 0, nanos) {
        (true, 0) => ("-", seconds.unsigned_abs(), 0),
        (true, nanos) => ("-", seconds.unsigned_abs() - 1, 1_000_000_000 - nanos),
        (false, nanos) => ("", seconds.unsigned_abs(), nanos),
    };
    if nanos == 0 {
        return format!("{sign}{whole}");
    }
    let text = format!("{sign}{whole}.{nanos:09}");
    text.trim_end_matches('0').to_owned()
}

fn attributes(entry: &Entry, records: &mut Vec<Record>) {
    for xattr in &entry.xattrs {
        let list = match &*xattr.name {
            b"system.posix_acl_access" => Some("SCHILY.acl.access"),
            b"system.posix_acl_default" => Some("SCHILY.acl.default"),
            _ => None,
        };
        match list {
            // A list that nobody can read is of no use to who unpacks it either.
            Some(key) => records.extend(acl::text(&xattr.value).map(|text| (key.to_owned(), text))),
            None if xattr.name.contains(&b'=') => {}
            None => {
                let name = String::from_utf8_lossy(&xattr.name);
                records.push((format!("SCHILY.xattr.{name}"), xattr.value.to_vec()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_their_own_length() {
        for (value, text) in [(0, "5 k=\n"), (4, "9 k=xxxx\n"), (5, "11 k=xxxxx\n")] {
            let mut body = Vec::new();
            push_record("k", &vec![b'x'; value], &mut body);
            assert_eq!(body, text.as_bytes());
        }
        let mut body = Vec::new();
        push_record("k", &[b'x'; 94], &mut body);
        assert!(body.starts_with(b"101 k=") && body.len() == 101);
    }

    #[test]
    fn moments_before_the_epoch_count_backwards() {
        for (seconds, nanos, text) in [
            (5, 0, "5"),
            (5, 250_000_000, "5.25"),
            (-1, 750_000_000, "-0.25"),
            (-2, 0, "-2"),
            (0, 1, "0.000000001"),
        ] {
            assert_eq!(decimal(seconds, nanos), text);
        }
    }

    #[test]
    fn sizes_of_eight_gibibytes_and_more_are_kept() {
        let time = windlass_format::time::Timestamp::utc(0, 0);
        let entry = Entry::plain(*b"file", crate::model::directory::Kind::Fifo, 0o644, time);
        for size_bytes in [MOST_NUMBER, MOST_NUMBER + 1, 9 << 30, 1 << 50] {
            let mut writer = Writer::new(Vec::new());
            let item = Item { path: b"file", entry: &entry, what: What::File { size_bytes } };
            assert!(writer.begin(&item).is_ok());
            let archive = std::mem::take(writer.0.get_mut());
            let mut archive = tar::Archive::new(archive.as_slice());
            let mut entries = archive.entries().expect("an archive");
            let entry = entries.next().expect("a member").expect("readable");
            assert_eq!(entry.size(), size_bytes);
        }
    }
}
