//! What kopia saved, shown as a tree.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use windlass_engine::{
    browse::{Browser, Node, Options, Shape},
    cancel::Cancel,
};
use windlass_format::id::to_hex;

use super::{Open, Saved, Tree, assert_same, expected};

fn read(browser: &Browser, node: &Node, path: &str, tree: &mut Tree) {
    let listing = browser.list(node).expect("a directory");
    for item in browser.page(&listing, 0, usize::MAX).expect("a page").items {
        let separator = if path.is_empty() { "" } else { "/" };
        let path = format!("{path}{separator}{}", String::from_utf8_lossy(&item.name));
        let attributes = item.attributes;
        let (kind, body) = match attributes.shape {
            Shape::Directory => {
                read(browser, &item.node, &path, tree);
                ('d', None)
            }
            Shape::Symlink => {
                let target = browser.target(&item.node).expect("a target");
                assert_eq!(target.len() as u64, attributes.size_bytes);
                ('s', Some((attributes.size_bytes, to_hex(&target))))
            }
            Shape::File => {
                let file = browser.open(&item.node).expect("opened");
                let mut digest = Sha256::new();
                let mut at = 0;
                loop {
                    let part = browser.read(&file, at, 70_001).expect("read");
                    if part.is_empty() {
                        break;
                    }
                    digest.update(&part);
                    at += part.len() as u64;
                }
                assert_eq!(at, attributes.size_bytes);
                ('f', Some((at, to_hex(&digest.finalize()))))
            }
            other => panic!("kopia stores no {other:?}"),
        };
        let owner = attributes.owner.expect("stored");
        let saved =
            Saved { kind, mode: attributes.mode, mtime: attributes.mtime.instant(), owner, body };
        assert!(tree.insert(path, saved).is_none());
    }
}

#[test]
fn every_byte_and_attribute_is_shown() {
    for (name, tag) in [
        ("default", "first"),
        ("default", "second"),
        ("zstd-128k", "pieces"),
        ("zstd-128k", "zeros"),
        ("version-1", "small"),
    ] {
        let Open { runtime, repository } = Open::fixture(name);
        let repository = Arc::new(repository);
        let options = Options::new(&repository);
        let browser = runtime.block_on(Browser::new(repository, options, &Cancel::new()));
        let browser = browser.expect("opened");
        let tag_name = format!("fixture:{tag}");
        let names = [&b"tags"[..], tag_name.as_bytes(), b"latest"];
        let (node, _) = browser.find(names).expect("there");
        let mut tree = Tree::new();
        read(&browser, &node, "", &mut tree);
        assert_same(&tree, &expected(name, tag));
    }
}
