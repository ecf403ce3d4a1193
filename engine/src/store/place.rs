//! Where a repository is or will be, before it is known which format it has.

use std::{fmt, path::PathBuf, sync::Arc};

#[cfg(feature = "b2")]
use super::b2::B2Remote;
#[cfg(any(feature = "azure", feature = "gcs"))]
use super::bucket;
#[cfg(feature = "gdrive")]
use super::drive::Drive;
#[cfg(feature = "rclone")]
use super::rclone;
#[cfg(all(feature = "rclone", feature = "webdav"))]
use super::rclone::files::RcloneFiles;
#[cfg(feature = "rest")]
use super::rest::Rest;
#[cfg(feature = "s3")]
use super::s3::S3Remote;
#[cfg(feature = "sftp")]
use super::sftp::Sftp;
#[cfg(feature = "swift")]
use super::swift::Swift;
#[cfg(feature = "webdav")]
use super::webdav::WebDav;
use super::{
    Failure, Store, StoreError, layout::Layout, limit::Limiter, local::LocalStore,
    location::Location, remote::Remote, settings::StoreSettings, steady::Line, stem::Stemmed,
    trace::Observer,
};
use crate::{clock::Clock, entropy::Entropy};

/// A location that gives a store for every layout.
#[derive(Clone)]
pub struct Place {
    with_layout: Arc<dyn Fn(Layout) -> Store + Send + Sync>,
    names: Names,
}

/// Which names a place has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// Every key under its own name.
    Flat,
    /// Paths of files, which a layout makes of keys.
    Paths,
    /// `type/name` and one object at the top, and nothing else.
    Typed,
}

impl Place {
    /// A directory.
    #[must_use]
    pub fn local(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let open = move |layout| Store::new(LocalStore::new(path.clone(), layout));
        Self { with_layout: Arc::new(open), names: Names::Paths }
    }

    /// The place at a location. Nothing is asked of a server yet.
    pub fn open(
        location: &Location,
        settings: &StoreSettings,
        observer: &Observer,
        clock: &Arc<dyn Clock>,
        entropy: &Entropy,
    ) -> Result<Self, StoreError> {
        let limiter = Arc::new(Limiter::new(settings.limits));
        let means = Means { settings, observer, entropy, limiter };
        match location {
            Location::Local(path) => Ok(Self::local(path.clone())),
            #[cfg(feature = "s3")]
            Location::S3(at) => {
                let (clock, limiter) = (Arc::clone(clock), &means.limiter);
                let opened = S3Remote::new(at, settings, limiter, observer, clock)?;
                Ok(means.place(opened, Names::Flat))
            }
            #[cfg(feature = "b2")]
            Location::B2(bucket) => {
                let (clock, limiter) = (Arc::clone(clock), &means.limiter);
                let opened = B2Remote::new(bucket, settings, limiter, observer, clock)?;
                Ok(means.place(opened, Names::Flat))
            }
            #[cfg(feature = "azure")]
            Location::Azure(container) => {
                let name = location.to_string();
                let opened =
                    bucket::azure::open(container, name, settings, &means.limiter, observer)?;
                Ok(means.place(opened, Names::Flat))
            }
            #[cfg(feature = "gcs")]
            Location::Gcs(bucket) => {
                let name = location.to_string();
                let opened = bucket::gcs::open(bucket, name, settings, &means.limiter, observer)?;
                Ok(means.place(opened, Names::Flat))
            }
            #[cfg(feature = "rest")]
            Location::Rest(rest) => {
                let rest = Rest::new(rest, settings, &means.limiter, observer)?;
                Ok(means.place(rest, Names::Typed))
            }
            #[cfg(all(feature = "rclone", feature = "webdav"))]
            Location::Rclone(remote) if settings.rclone.files.is_some() => {
                let files = RcloneFiles::new(remote, settings, &means.limiter, observer)?;
                Ok(means.place(files, Names::Paths))
            }
            #[cfg(feature = "rclone")]
            Location::Rclone(remote) if settings.rclone.files.is_none() => {
                Ok(means.place(rclone::open(remote, settings, observer)?, Names::Typed))
            }
            #[cfg(feature = "sftp")]
            Location::Sftp(sftp) => Ok(means.place(Sftp::new(sftp, settings)?, Names::Paths)),
            #[cfg(feature = "swift")]
            Location::Swift(container) => {
                let swift = Swift::new(container, settings, &means.limiter, observer)?;
                Ok(means.place(swift, Names::Flat))
            }
            #[cfg(feature = "webdav")]
            Location::WebDav(webdav) => {
                let webdav = WebDav::new(webdav, settings, &means.limiter, observer)?;
                Ok(means.place(webdav, Names::Paths))
            }
            #[cfg(feature = "gdrive")]
            Location::Drive(drive) => {
                let (clock, limiter) = (Arc::clone(clock), &means.limiter);
                let drive = Drive::new(drive, settings, limiter, observer, clock)?;
                Ok(means.place(drive, Names::Flat))
            }
            #[allow(unreachable_patterns, reason = "a build may have every kind")]
            _ => Err(means.not_built(location)),
        }
    }

    /// A store that needs no layout, or has its own.
    #[must_use]
    pub fn store(store: Store) -> Self {
        Self { with_layout: Arc::new(move |_layout| store.clone()), names: Names::Flat }
    }

    /// Its store, with objects where `layout` puts them.
    pub(crate) fn with_layout(&self, layout: Layout) -> Store {
        (self.with_layout)(layout)
    }

    /// Which names it has room for.
    pub(crate) fn names(&self) -> Names {
        self.names
    }
}

/// What every adapter is made with.
struct Means<'a> {
    settings: &'a StoreSettings,
    observer: &'a Observer,
    entropy: &'a Entropy,
    /// What all connections to this location share.
    limiter: Arc<Limiter>,
}

impl Means<'_> {
    /// A server where objects lie where layouts say.
    fn place(&self, remote: impl Remote, names: Names) -> Place {
        let (settings, limiter) = (self.settings, &self.limiter);
        let line = match settings.stem.as_str() {
            "" => Line::new(remote, settings, limiter, self.observer, self.entropy),
            stem => {
                let remote = Stemmed::new(remote, stem);
                Line::new(remote, settings, limiter, self.observer, self.entropy)
            }
        };
        let open = move |layout| Store::new(line.store(layout));
        Place { with_layout: Arc::new(open), names }
    }

    fn not_built(&self, location: &Location) -> StoreError {
        let why = format!("this build has no support for {}:", location.scheme().word());
        StoreError::new(Failure::Permanent, "open", location.to_string(), why)
            .advising("use a build that has it")
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({})", self.with_layout(Layout::Plain).location())
    }
}
