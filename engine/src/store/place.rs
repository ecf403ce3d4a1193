//! Where a repository is or will be, before it is known which format it has.

use std::{fmt, path::PathBuf, sync::Arc};

use super::{
    Failure, Store, StoreError, layout::Layout, limit::Limiter, local::LocalStore,
    location::Location, remote::Remote, settings::StoreSettings, steady::Line, trace::Observer,
};
use crate::{clock::Clock, entropy::Entropy};

/// A location that gives a store for every layout.
#[derive(Clone)]
pub struct Place {
    with_layout: Arc<dyn Fn(Layout) -> Store + Send + Sync>,
    has_layouts: bool,
}

impl Place {
    /// A directory.
    #[must_use]
    pub fn local(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let open = move |layout| Store::new(LocalStore::new(path.clone(), layout));
        Self { with_layout: Arc::new(open), has_layouts: true }
    }

    /// The place at a location. Nothing is asked of a server yet.
    pub fn open(
        location: &Location,
        settings: &StoreSettings,
        observer: &Observer,
        clock: &Arc<dyn Clock>,
        entropy: &Entropy,
    ) -> Result<Self, StoreError> {
        let means = Means {
            settings,
            observer,
            clock,
            entropy,
            limiter: Limiter::new(settings.limits).into(),
        };
        match location {
            Location::Local(path) => Ok(Self::local(path.clone())),
            #[cfg(feature = "s3")]
            Location::S3(at) => {
                let Means { settings, observer, limiter, .. } = &means;
                let clock = Arc::clone(means.clock);
                let remote = super::s3::S3Remote::new(at, settings, limiter, observer, clock)?;
                Ok(means.place(remote))
            }
            #[cfg(not(feature = "s3"))]
            Location::S3(_) => Err(means.not_built(location)),
            Location::Rest(_)
            | Location::Sftp(_)
            | Location::Azure(_)
            | Location::Gcs(_)
            | Location::B2(_)
            | Location::Swift(_)
            | Location::Rclone(_)
            | Location::WebDav(_) => Err(means.not_built(location)),
        }
    }

    /// A store that needs no layout, or has its own.
    #[must_use]
    pub fn store(store: Store) -> Self {
        Self { with_layout: Arc::new(move |_layout| store.clone()), has_layouts: false }
    }

    /// Its store, with objects where `layout` puts them.
    pub(crate) fn with_layout(&self, layout: Layout) -> Store {
        (self.with_layout)(layout)
    }

    /// Whether layouts make a difference here.
    pub(crate) fn has_layouts(&self) -> bool {
        self.has_layouts
    }
}

/// What every adapter is made with.
#[derive(Debug)]
pub struct Means<'a> {
    /// What was asked for.
    pub settings: &'a StoreSettings,
    /// Who wants to know.
    pub observer: &'a Observer,
    /// The time.
    pub clock: &'a Arc<dyn Clock>,
    /// Randomness.
    pub entropy: &'a Entropy,
    /// What all connections to this location share.
    pub limiter: Arc<Limiter>,
}

impl Means<'_> {
    /// A server where objects lie where layouts say.
    #[must_use]
    pub fn place(&self, remote: impl Remote) -> Place {
        let line = Line::new(remote, self.settings, &self.limiter, self.observer, self.entropy);
        let open = move |layout| Store::new(line.store(layout));
        Place { with_layout: Arc::new(open), has_layouts: false }
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
