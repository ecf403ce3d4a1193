//! `cat`: what a repository is made of.

use std::sync::Arc;

use clap::ValueEnum;
use serde::de::IgnoredAny;
use windlass_engine::{
    find::{Walker, search::Prefix},
    model::chunk::ChunkKey,
    protocol::object::{ObjectError, ObjectKind},
    repository::Repository,
};

use super::reading;
use crate::{
    failure::{Failure, Outcome},
    output::Output,
    session::Session,
    snapshot::{self, filter::Filter, json::SnapshotJson},
};

/// Print objects of the repository as they are
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The kind of object
    #[arg(value_name = "KIND")]
    kind: Kind,
    /// Its id, or the start of it; for trees the snapshot, with :PATH for a directory of it
    #[arg(value_name = "ID", required_if_eq_any([("kind", "index"), ("kind", "snapshot"),
        ("kind", "key"), ("kind", "lock"), ("kind", "pack"), ("kind", "blob"), ("kind", "tree")]))]
    id: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Config,
    Index,
    Snapshot,
    Key,
    Masterkey,
    Lock,
    Pack,
    Blob,
    Tree,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let repository = session.open().await?;
    session.reading(&repository, shown(&args, &repository, session)).await?;
    Ok(Outcome::Done)
}

async fn shown(args: &Args, repository: &Repository, session: &Session) -> Result<(), Failure> {
    let output = &session.output;
    let id = args.id.as_deref().unwrap_or_default();
    let kind = match args.kind {
        Kind::Config => ObjectKind::Config,
        Kind::Index => ObjectKind::Index,
        Kind::Snapshot => return snapshot(id, repository, output).await,
        Kind::Key => ObjectKind::Key,
        Kind::Masterkey => ObjectKind::MasterKey,
        Kind::Lock => ObjectKind::Lock,
        Kind::Pack => ObjectKind::Pack,
        Kind::Blob => return blob(id, repository, session).await,
        Kind::Tree => return tree(id, repository, session).await,
    };
    let object = repository.protocol().object(kind, id).await.map_err(reading::no_object)?;
    if let Some(hash) = object.differs {
        output.warn(&format!("Warning: hash of data does not match ID, got: {hash}"));
    }
    match kind {
        ObjectKind::Pack => output.raw(&object.bytes),
        ObjectKind::Index => line(&object.bytes, output),
        _ => pretty(&object.bytes, output),
    }
    Ok(())
}

async fn snapshot(id: &str, repository: &Repository, output: &Output) -> Result<(), Failure> {
    let (found, _path) = snapshot::find(repository, id, &Filter::default(), output).await?;
    match repository.protocol().object(ObjectKind::Root, found.id.as_str()).await {
        Ok(object) => pretty(&object.bytes, output),
        // Where it is no file of its own, it is shown as it is listed.
        Err(ObjectError::NoSuchKind(_)) => {
            let json = serde_json::to_vec(&SnapshotJson::from(&found)).unwrap_or_default();
            pretty(&json, output);
        }
        Err(error) => return Err(reading::no_object(error)),
    }
    Ok(())
}

async fn blob(id: &str, repository: &Repository, session: &Session) -> Result<(), Failure> {
    let not_found = || Failure::input("blob not found", "write the whole id, or more of it");
    let prefix = Prefix::parse(id).ok_or_else(not_found)?;
    let index = repository.index().await?;
    let mut found: Option<ChunkKey> = None;
    let mut is_ambiguous = false;
    index.for_each(|key, _at| {
        if prefix.begins(key) {
            is_ambiguous |= found.is_some_and(|other| other.hash() != key.hash());
            // Pieces of files come before directories with the same hash.
            found = Some(found.map_or(*key, |other| other.min(*key)));
        }
    });
    if is_ambiguous {
        let message = format!("multiple IDs with prefix {id:?} found");
        return Err(Failure::input(message, "write more of the id"));
    }
    print(found.ok_or_else(not_found)?, repository, session).await
}

async fn tree(name: &str, repository: &Repository, session: &Session) -> Result<(), Failure> {
    let filter = Filter::default();
    let (found, path) = snapshot::find(repository, name, &filter, &session.output).await?;
    let walker = Walker::new(repository, &session.cancel).await?;
    let top = found.root.tree;
    let tree = reading::blocking(move || {
        let path = path.unwrap_or_default().into_bytes();
        walker.find_directory(top, &path).map_err(reading::not_found)
    })
    .await?;
    print(tree, repository, session).await
}

/// The plaintext of a chunk, as it is.
async fn print(key: ChunkKey, repository: &Repository, session: &Session) -> Result<(), Failure> {
    let reader = repository.reader().await?;
    let output = Arc::clone(&session.output);
    reading::blocking(move || {
        let mut plain = Vec::new();
        reader.chunk(&key, &mut plain)?;
        output.raw(&plain);
        Ok(())
    })
    .await
}

fn line(bytes: &[u8], output: &Output) {
    output.raw(bytes);
    if !bytes.ends_with(b"\n") {
        output.raw(b"\n");
    }
}

/// JSON with an indent; what is no JSON as it is. Keys keep their order and numbers their digits.
fn pretty(json: &[u8], output: &Output) {
    match (std::str::from_utf8(json), serde_json::from_slice::<IgnoredAny>(json)) {
        (Ok(text), Ok(_valid)) => line(indented(text).as_bytes(), output),
        _ => line(json, output),
    }
}

/// Valid JSON with each value on a line of its own.
fn indented(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut is_escaped = false;
    let mut chars = json.chars().peekable();
    let new_line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    };
    while let Some(char) = chars.next() {
        if in_string {
            out.push(char);
            in_string = is_escaped || char != '"';
            is_escaped = !is_escaped && char == '\\';
            continue;
        }
        match char {
            '"' => {
                in_string = true;
                out.push(char);
            }
            '{' | '[' => {
                out.push(char);
                while chars.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                if let Some(end) = chars.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(char);
            }
            ',' => {
                out.push(char);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            char if char.is_ascii_whitespace() => {}
            char => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_and_not_changed() {
        let json = r#"{"b":[1.50,{}],"a":"x\\\"{,:","c":[ ],"d":{"e":null}}"#;
        let expected = "{\n  \"b\": [\n    1.50,\n    {}\n  ],\n  \"a\": \"x\\\\\\\"{,:\",\n  \
                        \"c\": [],\n  \"d\": {\n    \"e\": null\n  }\n}";
        assert_eq!(indented(json), expected);
    }
}
