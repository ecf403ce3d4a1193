//! Writing a tree.
//!
//! Invariant: the bytes are the ones Go's `encoding/json` gives for restic's node, key for key.

use super::{
    super::name,
    node::{Node, Xattr},
};
use crate::{
    damage::Damage,
    go_json::{push_base64, push_compact, push_hex, push_string, push_timestamp, push_u64},
    time::Timestamp,
};

/// Writes nodes one after the other into the text of a tree.
#[derive(Debug)]
pub struct Encoder {
    out: Vec<u8>,
    last: Option<Vec<u8>>,
    quoted: Vec<u8>,
}

impl Encoder {
    /// Starts a tree in `out`, which is emptied and whose room is used.
    #[must_use]
    pub fn new(mut out: Vec<u8>) -> Self {
        out.clear();
        out.extend_from_slice(br#"{"nodes":["#);
        Self { out, last: None, quoted: Vec::new() }
    }

    /// Adds a node, whose name must come after the one before. Years are brought into 0..=9999.
    pub fn push(&mut self, node: &Node) -> Result<(), Damage> {
        match &mut self.last {
            Some(last) if *last >= node.name => {
                return Err(Damage::Invalid { what: "order of the nodes of a tree" });
            }
            Some(last) => {
                last.clone_from(&node.name);
                self.out.push(b',');
            }
            // restic compares with the empty name first, so nothing may have it.
            None if node.name.is_empty() => {
                return Err(Damage::Invalid { what: "node without name or type" });
            }
            None => self.last = Some(node.name.clone()),
        }
        self.write(node);
        Ok(())
    }

    /// How many bytes there are so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether nothing was added yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    /// Ends the tree and gives the bytes to be hashed.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.out.extend_from_slice(b"]}\n");
        self.out
    }

    fn write(&mut self, node: &Node) {
        self.write_name(&node.name);
        let out = &mut self.out;
        out.extend_from_slice(br#","type":""#);
        out.extend_from_slice(node.kind.word().as_bytes());
        out.push(b'"');
        number(br#","mode":"#, node.mode.0.into(), out);
        time(br#","mtime":"#, node.mtime, out);
        time(br#","atime":"#, node.atime, out);
        time(br#","ctime":"#, node.ctime, out);
        out.extend_from_slice(br#","uid":"#);
        push_u64(node.uid.into(), out);
        out.extend_from_slice(br#","gid":"#);
        push_u64(node.gid.into(), out);
        text(br#","user":"#, node.user.as_bytes(), out);
        text(br#","group":"#, node.group.as_bytes(), out);
        number(br#","inode":"#, node.inode, out);
        number(br#","device_id":"#, node.device_id, out);
        number(br#","size":"#, node.size, out);
        number(br#","links":"#, node.links, out);
        text(br#","linktarget":"#, &node.link_target, out);
        if str::from_utf8(&node.link_target).is_err() {
            out.extend_from_slice(br#","linktarget_raw":"#);
            push_base64(&node.link_target, out);
        }
        if !node.xattrs.is_empty() {
            write_xattrs(&node.xattrs, out);
        }
        if !node.generic.is_empty() {
            write_generic(&node.generic, out);
        }
        number(br#","device":"#, node.device, out);
        match &node.content {
            None => out.extend_from_slice(br#","content":null"#),
            Some(ids) => {
                out.extend_from_slice(br#","content":["#);
                for (at, id) in ids.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    push_hex(&id.0, out);
                }
                out.push(b']');
            }
        }
        if let Some(subtree) = &node.subtree {
            out.extend_from_slice(br#","subtree":"#);
            push_hex(&subtree.0, out);
        }
        text(br#","error":"#, node.error.as_bytes(), out);
        out.push(b'}');
    }

    fn write_name(&mut self, raw: &[u8]) {
        self.out.extend_from_slice(br#"{"name":"#);
        if name::is_plain(raw) {
            self.out.push(b'"');
            self.out.extend_from_slice(raw);
            self.out.push(b'"');
        } else {
            self.quoted.clear();
            name::quote(raw, &mut self.quoted);
            push_string(&self.quoted, &mut self.out);
        }
    }
}

fn number(key: &[u8], value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        out.extend_from_slice(key);
        push_u64(value, out);
    }
}

fn time(key: &[u8], value: Timestamp, out: &mut Vec<u8>) {
    out.extend_from_slice(key);
    push_timestamp(&value.clamp_year(), out);
}

fn text(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    if !value.is_empty() {
        out.extend_from_slice(key);
        push_string(value, out);
    }
}

fn write_xattrs(xattrs: &[Xattr], out: &mut Vec<u8>) {
    out.extend_from_slice(br#","extended_attributes":["#);
    for (at, xattr) in xattrs.iter().enumerate() {
        out.extend_from_slice(if at > 0 { br#",{"name":"# } else { br#"{"name":"# });
        push_string(&xattr.name, out);
        out.extend_from_slice(br#","value":"#);
        match &xattr.value {
            Some(value) => push_base64(value, out),
            None => out.extend_from_slice(b"null"),
        }
        out.push(b'}');
    }
    out.push(b']');
}

/// Go writes a map sorted by key, and of equal keys it has kept the last.
fn write_generic(generic: &[(String, String)], out: &mut Vec<u8>) {
    let sorted = generic.iter().map(|(key, raw)| (key, raw));
    let sorted = sorted.collect::<std::collections::BTreeMap<_, _>>();
    out.extend_from_slice(br#","generic_attributes":{"#);
    for (at, (key, raw)) in sorted.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push_string(key, out);
        out.push(b':');
        push_compact(raw.as_bytes(), out);
    }
    out.push(b'}');
}
