//! Trees: one directory as restic writes it.
//!
//! ```text
//! {"nodes":[{node},{node},…]}⏎      the newline belongs to the hashed bytes
//! ```
//!
//! Checked against `internal/data/tree.go` and `node.go`.
//!
//! Invariants
//! - Nodes ascend strictly by the bytes of their names; anything else is damage.
//! - A tree restic wrote encodes to the same bytes after decoding. [`decode_lossless`] tells when
//!   that does not hold, because then a rewrite would lose what is not understood here.
//! - Keys are read in any order, unknown ones passed over.
//!
//! Not here: whether a name may become a file ([`super::name::is_safe`]).

use super::{BlobId, pack::BlobKind};
use crate::{damage::Damage, go_json::read::Reader};

mod node;
mod read;
mod write;

pub use node::{Mode, Node, NodeKind, Xattr};
pub use write::Encoder;

/// Most bytes of a tree. A directory of ten million files has about 5 GB and is beyond what a
/// blob may be anyway.
pub const MAX_TREE: usize = 1 << 30;

const WHAT: &str = "tree";

/// A decoded directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// Its entries, ascending by name.
    pub nodes: Vec<Node>,
}

impl Tree {
    /// Writes the bytes to be hashed; refused if nodes are out of order.
    pub fn encode(&self) -> Result<Vec<u8>, Damage> {
        let mut encoder = Encoder::new(Vec::new());
        for node in &self.nodes {
            encoder.push(node)?;
        }
        Ok(encoder.finish())
    }
}

/// Reads a tree.
pub fn decode(json: &[u8]) -> Result<Tree, Damage> {
    // A node has 350 to 450 bytes; a guess too low costs one move.
    let mut nodes = Vec::with_capacity(json.len().min(MAX_TREE) / 512 + 1);
    visit(json, |node| {
        nodes.push(node);
        Ok(())
    })?;
    Ok(Tree { nodes })
}

/// Reads a tree node by node, in order; stops at the first error, the caller's or its own.
pub fn visit(json: &[u8], mut node: impl FnMut(Node) -> Result<(), Damage>) -> Result<(), Damage> {
    if json.len() > MAX_TREE {
        return Err(Damage::OverLimit { what: WHAT, max: crate::cursor::count(MAX_TREE) });
    }
    let mut last: Option<Vec<u8>> = None;
    nodes(json, |reader| {
        let read = read::node(reader)?;
        match &mut last {
            Some(last) if *last >= read.name => {
                return Err(Damage::Invalid { what: "order of the nodes of a tree" });
            }
            Some(last) => last.clone_from(&read.name),
            None => last = Some(read.name.clone()),
        }
        node(read)
    })
}

/// Reads a tree and tells whether encoding it again gives the same bytes.
pub fn decode_lossless(json: &[u8]) -> Result<(Tree, bool), Damage> {
    let tree = decode(json)?;
    let same = tree.encode()? == json;
    Ok((tree, same))
}

/// Calls `reference` for every blob a tree names, without building nodes.
pub fn references(json: &[u8], mut reference: impl FnMut(BlobId, BlobKind)) -> Result<(), Damage> {
    nodes(json, |reader| read::references(reader, &mut reference))
}

fn nodes<'a>(
    json: &'a [u8],
    mut node: impl FnMut(&mut Reader<'a>) -> Result<(), Damage>,
) -> Result<(), Damage> {
    let mut reader = Reader::new(WHAT, json);
    let mut found = false;
    reader.object(|reader, key| {
        if key != "nodes" {
            return reader.skip_value();
        }
        found = true;
        if reader.null() { Ok(()) } else { reader.array(&mut node) }
    })?;
    reader.finish()?;
    if found { Ok(()) } else { Err(Damage::Invalid { what: "tree without nodes" }) }
}
