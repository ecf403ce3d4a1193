//! `mount`: snapshots as a file system that is only read, through FUSE.
//!
//! Invariants
//! - In the foreground, until Ctrl-C, SIGTERM or an unmount by somebody else; what was mounted is
//!   unmounted on every way out but a kill. Where files are still open it is detached, so that no
//!   dead mount stays behind.
//! - Never over, under or on the directory of the repository itself: reading it would wait for
//!   itself.

mod numbers;
mod view;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use fuser::{Config, MountOption, Session as FuseSession, SessionACL, SessionUnmounter};
use rustix::{
    fs::{Access, access},
    io::Errno,
    mount::{UnmountFlags, unmount},
};
use serde::Serialize;
use tokio::sync::oneshot;
use windlass_engine::{browse::Browser, repository::Repository};

use super::{browsing::BrowseArgs, reading};
use crate::{
    failure::{Failure, Outcome},
    location::Location,
    session::Session,
};
use view::{Owner, View};

/// Threads that answer the kernel: each waits for the store by itself.
const THREADS: usize = 8;

/// Mount snapshots as a directory, to be read only
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory to mount at
    #[arg(value_name = "DIRECTORY")]
    directory: PathBuf,
    #[command(flatten)]
    browse: BrowseArgs,
    /// Let other users in too, each to what the permissions in the snapshots allow
    #[arg(long)]
    allow_other: bool,
    /// With --allow-other: let everybody read everything
    #[arg(long)]
    no_default_permissions: bool,
    /// Show everything as owned by root
    #[arg(long)]
    owner_root: bool,
}

#[derive(Serialize)]
struct Mounted<'a> {
    message_type: &'static str,
    directory: &'a str,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let directory = mountable(&args.directory)?;
    if let Location::Local(repository) = session.settings.chosen()?.location() {
        apart(&directory, &repository)?;
    }
    let choice = args.browse.choice(session)?;
    let repository = Arc::new(session.open().await?);
    let work = async {
        let browser = choice.browser(&repository, session).await?;
        mounted(&args, &directory, browser, &repository, session).await
    };
    session.reading(&repository, work).await
}

async fn mounted(
    args: &Args,
    directory: &Path,
    browser: Browser,
    repository: &Repository,
    session: &Session,
) -> Result<Outcome, Failure> {
    let owner = if args.owner_root { Owner::Root } else { Owner::AsStored };
    let view = View::new(browser, owner, Arc::clone(&session.output), session.cancel.clone());
    let config = config(args, repository);
    let at = directory.to_owned();
    let fuse = reading::blocking(move || {
        FuseSession::new(view, &at, &config).map_err(|error| not_mounted(&at, error))
    });
    let mut fuse = fuse.await?;
    let unmounter = fuse.unmount_callable();
    let (over, ended) = oneshot::channel();
    let spawned = thread::Builder::new().name("fuse".into()).spawn(move || {
        let _nobody_waits_any_more = over.send(fuse.run());
    });
    spawned.map_err(|error| Failure::io("starting a thread", error))?;
    let shown = directory.display().to_string();
    if session.output.is_json() {
        session.output.json(&Mounted { message_type: "mounted", directory: &shown });
    } else {
        session.output.result(&format!("snapshots are mounted at {shown}"));
        session.output.line("end it with Ctrl-C, or unmount it");
    }
    session.output.flush();
    tokio::select! {
        result = ended => {
            let stopped = |_panicked| Err(io::Error::other("the threads that answer are gone"));
            result.unwrap_or_else(stopped).map_err(|error| Failure::io("serving the mount", error))?;
        }
        () = session.cancel.cancelled() => {
            let (at, output) = (directory.to_owned(), Arc::clone(&session.output));
            let unmounted = move || Ok(unmounted(unmounter, &at));
            if let Err(warning) = reading::blocking(unmounted).await? {
                output.warn(&warning);
            }
        }
    }
    Ok(Outcome::Done)
}

/// How the kernel is asked for it.
fn config(args: &Args, repository: &Repository) -> Config {
    let id: String = repository.identity().id.chars().take(10).collect();
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::RO,
        // A snapshot may hold anything, and nobody needs to run it as root from here.
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::FSName(format!("windlass:{id}")),
        MountOption::Subtype("windlass".into()),
    ];
    if args.allow_other {
        config.acl = SessionACL::All;
        if !args.no_default_permissions {
            config.mount_options.push(MountOption::DefaultPermissions);
        }
    }
    config.n_threads = Some(THREADS);
    config
}

/// Unmounts, also what is in use; says what cannot be done.
fn unmounted(mut unmounter: SessionUnmounter, directory: &Path) -> Result<(), String> {
    match unmounter.unmount() {
        Ok(()) => Ok(()),
        // Whoever has something open there sees that it is gone; the directory is free.
        Err(busy) if Errno::from_io_error(&busy) == Some(Errno::BUSY) => {
            unmount(directory, UnmountFlags::DETACH).map_err(|error| stays(directory, error.into()))
        }
        Err(error) => Err(stays(directory, error)),
    }
}

fn stays(directory: &Path, error: io::Error) -> String {
    let shown = directory.display();
    format!("could not unmount {shown}: {error}; run `fusermount3 -u {shown}` or `umount {shown}`")
}

/// The whole path of a directory that something can be mounted at.
fn mountable(directory: &Path) -> Result<PathBuf, Failure> {
    let shown = directory.display();
    let metadata = match fs::metadata(directory) {
        Ok(metadata) => metadata,
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NOTCONN) => {
            return Err(Failure::input(
                format!("{shown} is the mount of a program that is gone"),
                format!("unmount it first: `fusermount3 -u {shown}` or `umount {shown}`"),
            ));
        }
        Err(error) => return Err(Failure::io(format!("mounting at {shown}"), error)),
    };
    if !metadata.is_dir() {
        return Err(Failure::input(
            format!("{shown} is not a directory"),
            "choose an empty directory",
        ));
    }
    access(directory, Access::WRITE_OK | Access::EXEC_OK).map_err(|_refused| {
        Failure::input(
            format!("{shown} is not yours to mount at"),
            "choose a directory that you may write to",
        )
    })?;
    directory.canonicalize().map_err(|error| Failure::io(format!("mounting at {shown}"), error))
}

/// Refuses to mount where the repository would be hidden, or read through the mount itself.
fn apart(directory: &Path, repository: &Path) -> Result<(), Failure> {
    // One that does not exist is told apart later, with better words.
    let Ok(repository) = repository.canonicalize() else { return Ok(()) };
    if repository.starts_with(directory) || directory.starts_with(&repository) {
        return Err(Failure::input(
            format!("{} and the repository are in each other", directory.display()),
            "mount somewhere else: reading would wait for itself",
        ));
    }
    Ok(())
}

fn not_mounted(directory: &Path, error: io::Error) -> Failure {
    let shown = directory.display();
    match error.kind() {
        io::ErrorKind::NotFound => Failure::input(
            format!("mounting at {shown}: {error}"),
            "mounting takes /dev/fuse, and without root `fusermount3` (Debian: apt install fuse3); \
             `windlass serve` takes neither",
        ),
        io::ErrorKind::PermissionDenied => Failure::input(
            format!("mounting at {shown}: {error}"),
            "mounting takes access to /dev/fuse; --allow-other without root takes \
             `user_allow_other` in /etc/fuse.conf; `windlass serve` takes neither",
        ),
        _ => Failure::io(format!("mounting at {shown}"), error),
    }
}
