//! An open repository: dialect, protocol, store and index in one handle. No operations here.
//!
//! Invariants
//! - The format is found by what the location holds.
//! - The index is loaded once for whoever reads, after whatever roots it works with were listed.
//! - Whoever writes has an index of its own, loaded under its own announcement: what an earlier
//!   operation reserved and did not store, or what others have removed since, must not count as
//!   stored.

use std::sync::Arc;

use tokio::{runtime::Handle, sync::Mutex};
use windlass_format::secret::Password;

use crate::{
    clock::{Clock, SystemClock},
    dialect::Dialect,
    entropy::Entropy,
    fault::Fault,
    index::Index,
    protocol::{
        Protocol,
        keys::OpenError,
        open::{self, InitOptions, Means, OpenOptions, Opened},
    },
    reader::Reader,
    resources::Resources,
    store::Store,
};
pub use crate::{protocol::open::Identity, store::place::Place};

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
    index: Mutex<Option<Arc<Index>>>,
}

impl Repository {
    /// Opens the repository at `place`, of whichever format it is.
    pub async fn open(
        place: &Place,
        password: &Password,
        options: &OpenOptions,
        environment: Environment,
    ) -> Result<Self, OpenError> {
        let pool = pool(&environment)?;
        let means = means(&environment, &pool);
        let Opened { store, dialect, protocol, identity } =
            open::open(place, password, options, means).await?;
        let index = Mutex::default();
        Ok(Self { store, dialect, protocol, identity, environment, pool, index })
    }

    /// Creates a repository at `place`, which must hold none.
    pub async fn init(
        place: &Place,
        password: &Password,
        options: &InitOptions,
        environment: &Environment,
    ) -> Result<String, OpenError> {
        let pool = pool(environment)?;
        open::init(place, password, options, means(environment, &pool)).await
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
        let mut kept = self.index.lock().await;
        if let Some(index) = &*kept {
            return Ok(Arc::clone(index));
        }
        let index = self.load_index().await?;
        *kept = Some(Arc::clone(&index));
        Ok(index)
    }

    /// An index for one operation that writes. What was loaded before is let go of, so that not
    /// both take memory.
    pub(crate) async fn index_to_write(&self) -> Result<Arc<Index>, Fault> {
        *self.index.lock().await = None;
        self.load_index().await
    }

    /// Keeps the index of an operation that has published all that it holds.
    pub(crate) async fn keep_index(&self, index: Arc<Index>) {
        *self.index.lock().await = Some(index);
    }

    async fn load_index(&self) -> Result<Arc<Index>, Fault> {
        let index = Arc::new(Index::new());
        self.protocol.load_index(&index).await?;
        Ok(index)
    }

    /// Reads chunks.
    pub async fn reader(&self) -> Result<Reader, Fault> {
        let index = self.index().await?;
        Ok(Reader::new(self.store.clone(), self.dialect.clone(), index, Handle::current()))
    }
}

fn means(environment: &Environment, pool: &Arc<rayon::ThreadPool>) -> Means {
    Means {
        pool: Arc::clone(pool),
        clock: Arc::clone(&environment.clock),
        entropy: environment.entropy.clone(),
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
