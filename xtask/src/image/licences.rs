//! The licences of everything that is linked into the program, in one text.
//!
//! Invariants: each text once, with all packages it comes with; a package whose archive has none is
//! named with what its manifest says.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use super::packages::Package;

/// The text.
pub(super) fn text(packages: &[Package]) -> Result<String, String> {
    let mut holders: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut without = Vec::new();
    for package in packages.iter().filter(|package| !package.is_ours) {
        let name = format!("{} {}", package.name, package.version);
        let texts = texts_in(package)?;
        if texts.is_empty() {
            let licence = package.licence.as_deref().unwrap_or("unknown");
            without.push(format!("{name}: {licence}"));
        }
        for text in texts {
            holders.entry(text).or_default().push(name.clone());
        }
    }
    let mut out = String::from("Windlass holds code of these packages, under their licences.\n");
    for (text, names) in &holders {
        let rule = "-".repeat(80);
        write!(out, "\n{rule}\n{}\n{rule}\n\n{text}\n", names.join(", "))
            .map_err(|error| error.to_string())?;
    }
    if !without.is_empty() {
        write!(out, "\nWithout a text of their own:\n\n{}\n", without.join("\n"))
            .map_err(|error| error.to_string())?;
    }
    Ok(out)
}

/// The licence files at the top of a package.
fn texts_in(package: &Package) -> Result<Vec<String>, String> {
    let failed = |error| format!("{}: {error}", package.directory.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(&package.directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        let is_licence = ["LICENSE", "LICENCE", "COPYING", "NOTICE", "COPYRIGHT", "UNLICENSE"]
            .iter()
            .any(|word| name.starts_with(word));
        if is_licence && path.is_file() {
            let text = fs::read(&path).map_err(failed)?;
            found.push(String::from_utf8_lossy(&text).trim().replace("\r\n", "\n"));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::scratch::Scratch;

    #[test]
    fn a_text_stands_once_with_all_who_have_it() {
        let scratch = Scratch::new(&std::env::temp_dir()).unwrap();
        let package = |name: &str, text: Option<&str>| {
            let directory = scratch.path().join(name);
            fs::create_dir(&directory).unwrap();
            if let Some(text) = text {
                fs::write(directory.join("LICENSE-MIT"), text).unwrap();
            }
            Package {
                name: name.into(),
                version: "1.0.0".into(),
                licence: Some("MIT".into()),
                checksum: None,
                directory,
                is_ours: false,
            }
        };
        let packages = [package("a", Some("do\r\n")), package("b", Some("do")), package("c", None)];
        let text = text(&packages).unwrap();
        assert!(text.contains("a 1.0.0, b 1.0.0\n"), "{text}");
        assert_eq!(text.matches("\ndo\n").count(), 1, "{text}");
        assert!(text.contains("\nc 1.0.0: MIT\n"), "{text}");
    }
}
