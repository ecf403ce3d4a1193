//! `cargo xtask image`: the mover's container image, or the files that are in it.
//!
//! Invariants
//! - What is in the image is made by `--rootfs` and by nothing else; the Containerfile runs it.
//! - The program is linked statically: the image holds no library, no loader and no shell.

mod licences;
mod packages;
mod rootfs;
mod sbom;
mod trial;

use std::path::PathBuf;
use std::process::Command;

use crate::workspace;

const USAGE: &str = "\
usage: cargo xtask image [OPTIONS]
  --tag NAME        what to call the image (localhost/windlass:latest)
  --engine PROGRAM  buildah, podman or docker (the first of them on PATH)
  --rootfs DIR      no image: put its files into this new directory
  --try             no image: make its files and run them on real data, as root, with a read-only
                    root, without names, and within 128 MiB where a control group may be made
  --profile NAME    of the build for --rootfs and --try (release)";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    tag: String,
    engine: Option<String>,
    rootfs: Option<PathBuf>,
    tries: bool,
    profile: String,
}

impl Options {
    fn parse(arguments: &[String]) -> Option<Self> {
        let mut options = Self {
            tag: "localhost/windlass:latest".into(),
            engine: None,
            rootfs: None,
            tries: false,
            profile: "release".into(),
        };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            if word == "--try" {
                options.tries = true;
                continue;
            }
            let value = words.next()?;
            match word.as_str() {
                "--tag" => options.tag = value.clone(),
                "--engine" => options.engine = Some(value.clone()),
                "--rootfs" => options.rootfs = Some(value.into()),
                "--profile" => options.profile = value.clone(),
                _ => return None,
            }
        }
        (options.rootfs.is_none() || !options.tries).then_some(options)
    }
}

/// Makes what was asked for.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let options = Options::parse(arguments).ok_or(USAGE)?;
    if options.tries {
        return trial::run(&options.profile);
    }
    if let Some(directory) = &options.rootfs {
        let size = rootfs::make(directory, &options.profile)?;
        println!("{}: {:.1} MiB", directory.display(), size as f64 / 1024.0 / 1024.0);
        return Ok(());
    }
    let engine = engine(options.engine.as_deref())?;
    workspace::run(&mut build(&engine, &options.tag))
}

/// The program that builds images.
fn engine(named: Option<&str>) -> Result<String, String> {
    let known = ["buildah", "podman", "docker"];
    let wanted = named.map_or_else(|| known.to_vec(), |name| vec![name]);
    let found = wanted.iter().find(|name| workspace::find_on_path(name).is_some());
    found
        .map(|name| (*name).to_owned())
        .ok_or_else(|| format!("none of {} is on PATH; --rootfs needs none", wanted.join(", ")))
}

fn build(engine: &str, tag: &str) -> Command {
    let mut command = Command::new(engine);
    command.args(["build", "--file", "Containerfile", "--tag", tag]);
    command.args(["--build-arg", concat!("VERSION=", env!("CARGO_PKG_VERSION")), "."]);
    command.current_dir(workspace::root());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Option<Options> {
        Options::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn an_image_or_its_files_but_not_both_ways_of_having_them() {
        let plain = parse(&[]).unwrap();
        assert_eq!(
            (plain.tag.as_str(), plain.profile.as_str()),
            ("localhost/windlass:latest", "release")
        );
        let files = parse(&["--rootfs", "out", "--profile", "dev"]).unwrap();
        assert_eq!((files.rootfs, files.profile.as_str()), (Some("out".into()), "dev"));
        assert!(parse(&["--try"]).unwrap().tries);
        assert_eq!(parse(&["--try", "--rootfs", "out"]), None);
        assert_eq!(parse(&["--tag"]), None);
        assert_eq!(parse(&["--frobnicate", "x"]), None);
    }
}
