//! Random trees of files on disk, as nasty as real ones.
//!
//! Invariants: the same options give the same tree on file systems with the same abilities; what
//! one cannot hold (attributes, devices without the right to make them) is left out.

mod names;

use std::{
    ffi::OsStr,
    fs::{self, File, Permissions},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, PermissionsExt, lchown, symlink},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, lsetxattr, makedev,
        mkfifoat, mknodat, utimensat,
    },
    io::Errno,
};
use windlass_engine::entropy::Entropy;

/// How large a tree and which one.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Which of all trees.
    pub seed: u64,
    /// Entries altogether.
    pub entries: usize,
    /// Levels of directories.
    pub depth: usize,
    /// The largest file.
    pub max_file_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: 1, entries: 200, depth: 6, max_file_bytes: 256 * 1024 }
    }
}

/// Makes a random tree in `root`, which is created where it is missing.
pub fn grow(root: &Path, options: &Options) -> io::Result<()> {
    fs::create_dir_all(root)?;
    let mut grower = Grower {
        dice: Dice(Entropy::seeded(options.seed)),
        options: *options,
        directories: vec![(root.to_owned(), 0)],
        files: Vec::new(),
        as_root: rustix::process::geteuid().is_root(),
    };
    for _ in 0..options.entries {
        grower.entry()?;
    }
    // Children change the times of their directories, so these come last, deepest first.
    let mut directories = std::mem::take(&mut grower.directories);
    directories.sort_by_key(|(_, depth)| std::cmp::Reverse(*depth));
    for (path, _) in directories {
        grower.dress(&path, grower.directory_mode())?;
    }
    Ok(())
}

struct Grower {
    dice: Dice,
    options: Options,
    directories: Vec<(PathBuf, usize)>,
    files: Vec<PathBuf>,
    as_root: bool,
}

struct Dice(Entropy);

impl Dice {
    fn number(&self) -> u64 {
        // A seeded generator cannot fail.
        self.0.bytes().map_or(0, u64::from_le_bytes)
    }

    fn below(&self, end: usize) -> usize {
        (self.number() % end.max(1) as u64) as usize
    }

    fn one_in(&self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn pick<T: Copy>(&self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn bytes(&self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        if self.0.fill(&mut bytes).is_err() {
            bytes.fill(1);
        }
        bytes
    }
}

impl Grower {
    fn entry(&mut self) -> io::Result<()> {
        let (parent, depth) = self.directories[self.dice.below(self.directories.len())].clone();
        let path = self.free_name(&parent);
        match self.dice.below(20) {
            0..=3 if depth < self.options.depth => {
                fs::create_dir(&path)?;
                self.directories.push((path, depth + 1));
                Ok(())
            }
            4 | 5 => {
                symlink(OsStr::from_bytes(self.dice.pick(&names::TARGETS)), &path)?;
                self.dress(&path, None)
            }
            6 => {
                mkfifoat(CWD, &path, Mode::RUSR)?;
                self.dress(&path, Some(0o644))
            }
            7 if self.as_root => self.device(&path),
            8 | 9 if !self.files.is_empty() => {
                let file = &self.files[self.dice.below(self.files.len())];
                fs::hard_link(file, path)
            }
            10 => self.sparse_file(path),
            _ => self.file(path),
        }
    }

    fn free_name(&self, parent: &Path) -> PathBuf {
        let mut name = match self.dice.below(3) {
            0 => self.dice.pick(&names::NASTY).to_vec(),
            1 => format!("file {:x}.dat", self.dice.number()).into_bytes(),
            // Any bytes at all, but for those a name cannot have.
            _ => {
                let len = 1 + self.dice.below(40);
                let allowed = |byte: &u8| !matches!(byte, 0 | b'/');
                let bytes = self.dice.bytes(len).into_iter().filter(allowed).collect::<Vec<_>>();
                if matches!(bytes.as_slice(), b"" | b"." | b"..") {
                    b"dots".to_vec()
                } else {
                    bytes
                }
            }
        };
        loop {
            let path = parent.join(OsStr::from_bytes(&name));
            if fs::symlink_metadata(&path).is_err() {
                return path;
            }
            name.truncate(240);
            name.extend(format!("{}", self.dice.below(10)).bytes());
        }
    }

    fn file(&mut self, path: PathBuf) -> io::Result<()> {
        let most = usize::try_from(self.options.max_file_bytes).unwrap_or(usize::MAX);
        let len = match self.dice.below(6) {
            0 => 0,
            1 => most,
            2 => self.dice.below(most),
            _ => self.dice.below(most.min(4096)),
        };
        let bytes = match self.dice.below(3) {
            0 => self.dice.bytes(len),
            1 => vec![0; len],
            _ => b"the same words again\n".iter().copied().cycle().take(len).collect(),
        };
        fs::write(&path, bytes)?;
        self.dress(&path, Some(self.dice.pick(&names::FILE_MODES)))?;
        self.files.push(path);
        Ok(())
    }

    fn sparse_file(&mut self, path: PathBuf) -> io::Result<()> {
        let len = self.options.max_file_bytes.saturating_mul(4);
        let file = File::create(&path)?;
        file.set_len(len)?;
        for _ in 0..self.dice.below(4) {
            file.write_all_at(&self.dice.bytes(100), self.dice.number() % len.max(1))?;
        }
        drop(file);
        self.dress(&path, Some(0o600))?;
        self.files.push(path);
        Ok(())
    }

    fn device(&self, path: &Path) -> io::Result<()> {
        let kind = self.dice.pick(&[FileType::CharacterDevice, FileType::BlockDevice]);
        let number = makedev(1 + self.dice.below(300) as u32, self.dice.below(100_000) as u32);
        match mknodat(CWD, path, kind, Mode::RUSR, number) {
            Ok(()) => self.dress(path, Some(0o640)),
            // A container's root may not.
            Err(Errno::PERM) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Owner, mode, attributes and times, in an order in which none undoes another.
    fn dress(&self, path: &Path, mode: Option<u32>) -> io::Result<()> {
        if self.as_root && self.dice.one_in(4) {
            let owner = |dice: &Dice| Some(dice.below(70_000) as u32);
            match lchown(path, owner(&self.dice), owner(&self.dice)) {
                // A user name space has only some of all owners.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => {}
                result => result?,
            }
        }
        if self.dice.one_in(4) {
            for _ in 0..1 + self.dice.below(3) {
                let name = format!("user.{}", self.dice.below(50));
                let value = self.dice.bytes(self.dice.pick(&[0, 1, 20, 900]));
                match lsetxattr(path, name.as_str(), &value, XattrFlags::empty()) {
                    // Not on this file system, or not on this kind of file.
                    Err(Errno::OPNOTSUPP | Errno::PERM | Errno::NOSPC) | Ok(()) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
        if let Some(mode) = mode {
            fs::set_permissions(path, Permissions::from_mode(mode))?;
        }
        let tv_nsec = (self.dice.number() % 1_000_000_000) as _;
        let tv_sec = self.dice.pick(&names::SECONDS) + self.dice.below(100_000) as i64;
        let time = Timespec { tv_sec, tv_nsec };
        let times = Timestamps { last_access: time, last_modification: time };
        Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn directory_mode(&self) -> Option<u32> {
        Some(self.dice.pick(&names::DIRECTORY_MODES))
    }
}
