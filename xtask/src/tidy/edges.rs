//! The rule about arrows between crates, read from cargo's own metadata.
//!
//! Invariant: the lists below are complete. A new crate or a new arrow is refused until someone
//! writes it down here, which is the moment to ask whether it points the right way.

use serde_json::Value;

use super::Finding;
use crate::workspace;

/// What a crate of ours may depend on.
struct Allowed {
    krate: &'static str,
    /// Crates of ours it is built with.
    uses: &'static [&'static str],
    /// Crates of ours only its tests are built with, beyond `uses`.
    tests_use: &'static [&'static str],
    /// Crates of others that it must never be built with.
    never: &'static [&'static str],
}

const ALLOWED: [Allowed; 10] = [
    Allowed { krate: "windlass-lanes", uses: &[], tests_use: &[], never: OUTSIDE_WORLD },
    Allowed {
        krate: "windlass-format",
        uses: &["windlass-lanes"],
        tests_use: &["windlass-fixtures"],
        never: OUTSIDE_WORLD,
    },
    Allowed {
        krate: "windlass-engine",
        uses: &["windlass-format", "windlass-lanes"],
        tests_use: &["windlass-fixtures", "windlass-testkit"],
        never: &["clap", "kube", "k8s-openapi", "rpassword"],
    },
    Allowed {
        krate: "windlass",
        uses: &["windlass-engine", "windlass-job-contract"],
        tests_use: &["windlass-fixtures", "windlass-testkit"],
        never: &["kube", "k8s-openapi"],
    },
    Allowed {
        krate: "windlass-controller",
        uses: &["windlass-job-contract"],
        tests_use: &[],
        never: &["clap_mangen"],
    },
    Allowed { krate: "windlass-job-contract", uses: &[], tests_use: &[], never: OUTSIDE_WORLD },
    Allowed {
        krate: "windlass-testkit",
        uses: &["windlass-engine"],
        tests_use: &[],
        never: &["clap"],
    },
    Allowed { krate: "windlass-fixtures", uses: &[], tests_use: &[], never: OUTSIDE_WORLD },
    Allowed {
        krate: "windlass-benches",
        uses: &[
            "windlass-engine",
            "windlass-fixtures",
            "windlass-format",
            "windlass-lanes",
            "windlass-testkit",
        ],
        tests_use: &[],
        never: &["clap"],
    },
    Allowed { krate: "xtask", uses: &[], tests_use: &[], never: &[] },
];

const OUTSIDE_WORLD: &[&str] = &[
    "tokio",
    "getrandom",
    "rand",
    "rustix",
    "jiff",
    "clap",
    "kube",
    "rayon",
    "reqwest",
    "object_store",
    "aws-sdk-s3",
];

/// The packages of the workspace as cargo sees them.
pub(super) fn read_metadata() -> Result<Value, String> {
    let mut command = workspace::cargo();
    command.args(["metadata", "--no-deps", "--format-version", "1"]);
    let output = command.output().map_err(|error| format!("cannot start cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))
}

/// Arrows go one way.
pub(super) fn crate_edges(metadata: &Value) -> Vec<Finding> {
    let root = metadata["workspace_root"].as_str().unwrap_or_default();
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ours: Vec<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let mut findings = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let manifest = package["manifest_path"].as_str().unwrap_or_default();
        let path = manifest.strip_prefix(root).unwrap_or(manifest).trim_start_matches('/');
        let mut found = |advice: String| {
            let path = path.to_string();
            findings.push(Finding { path, line: 1, rule: "crate edges", advice });
        };
        let Some(allowed) = ALLOWED.iter().find(|allowed| allowed.krate == name) else {
            found(format!("`{name}` is not in xtask/src/tidy/edges.rs: write down its arrows"));
            continue;
        };
        let dependencies = package["dependencies"].as_array();
        for dependency in dependencies.map(Vec::as_slice).unwrap_or_default() {
            let other = dependency["name"].as_str().unwrap_or_default();
            let for_tests = dependency["kind"].as_str() == Some("dev");
            if allowed.never.contains(&other) && !for_tests {
                found(format!("`{name}` must not depend on `{other}`: take what it gives as data"));
            }
            let fits =
                allowed.uses.contains(&other) || (for_tests && allowed.tests_use.contains(&other));
            if ours.contains(&other) && !fits {
                found(format!("`{name}` must not depend on `{other}`: this arrow points upward"));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn advice(name: &str, other: &str, kind: Option<&str>) -> Vec<String> {
        let known = ALLOWED.iter().filter(|allowed| allowed.krate != name);
        let mut packages: Vec<Value> =
            known.map(|allowed| json!({"name": allowed.krate, "dependencies": []})).collect();
        packages.push(json!({
            "name": name,
            "manifest_path": "/r/some/Cargo.toml",
            "dependencies": [{"name": other, "kind": kind}],
        }));
        let findings = crate_edges(&json!({"workspace_root": "/r", "packages": packages}));
        assert!(findings.iter().all(|finding| finding.path == "some/Cargo.toml"));
        findings.into_iter().map(|finding| finding.advice).collect()
    }

    #[test]
    fn arrows_that_point_upward_are_found() {
        for (name, other) in [
            ("windlass-format", "windlass-engine"),
            ("windlass-engine", "windlass"),
            ("windlass-controller", "windlass-engine"),
            ("windlass", "windlass-format"),
            ("xtask", "windlass-engine"),
        ] {
            assert_eq!(advice(name, other, None).len(), 1, "{name} -> {other}");
        }
        assert_eq!(advice("windlass", "windlass-engine", None), [""; 0]);
    }

    #[test]
    fn test_doubles_are_for_tests() {
        assert_eq!(advice("windlass-engine", "windlass-testkit", Some("dev")), [""; 0]);
        assert_eq!(advice("windlass-engine", "windlass-testkit", None).len(), 1);
    }

    #[test]
    fn crates_of_others_are_kept_out_where_they_do_not_belong() {
        assert_eq!(advice("windlass-format", "tokio", None).len(), 1);
        assert_eq!(advice("windlass-engine", "clap", None).len(), 1);
        assert_eq!(advice("windlass-engine", "tokio", None), [""; 0]);
    }

    #[test]
    fn a_crate_nobody_wrote_down_is_found() {
        assert_eq!(advice("windlass-new", "serde", None).len(), 1);
    }
}
