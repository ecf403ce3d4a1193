//! The packages that are linked into the program, by what cargo says.
//!
//! Invariants: only what the program is built of for its target; no build scripts, no tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

use crate::workspace;

/// A package in the program.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    /// As its manifest writes it.
    pub(super) licence: Option<String>,
    /// Of its archive, for one from a registry.
    pub(super) checksum: Option<String>,
    pub(super) directory: PathBuf,
    /// Whether it is part of this workspace.
    pub(super) is_ours: bool,
}

/// All of them, by name and version.
pub(super) fn of_program(target: &str) -> Result<Vec<Package>, String> {
    let mut command = workspace::cargo();
    command.args(["metadata", "--format-version", "1", "--locked", "--filter-platform", target]);
    let output = command.output().map_err(|error| format!("cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let metadata = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let lock = workspace::root().join("Cargo.lock");
    let lock = std::fs::read_to_string(&lock).map_err(|error| format!("Cargo.lock: {error}"))?;
    select(&metadata, &checksums(&lock))
}

/// What is reached from the program by ordinary dependencies.
fn select(
    metadata: &Value,
    checksums: &BTreeMap<(String, String), String>,
) -> Result<Vec<Package>, String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packages: BTreeMap<String, Value> =
        list(&metadata["packages"]).into_iter().map(|it| (text(&it["id"]), it)).collect();
    let nodes: BTreeMap<String, Value> =
        list(&metadata["resolve"]["nodes"]).into_iter().map(|it| (text(&it["id"]), it)).collect();
    let members: BTreeSet<String> = list(&metadata["workspace_members"]).iter().map(text).collect();
    let program = packages
        .iter()
        .find(|(id, package)| package["name"] == "windlass" && members.contains(*id))
        .map(|(id, _)| id.clone())
        .ok_or("no package is called windlass")?;
    let mut reached = BTreeSet::new();
    let mut waiting = vec![program];
    while let Some(id) = waiting.pop() {
        if !reached.insert(id.clone()) {
            continue;
        }
        let node = nodes.get(&id).ok_or_else(|| format!("{id} is not resolved"))?;
        for dependency in list(&node["deps"]) {
            // The kind of an ordinary one is null.
            if list(&dependency["dep_kinds"]).iter().any(|it| it["kind"].is_null()) {
                waiting.push(text(&dependency["pkg"]));
            }
        }
    }
    let mut found = Vec::new();
    for id in reached {
        let package = packages.get(&id).ok_or_else(|| format!("{id} is not listed"))?;
        let (name, version) = (text(&package["name"]), text(&package["version"]));
        let manifest = PathBuf::from(text(&package["manifest_path"]));
        found.push(Package {
            checksum: checksums.get(&(name.clone(), version.clone())).cloned(),
            licence: package["license"].as_str().map(str::to_owned),
            directory: manifest.parent().map(PathBuf::from).unwrap_or_default(),
            is_ours: members.contains(&id),
            name,
            version,
        });
    }
    found.sort();
    Ok(found)
}

/// Checksums of archives by name and version.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let mut found = BTreeMap::new();
    for block in lock.split("[[package]]") {
        let field = |name: &str| {
            let line = block.lines().find_map(|line| line.strip_prefix(&format!("{name} = \"")));
            line.and_then(|rest| rest.strip_suffix('"')).map(str::to_owned)
        };
        if let (Some(name), Some(version), Some(sum)) =
            (field("name"), field("version"), field("checksum"))
        {
            found.insert((name, version), sum);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_linked_counts() {
        let package = |name: &str| {
            serde_json::json!({
                "id": name, "name": name, "version": "1.0.0", "license": "MIT",
                "manifest_path": format!("/src/{name}/Cargo.toml"),
            })
        };
        let dep = |name: &str, kind: Option<&str>| serde_json::json!({ "pkg": name, "dep_kinds": [{ "kind": kind }] });
        let packages = ["windlass", "a", "b", "builder", "tester"].map(package);
        let metadata = serde_json::json!({
            "packages": packages,
            "workspace_members": ["windlass"],
            "resolve": { "nodes": [
                { "id": "windlass", "deps": [dep("a", None), dep("builder", Some("build")), dep("tester", Some("dev"))] },
                { "id": "a", "deps": [dep("b", None)] },
                { "id": "b", "deps": [] },
            ] },
        });
        let lock = "[[package]]\nname = \"b\"\nversion = \"1.0.0\"\nchecksum = \"ff\"\n";
        let found = select(&metadata, &checksums(lock)).unwrap();
        let names: Vec<&str> = found.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "windlass"]);
        assert_eq!(found[1].checksum.as_deref(), Some("ff"));
        assert!(found[2].is_ours && !found[0].is_ours);
        assert_eq!(found[0].directory, PathBuf::from("/src/a"));
    }
}
