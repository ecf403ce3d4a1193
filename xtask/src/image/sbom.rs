//! What the image is made of, as CycloneDX 1.5.

use serde_json::{Value, json};

use super::packages::Package;

/// The document.
pub(super) fn document(packages: &[Package]) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let components: Vec<Value> =
        packages.iter().filter(|package| package.name != "windlass").map(component).collect();
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": "windlass",
                "name": "windlass",
                "version": version,
                "licenses": [{ "expression": "Apache-2.0 OR MIT" }],
            },
        },
        "components": components,
    })
}

fn component(package: &Package) -> Value {
    let Package { name, version, licence, checksum, .. } = package;
    let url = format!("pkg:cargo/{name}@{version}");
    let mut component = json!({
        "type": "library",
        "bom-ref": url,
        "name": name,
        "version": version,
        "purl": url,
    });
    if let Some(licence) = licence {
        // Manifests of old write a slash for "or".
        let expression = licence.replace('/', " OR ").replace("  ", " ");
        component["licenses"] = json!([{ "expression": expression }]);
    }
    if let Some(checksum) = checksum {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    component
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_library_has_its_place_licence_and_hash() {
        let package = |name: &str, licence: &str| Package {
            name: name.into(),
            version: "1.2.3".into(),
            licence: Some(licence.into()),
            checksum: Some("ab".into()),
            directory: "/nowhere".into(),
            is_ours: false,
        };
        let document = document(&[package("windlass", "MIT"), package("x", "MIT/Apache-2.0")]);
        let components = document["components"].as_array().unwrap();
        assert_eq!(components.len(), 1);
        assert_eq!(components[0]["purl"], "pkg:cargo/x@1.2.3");
        assert_eq!(components[0]["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(components[0]["hashes"][0]["content"], "ab");
    }
}
