//! The repository that is used where none was named: in the user's data directory, with a random
//! key in a file beside it.
//!
//! Invariants
//! - Only `init` and a backup create it; nothing that reads does.
//! - The key file is complete on disk before the repository is created, readable by its owner
//!   alone, and never replaced.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use windlass_engine::{entropy::Entropy, fault::Fault, format::secret::Password};

use crate::{
    failure::Failure,
    location::Location,
    settings::{environment::Variables, read_text},
};

/// Where the default repository and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DefaultRepository {
    directory: PathBuf,
}

impl DefaultRepository {
    /// That of the user with these variables.
    pub(crate) fn of(variables: &Variables) -> Result<Self, Failure> {
        let absolute =
            |name: &str| variables.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let data = absolute("XDG_DATA_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
        match data {
            Some(data) => Ok(Self { directory: data.join("windlass") }),
            None => Err(Failure::input(
                "no repository was named and there is no home directory for a default one",
                "name it with -r or RESTIC_REPOSITORY",
            )),
        }
    }

    /// Where it is.
    pub(crate) fn location(&self) -> Location {
        Location::Local(self.path())
    }

    /// Where its key is.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.directory.join("repository.key")
    }

    /// The directory that it is.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join("repository")
    }

    /// Whether it has been created.
    pub(crate) fn exists(&self) -> bool {
        self.path().join("config").exists()
    }

    /// Its key, where it exists.
    pub(crate) fn password(&self) -> Result<Password, Failure> {
        if !self.exists() {
            return Err(Failure::input(
                format!(
                    "no repository was named, and the default one at {} does not exist yet",
                    self.path().display()
                ),
                "name one with -r or RESTIC_REPOSITORY; the first `windlass backup` without \
                 either creates the default one",
            ));
        }
        self.read_key()
    }

    /// Its key, made now unless an earlier attempt has.
    pub(crate) fn new_password(&self, entropy: &Entropy) -> Result<Password, Failure> {
        let key_file = self.key_file();
        let failed = |error| Failure::io(format!("creating {}", key_file.display()), error);
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory).map_err(failed)?;
        let key: [u8; 32] = entropy.bytes().map_err(Fault::from)?;
        let text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        // Written beside and linked into place: a key file is whole, and never another one's end.
        let draft = self.directory.join(format!("repository.key.{}", std::process::id()));
        let written = write_key(&draft, &text).and_then(|()| fs::hard_link(&draft, &key_file));
        let _gone_or_left = fs::remove_file(&draft);
        match written {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
        File::open(&self.directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
        self.read_key()
    }

    fn read_key(&self) -> Result<Password, Failure> {
        let key_file = self.key_file();
        match fs::metadata(&key_file) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Failure::input(
                    format!(
                        "the key file {} of the default repository is gone",
                        key_file.display()
                    ),
                    "put your copy of it back; nothing else opens this repository",
                ));
            }
            Err(error) => {
                return Err(Failure::io(format!("reading {}", key_file.display()), error));
            }
            Ok(meta) if meta.permissions().mode() & 0o077 != 0 => {
                return Err(Failure::input(
                    format!("the key file {} can be read by others", key_file.display()),
                    format!("run `chmod 600 {}`", key_file.display()),
                ));
            }
            Ok(_) => {}
        }
        let text = read_text(&key_file)?;
        if text.is_empty() {
            return Err(Failure::input(
                format!("the key file {} is empty", key_file.display()),
                "put your copy of it back",
            ));
        }
        Ok(Password::new(text))
    }
}

fn write_key(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_directory_is_absolute_or_below_home() {
        let of = |variables: &[(&str, &str)]| DefaultRepository::of(&Variables::fixed(variables));
        let path = |variables: &[(&str, &str)]| of(variables).expect("a place").path();
        let home = ("HOME", "/home/me");
        assert_eq!(path(&[home]), Path::new("/home/me/.local/share/windlass/repository"));
        assert_eq!(path(&[home, ("XDG_DATA_HOME", "/d")]), Path::new("/d/windlass/repository"));
        assert_eq!(path(&[home, ("XDG_DATA_HOME", "d")]), path(&[home]));
        assert_eq!(of(&[]).expect_err("no home").exit_code(), 1);
    }

    #[test]
    fn a_key_is_made_once_and_readable_by_its_owner_only() {
        let data = tempfile::tempdir().expect("a directory");
        let variables = [("XDG_DATA_HOME", data.path().to_str().expect("UTF-8"))];
        let default = DefaultRepository::of(&Variables::fixed(&variables)).expect("a place");
        default.password().expect_err("nothing there yet");
        let first = default.new_password(&Entropy::seeded(1)).expect("a key");
        let again = default.new_password(&Entropy::seeded(2)).expect("the same key");
        assert_eq!(first.expose(), again.expose());
        assert_eq!(first.expose().len(), 64);
        let mode = |path: &Path| fs::metadata(path).expect("is there").permissions().mode();
        assert_eq!(mode(&default.key_file()) & 0o777, 0o600);
        assert_eq!(mode(&default.directory) & 0o777, 0o700);
        assert_eq!(fs::read_dir(&default.directory).expect("a directory").count(), 1);
        fs::set_permissions(default.key_file(), fs::Permissions::from_mode(0o644)).expect("chmod");
        let failure = default.new_password(&Entropy::seeded(3)).expect_err("readable by others");
        assert!(failure.advice().expect("advice").contains("chmod 600"));
    }
}
