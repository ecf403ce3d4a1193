//! An open repository: dialect, protocol, store and index in one handle. No operations here.
//!
//! Invariants
//! - The format is found by what the location holds.
//! - The index is loaded once for whoever reads, after whatever roots it works with were listed, and
//!   let go of where it turns out to have been replaced.
//! - Whoever writes has an index of its own, loaded under its own announcement: what an earlier
//!   operation reserved and did not store, or what others have removed since, must not count as
//!   stored.

use std::sync::Arc;

use tokio::{runtime::Handle, sync::Mutex};
use windlass_format::secret::Password;

use crate::{
    cancel::Cancel,
    clock::{Clock, SystemClock},
    dialect::Dialect,
    entropy::Entropy,
    fault::Fault,
    index::Index,
    protocol::{
        AnnounceError, Pending, Presence, Protocol, Segments,
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
    index: Mutex<Option<Loaded>>,
}

/// An index and what it was read from.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) index: Arc<Index>,
    pub(crate) segments: Segments,
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
        if let Some(loaded) = &*kept {
            return Ok(Arc::clone(&loaded.index));
        }
        let loaded = self.load_index(None).await?;
        let index = Arc::clone(&loaded.index);
        *kept = Some(loaded);
        Ok(index)
    }

    /// Settles the announcement of someone who reads, beside the reading: an index that was loaded
    /// meanwhile must still hold, and one that does not is let go of.
    pub async fn settle_reader(
        &self,
        pending: Pending,
        cancel: &Cancel,
    ) -> Result<Presence, AnnounceError> {
        pending.ripe(cancel).await;
        // Held until it is settled: nobody loads an index between the question what was loaded
        // and the answer.
        let mut kept = self.index.lock().await;
        let none = Segments::default();
        let segments = kept.as_ref().map_or(&none, |loaded| &loaded.segments);
        let settled = self.protocol.settle(pending, segments, cancel).await;
        if settled.is_err() {
            *kept = None;
        }
        settled
    }

    /// An index for one operation that writes, out of what is `listed` already. What was loaded
    /// before is let go of, so that not both take memory.
    pub(crate) async fn index_to_write(&self, listed: Option<Segments>) -> Result<Loaded, Fault> {
        *self.index.lock().await = None;
        self.load_index(listed).await
    }

    /// Keeps the index of an operation that has published all that it holds.
    pub(crate) async fn keep_index(&self, loaded: Loaded) {
        *self.index.lock().await = Some(loaded);
    }

    /// Lets go of the index: what it says is not true any more.
    pub(crate) async fn forget_index(&self) {
        *self.index.lock().await = None;
    }

    async fn load_index(&self, listed: Option<Segments>) -> Result<Loaded, Fault> {
        let index = Arc::new(Index::new());
        let segments = self.protocol.load_index(&index, listed).await?;
        Ok(Loaded { index, segments })
    }

    /// Reads chunks.
    pub async fn reader(&self) -> Result<Reader, Fault> {
        Ok(self.reader_of(self.index().await?))
    }

    /// Reads chunks that `index` knows.
    pub(crate) fn reader_of(&self, index: Arc<Index>) -> Reader {
        Reader::new(self.store.clone(), self.dialect.clone(), index, Handle::current())
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
