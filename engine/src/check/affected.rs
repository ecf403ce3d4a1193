//! Which files and directories of which roots are not whole.
//!
//! Invariants: a directory below which everything is whole is not looked into a second time; the
//! stack is on the heap.

use std::collections::HashSet;

use super::finding::Affected;
use crate::{
    cancel::Cancel,
    fault::Fault,
    model::{
        chunk::ChunkKey,
        directory::Kind,
        root::{Root, RootId},
    },
    reader::Reader,
};

/// Names that are told.
const MOST: usize = 10_000;

struct Frame {
    key: ChunkKey,
    path_bytes: usize,
    below: Vec<(Vec<u8>, ChunkKey)>,
    affected: usize,
}

/// The files and directories that need a `bad` chunk, and whether there are more of them.
pub(super) fn run(
    reader: &Reader,
    roots: &[(RootId, Root)],
    bad: &HashSet<ChunkKey>,
    cancel: &Cancel,
) -> Result<(Vec<Affected>, bool), Fault> {
    let mut whole = HashSet::new();
    let mut affected = Vec::new();
    for (root, Root { tree, .. }) in roots {
        walk(reader, root, *tree, bad, &mut whole, &mut affected, cancel)?;
        if affected.len() >= MOST {
            return Ok((affected, true));
        }
    }
    Ok((affected, false))
}

fn walk(
    reader: &Reader,
    root: &RootId,
    tree: ChunkKey,
    bad: &HashSet<ChunkKey>,
    whole: &mut HashSet<ChunkKey>,
    affected: &mut Vec<Affected>,
    cancel: &Cancel,
) -> Result<(), Fault> {
    let mut path = Vec::new();
    let mut stack: Vec<Frame> = Vec::new();
    let mut next = Some((tree, 0));
    loop {
        if cancel.is_cancelled() {
            return Err(Fault::Cancelled);
        }
        if let Some((key, path_bytes)) = next.take() {
            if whole.contains(&key) {
                path.truncate(path_bytes);
            } else {
                let before = affected.len();
                let below = look_into(reader, root, &key, &path, bad, affected);
                stack.push(Frame { key, path_bytes, below, affected: before });
            }
        }
        let Some(frame) = stack.last_mut() else { return Ok(()) };
        if affected.len() >= MOST {
            return Ok(());
        }
        match frame.below.pop() {
            Some((name, key)) => {
                next = Some((key, path.len()));
                path.push(b'/');
                path.extend_from_slice(&name);
            }
            None => {
                if affected.len() == frame.affected {
                    whole.insert(frame.key);
                }
                path.truncate(frame.path_bytes);
                stack.pop();
            }
        }
    }
}

/// Tells what of a directory is not whole, and gives the directories in it.
fn look_into(
    reader: &Reader,
    root: &RootId,
    key: &ChunkKey,
    path: &[u8],
    bad: &HashSet<ChunkKey>,
    affected: &mut Vec<Affected>,
) -> Vec<(Vec<u8>, ChunkKey)> {
    let mut tell = |path: Vec<u8>| affected.push(Affected { root: root.clone(), path });
    let directory = match reader.directory(key) {
        Ok(directory) if !bad.contains(key) => directory,
        _ => {
            tell(if path.is_empty() { b"/".to_vec() } else { path.to_vec() });
            return Vec::new();
        }
    };
    let mut below = Vec::new();
    for entry in directory.entries {
        match &entry.kind {
            Kind::Directory { tree: Some(tree) } => below.push((entry.name.to_vec(), *tree)),
            Kind::File { content, .. } => {
                let chunks = reader.every_chunk_of(content);
                if chunks.map_or(true, |chunks| chunks.iter().any(|chunk| bad.contains(chunk))) {
                    tell([path, b"/", &entry.name].concat());
                }
            }
            _ => {}
        }
    }
    below.reverse();
    below
}
