//! Index files: which pack holds which blobs.
//!
//! ```text
//! {"packs":[{"id":…,"blobs":[{"id":…,"type":"data","offset":…,"length":…[,"uncompressed_length":…]},…]},…]}⏎
//! ```
//!
//! The newline belongs to the text. Checked against `internal/repository/index/index.go`.
//!
//! Invariants
//! - `supersedes`, which old writers put there, is ignored as restic ignores it: honouring it
//!   would hide packs restic sees.
//! - rustic's `packs_to_delete`, and `time` and `size` of a pack, are read; restic's own form is
//!   what is written, plus those where a pack has them.
//! - The same blob, and the same pack, may appear any number of times.

use super::{
    BlobId, PackId,
    pack::{BlobKind, Entry},
};
use crate::{
    damage::Damage,
    go_json::{Object, push_hex, push_u64, read::Reader},
    time::Timestamp,
};

/// Blobs after which a writer starts another index file.
pub const FULL: usize = 50_000;

const WHAT: &str = "index";

/// A pack as an index describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexPack {
    /// Its name.
    pub id: PackId,
    /// What is in it.
    pub blobs: Vec<Entry>,
    /// Whether rustic marked it for removal.
    pub to_delete: bool,
    /// When rustic marked it.
    pub time: Option<Timestamp>,
    /// Its size, where rustic noted it.
    pub size: Option<u64>,
}

/// Which pack the blob in a visit is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackRef {
    /// Its name.
    pub id: PackId,
    /// Whether rustic marked it for removal.
    pub to_delete: bool,
}

/// Calls `blob` for every blob of an index, without building a list.
pub fn visit(json: &[u8], mut blob: impl FnMut(&PackRef, Entry)) -> Result<(), Damage> {
    read(json, &mut |event| match event {
        Event::Blob(pack, entry) => blob(pack, entry),
        Event::Start(_) | Event::Time(_) | Event::Size(_) => {}
    })
}

/// Reads a whole index into packs.
pub fn decode(json: &[u8]) -> Result<Vec<IndexPack>, Damage> {
    let mut packs = Vec::<IndexPack>::new();
    read(json, &mut |event| {
        if let Event::Start(&PackRef { id, to_delete }) = event {
            packs.push(IndexPack { id, blobs: Vec::new(), to_delete, time: None, size: None });
        }
        if let Some(pack) = packs.last_mut() {
            match event {
                Event::Start(_) => {}
                Event::Blob(_, entry) => pack.blobs.push(entry),
                Event::Time(time) => pack.time = Some(time),
                Event::Size(size) => pack.size = Some(size),
            }
        }
    })?;
    Ok(packs)
}

/// Writes the JSON of an index with its newline; packs marked for removal go into rustic's list.
#[must_use]
pub fn encode(packs: &[IndexPack]) -> Vec<u8> {
    const PACK: usize = 96;
    const BLOB: usize = 160;
    let blobs = packs.iter().map(|pack| pack.blobs.len()).sum::<usize>();
    let mut out = Vec::with_capacity(32 + packs.len() * PACK + blobs * BLOB);
    let mut object = Object::open(&mut out);
    write_packs(packs.iter().filter(|pack| !pack.to_delete), object.key("packs"));
    if packs.iter().any(|pack| pack.to_delete) {
        write_packs(packs.iter().filter(|pack| pack.to_delete), object.key("packs_to_delete"));
    }
    object.close();
    out.push(b'\n');
    out
}

fn write_packs<'a>(packs: impl Iterator<Item = &'a IndexPack>, out: &mut Vec<u8>) {
    out.push(b'[');
    for (at, pack) in packs.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let mut object = Object::open(out);
        push_hex(&pack.id.0, object.key("id"));
        let out = object.key("blobs");
        out.push(b'[');
        for (at, entry) in pack.blobs.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write_entry(entry, out);
        }
        out.push(b']');
        if let Some(time) = &pack.time {
            object.timestamp("time", time);
        }
        if let Some(size) = pack.size {
            object.u64("size", size);
        }
        object.close();
    }
    out.push(b']');
}

fn write_entry(entry: &Entry, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"id":"#);
    push_hex(&entry.id.0, out);
    out.extend_from_slice(match entry.kind {
        BlobKind::Data => br#","type":"data","offset":"#,
        BlobKind::Tree => br#","type":"tree","offset":"#,
    });
    push_u64(entry.offset.into(), out);
    out.extend_from_slice(br#","length":"#);
    push_u64(entry.length.into(), out);
    if let Some(raw_length) = entry.raw_length {
        out.extend_from_slice(br#","uncompressed_length":"#);
        push_u64(raw_length.into(), out);
    }
    out.push(b'}');
}

enum Event<'a> {
    Start(&'a PackRef),
    Blob(&'a PackRef, Entry),
    Time(Timestamp),
    Size(u64),
}

type Sink<'a> = dyn FnMut(Event<'_>) + 'a;

fn read(json: &[u8], sink: &mut Sink<'_>) -> Result<(), Damage> {
    let mut reader = Reader::new(WHAT, json);
    reader.object(|reader, key| {
        let to_delete = match key {
            "packs" => false,
            "packs_to_delete" => true,
            _ => return reader.skip_value(),
        };
        if reader.null() {
            return Ok(());
        }
        reader.array(|reader| read_pack(reader, to_delete, sink))
    })?;
    reader.finish()
}

fn read_pack(reader: &mut Reader<'_>, to_delete: bool, sink: &mut Sink<'_>) -> Result<(), Damage> {
    // Every writer puts the id first, but order is nothing JSON promises: look ahead for it.
    let mut ahead = reader.clone();
    let id = if ahead.literal(br#"{"id":"#) {
        ahead.hex()?
    } else {
        let mut id = None;
        ahead.object(|reader, key| match key {
            "id" => reader.hex().map(|read| id = Some(read)),
            _ => reader.skip_value(),
        })?;
        id.ok_or(Damage::Invalid { what: "pack id in an index" })?
    };
    let pack = PackRef { id: PackId(id), to_delete };
    if pack.id.is_zero() {
        return Err(Damage::Invalid { what: "pack id in an index" });
    }
    sink(Event::Start(&pack));
    reader.object(|reader, key| match key {
        "blobs" if reader.null() => Ok(()),
        "blobs" => reader.array(|reader| {
            let entry = match read_entry_as_written(&mut reader.clone()) {
                Some((entry, after)) => {
                    *reader = after;
                    entry
                }
                None => read_entry(reader)?,
            };
            let end = entry.offset.checked_add(entry.length);
            if end.is_none() {
                let max = u64::from(u32::MAX);
                return Err(Damage::OverLimit { what: "end of a blob", max });
            }
            sink(Event::Blob(&pack, entry));
            Ok(())
        }),
        "time" if reader.null() => Ok(()),
        "time" => reader.timestamp().map(|time| sink(Event::Time(time))),
        "size" if reader.null() => Ok(()),
        "size" => reader.u64().map(|size| sink(Event::Size(size))),
        _ => reader.skip_value(),
    })
}

/// An entry in exactly the form restic writes, which nearly all are; `None` for any other.
fn read_entry_as_written<'a>(reader: &mut Reader<'a>) -> Option<(Entry, Reader<'a>)> {
    if !reader.literal(br#"{"id":"#) {
        return None;
    }
    let id = BlobId(reader.hex().ok()?);
    let kind = if reader.literal(br#","type":"data","offset":"#) {
        BlobKind::Data
    } else if reader.literal(br#","type":"tree","offset":"#) {
        BlobKind::Tree
    } else {
        return None;
    };
    let offset = reader.u32().ok()?;
    if !reader.literal(br#","length":"#) {
        return None;
    }
    let length = reader.u32().ok()?;
    let raw_length = if reader.literal(br#","uncompressed_length":"#) {
        Some(reader.u32().ok()?).filter(|length| *length != 0)
    } else {
        None
    };
    if !reader.literal(b"}") {
        return None;
    }
    Some((Entry { kind, id, offset, length, raw_length }, reader.clone()))
}

fn read_entry(reader: &mut Reader<'_>) -> Result<Entry, Damage> {
    let (mut id, mut kind) = (None, None);
    let (mut offset, mut length, mut raw_length) = (0, 0, 0);
    reader.object(|reader, key| {
        match key {
            "id" => id = Some(BlobId(reader.hex()?)),
            "type" => {
                kind = Some(match &*reader.string()? {
                    "data" => BlobKind::Data,
                    "tree" => BlobKind::Tree,
                    _ => return Err(Damage::Unsupported { what: "blob kind" }),
                });
            }
            "offset" => offset = reader.u32()?,
            "length" => length = reader.u32()?,
            "uncompressed_length" => raw_length = reader.u32()?,
            _ => reader.skip_value()?,
        }
        Ok(())
    })?;
    let (Some(id), Some(kind)) = (id, kind) else {
        return Err(Damage::Invalid { what: "blob in an index" });
    };
    let raw_length = Some(raw_length).filter(|length| *length != 0);
    Ok(Entry { kind, id, offset, length, raw_length })
}
