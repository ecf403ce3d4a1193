//! Completions, man pages and `version`.

use std::fs;

use crate::place::{Place, Said};

#[test]
fn completions_and_man_pages_know_every_command() {
    let place = Place::new();
    let run = |args: &[&str]| {
        let said = Said::of(place.bare().args(args));
        assert_eq!(said.code, Some(0), "{said:?}");
        said.out
    };
    for shell in ["bash", "fish", "zsh", "powershell", "elvish"] {
        let script = run(&["completion", shell]);
        for word in ["backup", "restore", "snapshots", "skip-if-unchanged", "password-file"] {
            assert!(script.contains(word), "{word} for {shell}");
        }
    }
    run(&["generate", "--man", "man", "--bash-completion", "bash", "--zsh-completion", "zsh"]);
    assert_eq!(fs::read_to_string(place.path("bash")).ok(), Some(run(&["completion", "bash"])));
    let page = |name: &str| fs::read_to_string(place.path("man").join(name)).expect("a page");
    assert!(page("windlass.1").contains("windlass\\-backup(1)"));
    assert!(page("windlass-backup.1").contains("\\-\\-exclude\\-caches"));
    assert!(page("windlass-key-add.1").contains("\\-\\-new\\-password\\-file"));
    Said::of(place.bare().arg("generate")).refused(1, &["nothing to generate"]);
}

#[test]
fn the_version_needs_no_repository() {
    let place = Place::new();
    let said = Said::of(place.bare().arg("version"));
    assert!(said.out.starts_with(concat!("windlass ", env!("CARGO_PKG_VERSION"), " on ")));
    let json = Said::of(place.bare().args(["version", "--json"])).message("version");
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    let said = Said::of(place.bare().arg("--help"));
    assert_eq!(said.code, Some(0));
    assert!(said.out.contains("RESTIC_REPOSITORY"), "{said:?}");
}
