//! What the controller sets in the environment of every mover.
//!
//! Invariants: a variable that has to be there and is not is named, and nothing was done before.

use std::path::{Path, PathBuf};

use super::ending::Halt;
use crate::{args::GlobalArgs, settings::environment::Variables};

/// How long somebody else's lock is waited for: longer than one that nobody holds counts as held.
const LOCK_PATIENCE: &str = "35m";

/// Volumes and settings of a container.
#[derive(Debug)]
pub(super) struct Container {
    /// Where the data volume is.
    pub(super) data: PathBuf,
    /// Where the cache volume is.
    pub(super) cache: PathBuf,
    custom_ca: Option<String>,
    lock_patience: String,
}

impl Container {
    /// Reads the variables, after those that have to be set were found to be.
    pub(super) fn of(variables: &Variables, mandatory: &[&str]) -> Result<Self, Halt> {
        for name in mandatory {
            if variables.get(name).is_none() {
                return Err(Halt::misused(1, &format!("{name} must be defined")));
            }
        }
        let path = |name: &str| variables.get(name).map(PathBuf::from).unwrap_or_default();
        let data = absolute("DATA_DIR", &path("DATA_DIR"))?;
        let cache = absolute("RESTIC_CACHE_DIR", &path("RESTIC_CACHE_DIR"))?;
        let custom_ca = variables.plain("CUSTOM_CA")?;
        if let Some(file) = &custom_ca
            && let Err(error) = std::fs::File::open(file)
        {
            return Err(Halt::misused(1, &format!("CUSTOM_CA: cannot read {file}: {error}")));
        }
        let patience = variables.of("WINDLASS_", "RETRY_LOCK")?;
        let lock_patience = patience.unwrap_or_else(|| LOCK_PATIENCE.into());
        Ok(Self { data, cache, custom_ca, lock_patience })
    }

    /// As options of the command line.
    pub(super) fn global(&self, lineage: Option<String>) -> Result<GlobalArgs, Halt> {
        crate::units::parse_duration(&self.lock_patience).map_err(|_unreadable| {
            let text = &self.lock_patience;
            Halt::misused(1, &format!("WINDLASS_RETRY_LOCK: {text:?} is no time like 90s or 5m"))
        })?;
        Ok(GlobalArgs {
            cache_dir: Some(self.cache.clone()),
            retry_lock: Some(self.lock_patience.clone()),
            lineage,
            transport: crate::args::TransportArgs {
                cacert: self.custom_ca.clone().into_iter().collect(),
                ..Default::default()
            },
            ..GlobalArgs::default()
        })
    }
}

/// A mount has an absolute path; a slash at its end says nothing.
fn absolute(name: &str, path: &Path) -> Result<PathBuf, Halt> {
    match path.is_absolute() {
        true => Ok(path.components().collect()),
        false => Err(Halt::misused(1, &format!("{name} must be an absolute path"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_absolute_and_have_one_spelling() {
        assert_eq!(absolute("X", Path::new("/data//")).expect("fine"), Path::new("/data"));
        assert_eq!(absolute("X", Path::new("/a/./b")).expect("fine"), Path::new("/a/b"));
        let halt = absolute("DATA_DIR", Path::new("data")).expect_err("relative");
        assert_eq!((halt.code, halt.lines[0].contains("DATA_DIR")), (1, true));
    }
}
