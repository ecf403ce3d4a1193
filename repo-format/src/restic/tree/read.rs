//! Reading one node.
//!
//! Invariant: a key is first looked for where restic puts it, then by name; that only decides how
//! fast it is found, never what is read.

use super::{
    super::{BlobId, name, pack::BlobKind},
    node::{Mode, Node, NodeKind, Xattr},
};
use crate::{cursor::count, damage::Damage, go_json::read::Reader};

/// Most extended, and most generic attributes of a node.
pub(super) const MAX_ATTRIBUTES: usize = 1 << 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Name,
    Type,
    Mode,
    Mtime,
    Atime,
    Ctime,
    Uid,
    Gid,
    User,
    Group,
    Inode,
    DeviceId,
    Size,
    Links,
    LinkTarget,
    LinkTargetRaw,
    Xattrs,
    Generic,
    Device,
    Content,
    Subtree,
    Error,
}

/// Each field with its key as it stands in the JSON, in the order restic writes them.
const FIELDS: [(Field, &[u8]); 22] = [
    (Field::Name, br#""name":"#),
    (Field::Type, br#""type":"#),
    (Field::Mode, br#""mode":"#),
    (Field::Mtime, br#""mtime":"#),
    (Field::Atime, br#""atime":"#),
    (Field::Ctime, br#""ctime":"#),
    (Field::Uid, br#""uid":"#),
    (Field::Gid, br#""gid":"#),
    (Field::User, br#""user":"#),
    (Field::Group, br#""group":"#),
    (Field::Inode, br#""inode":"#),
    (Field::DeviceId, br#""device_id":"#),
    (Field::Size, br#""size":"#),
    (Field::Links, br#""links":"#),
    (Field::LinkTarget, br#""linktarget":"#),
    (Field::LinkTargetRaw, br#""linktarget_raw":"#),
    (Field::Xattrs, br#""extended_attributes":"#),
    (Field::Generic, br#""generic_attributes":"#),
    (Field::Device, br#""device":"#),
    (Field::Content, br#""content":"#),
    (Field::Subtree, br#""subtree":"#),
    (Field::Error, br#""error":"#),
];

/// Takes a node apart: `value` is called at each known field and must take its value.
fn fields<'a>(
    reader: &mut Reader<'a>,
    mut value: impl FnMut(&mut Reader<'a>, Field) -> Result<(), Damage>,
) -> Result<(), Damage> {
    let mut expected = FIELDS.as_slice();
    reader.object_with(|reader| {
        let ahead = expected.iter().position(|(_, key)| reader.literal_slice(key));
        if let Some(at) = ahead {
            let (found, rest) = expected.split_at_checked(at + 1).unwrap_or_default();
            expected = rest;
            return match found.last() {
                Some((field, _)) => value(reader, *field),
                None => Ok(()),
            };
        }
        let key = reader.key()?;
        let named = |(_, quoted): &&(Field, &[u8])| {
            quoted.strip_prefix(b"\"").and_then(|quoted| quoted.strip_suffix(b"\":"))
                == Some(key.as_bytes())
        };
        match FIELDS.iter().find(named) {
            Some((field, _)) => value(reader, *field),
            None => reader.skip_value(),
        }
    })
}

/// Reads a node.
pub(super) fn node(reader: &mut Reader<'_>) -> Result<Node, Damage> {
    let mut node = Node::new(Vec::new(), NodeKind::Irregular);
    let (mut has_name, mut has_kind, mut raw_target) = (false, false, None);
    fields(reader, |reader, field| {
        match field {
            Field::Name => {
                node.name = read_name(reader)?;
                has_name = true;
            }
            Field::Type => {
                let word = reader.string()?;
                let kind = NodeKind::from_word(word.as_bytes());
                node.kind = kind.ok_or(Damage::Unsupported { what: "type of a node" })?;
                has_kind = true;
            }
            Field::Mode => node.mode = Mode(reader.u32()?),
            Field::Mtime => node.mtime = reader.timestamp()?,
            Field::Atime => node.atime = reader.timestamp()?,
            Field::Ctime => node.ctime = reader.timestamp()?,
            Field::Uid => node.uid = reader.u32()?,
            Field::Gid => node.gid = reader.u32()?,
            Field::User => node.user = reader.text()?,
            Field::Group => node.group = reader.text()?,
            Field::Inode => node.inode = reader.u64()?,
            Field::DeviceId => node.device_id = reader.u64()?,
            Field::Size => node.size = reader.u64()?,
            Field::Links => node.links = reader.u64()?,
            Field::LinkTarget => node.link_target = reader.text()?.into_bytes(),
            Field::LinkTargetRaw => raw_target = reader.base64()?,
            Field::Xattrs => node.xattrs = read_xattrs(reader)?,
            Field::Generic => node.generic = read_generic(reader)?,
            Field::Device => node.device = reader.u64()?,
            Field::Content => node.content = read_content(reader)?,
            Field::Subtree => node.subtree = reader.optional_hex()?.map(BlobId),
            Field::Error => node.error = reader.text()?,
        }
        Ok(())
    })?;
    if !has_name || !has_kind {
        return Err(Damage::Invalid { what: "node without name or type" });
    }
    if let Some(raw) = raw_target {
        node.link_target = raw;
    }
    Ok(node)
}

/// Reads only the blobs a node names.
///
/// Content of something that is no file, or a subtree of something that is no directory, counts
/// too: keeping a blob too many is harmless.
pub(super) fn references(
    reader: &mut Reader<'_>,
    reference: &mut impl FnMut(BlobId, BlobKind),
) -> Result<(), Damage> {
    fields(reader, |reader, field| match field {
        Field::Content if reader.null() => Ok(()),
        Field::Content => reader.array(|reader| {
            reference(BlobId(reader.hex()?), BlobKind::Data);
            Ok(())
        }),
        Field::Subtree => {
            if let Some(id) = reader.optional_hex()? {
                reference(BlobId(id), BlobKind::Tree);
            }
            Ok(())
        }
        _ => reader.skip_value(),
    })
}

fn read_name(reader: &mut Reader<'_>) -> Result<Vec<u8>, Damage> {
    let mut ahead = reader.clone();
    let (raw, escaped) = ahead.raw_string()?;
    if !escaped && str::from_utf8(raw).is_ok() {
        *reader = ahead;
        return Ok(raw.to_vec());
    }
    let mut bytes = Vec::new();
    name::unquote(&reader.string()?, &mut bytes)?;
    Ok(bytes)
}

fn read_content(reader: &mut Reader<'_>) -> Result<Option<Vec<BlobId>>, Damage> {
    if reader.null() {
        return Ok(None);
    }
    let mut ids = Vec::new();
    reader.array(|reader| {
        ids.push(BlobId(reader.hex()?));
        Ok(())
    })?;
    Ok(Some(ids))
}

fn read_xattrs(reader: &mut Reader<'_>) -> Result<Vec<Xattr>, Damage> {
    let mut xattrs = Vec::new();
    if reader.null() {
        return Ok(xattrs);
    }
    reader.array(|reader| {
        limit(xattrs.len())?;
        let mut xattr = Xattr { name: Vec::new(), value: None };
        reader.object(|reader, key| {
            match key {
                "name" => xattr.name = reader.text()?.into_bytes(),
                "value" => xattr.value = reader.base64()?,
                _ => reader.skip_value()?,
            }
            Ok(())
        })?;
        xattrs.push(xattr);
        Ok(())
    })?;
    Ok(xattrs)
}

fn read_generic(reader: &mut Reader<'_>) -> Result<Vec<(String, String)>, Damage> {
    let mut generic = Vec::new();
    if reader.null() {
        return Ok(generic);
    }
    reader.object(|reader, key| {
        limit(generic.len())?;
        generic.push((key.to_owned(), reader.compact_value()?));
        Ok(())
    })?;
    Ok(generic)
}

fn limit(have: usize) -> Result<(), Damage> {
    if have == MAX_ATTRIBUTES {
        return Err(Damage::OverLimit { what: "attributes of a node", max: count(MAX_ATTRIBUTES) });
    }
    Ok(())
}
