//! An open repository: dialect, protocol, store and index in one handle. No operations here.
//!
//! Invariants: the format is found by what the location holds; the index is loaded once, after
//! whatever roots an operation works with were listed.

use std::{fmt, sync::Arc};

use tokio::{runtime::Handle, sync::OnceCell};
use windlass_format::secret::Password;

use crate::{
    clock::{Clock, SystemClock},
    dialect::Dialect,
    entropy::Entropy,
    fault::Fault,
    index::Index,
    protocol::{
        Protocol,
        restic::{self, InitOptions, OpenOptions, keys::OpenError},
    },
    reader::Reader,
    resources::Resources,
    store::{Store, layout::Layout, local::LocalStore},
};

/// Where a repository is or will be, before it is known which format it has.
#[derive(Clone)]
pub struct Place(Arc<dyn Fn(Layout) -> Store + Send + Sync>);

impl Place {
    /// A directory.
    #[must_use]
    pub fn local(path: impl Into<std::path::PathBuf>) -> Self {
        let path = path.into();
        Self(Arc::new(move |layout| Store::new(LocalStore::new(path.clone(), layout))))
    }

    /// A store that needs no layout, or has its own.
    #[must_use]
    pub fn store(store: Store) -> Self {
        Self(Arc::new(move |_layout| store.clone()))
    }

    pub(crate) fn with_layout(&self, layout: Layout) -> Store {
        (self.0)(layout)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({})", self.with_layout(Layout::Plain).location())
    }
}

/// What an embedding program decides for all operations on a repository.
#[derive(Clone, Debug)]
pub struct Environment {
    /// CPUs and memory.
    pub resources: Resources,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Entropy,
}

impl Environment {
    /// What the system says.
    #[must_use]
    pub fn system() -> Self {
        Self {
            resources: Resources::detect(),
            clock: Arc::new(SystemClock),
            entropy: Entropy::system(),
        }
    }
}

/// An open repository.
#[derive(Debug)]
pub struct Repository {
    store: Store,
    dialect: Dialect,
    protocol: Protocol,
    identity: Identity,
    environment: Environment,
    pool: Arc<rayon::ThreadPool>,
    index: OnceCell<Arc<Index>>,
}

/// What tells a repository apart from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its id.
    pub id: String,
    /// Its format and version, in words.
    pub format: String,
    /// The key that opened it, where there are several.
    pub key: Option<String>,
}

impl Repository {
    /// Opens the repository at `place`, of whichever format it is.
    pub async fn open(
        place: &Place,
        password: &Password,
        options: &OpenOptions,
        environment: Environment,
    ) -> Result<Self, OpenError> {
        let store = place.with_layout(restic::layout());
        if !store.exists(&restic::config_key()).await.or_else(absent)? {
            return Err(OpenError::NoRepository { location: store.location() });
        }
        let pool = pool(&environment)?;
        let opened = restic::open(
            &store,
            password,
            options,
            &pool,
            Arc::clone(&environment.clock),
            environment.entropy.clone(),
        )
        .await?;
        Ok(Self {
            store,
            dialect: Dialect::Restic(opened.codec),
            protocol: Protocol::Restic(opened.protocol),
            identity: Identity {
                id: opened.config.id.to_hex(),
                format: format!("restic version {}", opened.config.version.number()),
                key: Some(opened.key.to_hex()),
            },
            environment,
            pool,
            index: OnceCell::new(),
        })
    }

    /// Creates a repository at `place`, which must hold none.
    pub async fn init(
        place: &Place,
        password: &Password,
        options: &InitOptions,
        environment: &Environment,
    ) -> Result<String, OpenError> {
        let store = place.with_layout(restic::layout());
        let id = restic::init(
            &store,
            password,
            options,
            &pool(environment)?,
            Arc::clone(&environment.clock),
            environment.entropy.clone(),
        )
        .await?;
        Ok(id.to_hex())
    }

    /// Where it is kept.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Its bytes.
    #[must_use]
    pub fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    /// Its order.
    #[must_use]
    pub fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    /// What tells it apart.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What was decided for all operations.
    #[must_use]
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The threads that compute.
    #[must_use]
    pub fn pool(&self) -> &Arc<rayon::ThreadPool> {
        &self.pool
    }

    /// The index, loaded on first use. List roots before: see the order in `protocol`.
    pub async fn index(&self) -> Result<Arc<Index>, Fault> {
        let load = async || {
            let index = Arc::new(Index::new());
            self.protocol.load_index(&index).await?;
            Ok(index)
        };
        self.index.get_or_try_init(load).await.cloned()
    }

    /// Reads chunks.
    pub async fn reader(&self) -> Result<Reader, Fault> {
        let index = self.index().await?;
        Ok(Reader::new(self.store.clone(), self.dialect.clone(), index, Handle::current()))
    }
}

/// "There is nothing" is an answer; every other failure stays one.
fn absent(error: crate::store::StoreError) -> Result<bool, Fault> {
    match error.failure {
        crate::store::Failure::NotFound => Ok(false),
        _ => Err(error.into()),
    }
}

fn pool(environment: &Environment) -> Result<Arc<rayon::ThreadPool>, Fault> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(environment.resources.cpus)
        .thread_name(|at| format!("compute-{at}"))
        .build()
        .map_err(|_refused| Fault::Bug("the system refuses to start threads"))?;
    Ok(Arc::new(pool))
}
