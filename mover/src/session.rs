//! What every command works with: settings, output, and the repository they lead to.
//!
//! Invariants: only [`Session::open_or_create`] and [`Session::create`] create anything.

use std::{
    path::PathBuf,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::termios::{self, OptionalActions};
use windlass_engine::{
    cancel::Cancel,
    fault::Fault,
    format::secret::Password,
    owner::Owners,
    protocol::{
        Access, AnnounceError, Announcement, Patience, Pending, Presence,
        keys::OpenError,
        listener::{Listener, Met},
        open::{InitOptions, OpenOptions},
    },
    repository::{Environment, Place, Repository},
    store::{self, cache::CacheOptions},
};

use crate::{
    failure::Failure,
    location::Location,
    output::{self, Output},
    settings::{Chosen, Settings, password::Purpose, source::SourceArgs},
    units,
};

/// What a command works with.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) settings: Arc<Settings>,
    pub(crate) output: Arc<Output>,
    pub(crate) cancel: Cancel,
    pub(crate) environment: Environment,
    pub(crate) lock_wait: LockWait,
}

/// How long was waited for others' locks. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct LockWait(Arc<AtomicU64>);

impl LockWait {
    fn add(&self, wait: Duration) {
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.0.fetch_add(millis, Ordering::Relaxed);
    }

    /// All of it until now.
    pub(crate) fn total(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// Whether what was read of a store before may be read from a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copies {
    Kept,
    None,
}

/// How long cancelled work may take to end by itself.
const GRACE: Duration = Duration::from_secs(1);

/// A repository that was just created.
#[derive(Debug)]
pub(crate) struct Created {
    pub(crate) id: String,
    pub(crate) location: String,
    /// Its key, where the program chose it.
    pub(crate) key_file: Option<PathBuf>,
}

impl Session {
    /// Opens the repository; never creates one.
    pub(crate) async fn open(&self) -> Result<Repository, Failure> {
        let chosen = self.settings.chosen()?;
        self.open_chosen(&chosen, Copies::Kept).await
    }

    /// The same without copies between the store and whoever reads.
    pub(crate) async fn open_uncached(&self) -> Result<Repository, Failure> {
        let chosen = self.settings.chosen()?;
        self.open_chosen(&chosen, Copies::None).await
    }

    /// Opens the second repository of a command that has two.
    pub(crate) async fn open_source(&self, source: &SourceArgs) -> Result<Repository, Failure> {
        let settings = self.settings.of_source(source)?;
        let chosen = settings.chosen()?;
        if let Chosen::Default(_) = chosen {
            return Err(Failure::input(
                "no source repository was given",
                "name it with --from-repo or --from-repository-file",
            ));
        }
        let session = Self { settings: Arc::new(settings), ..self.clone() };
        session.open_chosen(&chosen, Copies::Kept).await
    }

    /// Opens the repository, or creates it where it is the default one.
    pub(crate) async fn open_or_create(
        &self,
        options: &InitOptions,
    ) -> Result<Repository, Failure> {
        let chosen = self.settings.chosen()?;
        if let Chosen::Default(default) = &chosen
            && !default.exists()
        {
            let created = self.create(&chosen, options).await?;
            self.output.created(&created);
        }
        self.open_chosen(&chosen, Copies::Kept).await
    }

    /// Creates the repository.
    pub(crate) async fn create(
        &self,
        chosen: &Chosen,
        options: &InitOptions,
    ) -> Result<Created, Failure> {
        let location = chosen.location();
        let (password, key_file) = match chosen {
            Chosen::Given(_) | Chosen::Connected(_) => {
                (self.password(Purpose::Create).await?, None)
            }
            Chosen::Default(default) => {
                let password = default.new_password(&self.environment.entropy)?;
                (password, Some(default.key_file()))
            }
        };
        let place = self.place(chosen)?;
        let id = Repository::init(&place, &password, options, &self.environment).await?;
        Ok(Created { id, location: location.to_string(), key_file })
    }

    async fn open_chosen(&self, chosen: &Chosen, copies: Copies) -> Result<Repository, Failure> {
        let (location, password) = match chosen {
            Chosen::Given(location) => {
                // Before a password is asked for, it is worth knowing that none will help.
                // A directory that cannot be looked at is not one that is not there.
                if matches!(location, Location::Local(path) if matches!(path.try_exists(), Ok(false)))
                {
                    let location = location.to_string();
                    return Err(OpenError::NoRepository { location, because: None }.into());
                }
                (location.clone(), self.password(Purpose::Open).await?)
            }
            Chosen::Connected(_) => (chosen.location(), self.password(Purpose::Open).await?),
            Chosen::Default(default) => {
                let password = default.password()?;
                self.output.using_default_repository(default);
                (default.location(), password)
            }
        };
        let cache = match copies {
            Copies::Kept => self.cache(&location)?,
            Copies::None => None,
        };
        let options = OpenOptions { cache, ..self.settings.open_options()? };
        let place = self.place(chosen)?;
        let repository = tokio::select! {
            opened = Repository::open(&place, &password, &options, self.environment.clone()) => {
                opened?
            }
            () = self.cancel.cancelled() => return Err(Failure::Interrupted),
        };
        self.output.opened(repository.identity(), self.settings.compression);
        Ok(repository)
    }

    /// Where copies of what a server is asked for again go, and a large index of any repository.
    fn cache(&self, location: &Location) -> Result<Option<CacheOptions>, Failure> {
        let Some(base) = self.settings.cache_directory()? else { return Ok(None) };
        if self.settings.global.cleanup_cache {
            crate::command::cache::remove_old(&base, &self.output)?;
        }
        let objects = !matches!(location, Location::Local(_));
        let limit_bytes = self.settings.cache_limit()?;
        let observer = output::store::observer(&self.output);
        Ok(Some(CacheOptions { base, objects, limit_bytes, observer }))
    }

    /// What reaches the chosen repository.
    pub(crate) fn place(&self, chosen: &Chosen) -> Result<Place, Failure> {
        let settings = self.settings.store_settings(chosen)?;
        let location = &chosen.location();
        if matches!(location, Location::Local(_)) && self.settings.transport.is_limited() {
            self.output.warn("--limit-upload and --limit-download have no effect on a directory");
        }
        let Environment { clock, entropy, .. } = &self.environment;
        let observer = output::store::observer(&self.output);
        Ok(Place::open(location, &settings, &observer, clock, entropy).map_err(Fault::from)?)
    }

    /// For work that holds nothing that has to be given back.
    pub(crate) async fn unless_cancelled<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            result = work => result,
            () = self.cancel.cancelled() => Err(Failure::Interrupted),
        }
    }

    async fn password(&self, purpose: Purpose) -> Result<Password, Failure> {
        let settings = Arc::clone(&self.settings);
        self.asking(move || settings.password(purpose)).await
    }

    /// Waits for a person, a file or a program, but no longer than until it is cancelled.
    pub(crate) async fn asking<T: Send + 'static>(
        &self,
        ask: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let terminal = std::io::stdin();
        let before = termios::tcgetattr(&terminal);
        tokio::select! {
            answer = tokio::task::spawn_blocking(ask) => {
                answer.unwrap_or_else(|_panicked| Err(Fault::Bug("asking panicked").into()))
            }
            () = self.cancel.cancelled() => {
                // Whoever asks has switched the echo off and will never switch it on again.
                if let Ok(before) = before {
                    let _as_good_as_can_be =
                        termios::tcsetattr(&terminal, OptionalActions::Now, &before);
                }
                Err(Failure::Interrupted)
            }
        }
    }

    /// How this command tells others that it is at work.
    pub(crate) fn announcement(&self, access: Access) -> Announcement {
        Announcement {
            access,
            hostname: hostname(),
            username: username(),
            patience: self.settings.lock_patience,
            lineage: self.settings.lineage.clone(),
            listener: self.listener(),
        }
    }

    /// Says on standard error whom this command waits for, and which locks it cleared away.
    pub(crate) fn listener(&self) -> Listener {
        let (output, lock_wait) = (Arc::clone(&self.output), self.lock_wait.clone());
        Listener::new(move |met| match met {
            Met::Waiting { by, next, left } => {
                lock_wait.add(*next);
                let whole = |time: &Duration| Duration::from_secs(time.as_secs_f64().ceil() as u64);
                let (next, left) = (units::clock(whole(next)), units::clock(whole(left)));
                output.warn(&format!(
                    "waiting: repository is already locked {by}; trying again in {next}, for \
                     {left} at most"
                ));
            }
            Met::Cleared { by, why } => {
                output.warn(&format!("removed a lock that nobody holds, taken {by}: {why}"));
            }
        })
    }

    /// How long this command waits for others.
    fn patience(&self) -> Patience {
        Patience::new(self.settings.lock_patience).told(self.listener())
    }

    /// Tells others that this command is at work in the repository.
    pub(crate) async fn announce(
        &self,
        repository: &Repository,
        access: Access,
    ) -> Result<Presence, Failure> {
        if self.settings.global.no_lock {
            return Ok(Presence::Silent);
        }
        self.announce_writer(repository, access).await
    }

    /// The same, whatever `--no-lock` says: that is for what is read only.
    pub(crate) async fn announce_writer(
        &self,
        repository: &Repository,
        access: Access,
    ) -> Result<Presence, Failure> {
        let announcement = self.announcement(access);
        // A child: what is written after the lock is lost fails by that, and may be tried again.
        Ok(repository.protocol().announce(&announcement, &self.cancel.child()).await?)
    }

    /// Tells others that this command reads, so that nothing is deleted under it. Where nothing can
    /// be written, nothing can be deleted either: then it goes on without.
    async fn announce_reader(
        &self,
        repository: &Repository,
        patience: &mut Patience,
        cancel: &Cancel,
    ) -> Result<Pending, Failure> {
        if self.settings.global.no_lock {
            return Ok(Pending::Silent);
        }
        let announcement = self.announcement(Access::Shared);
        match repository.protocol().announce_early(&announcement, patience, cancel).await {
            Err(AnnounceError::Fault(Fault::Store(error)))
                if matches!(error.failure, store::Failure::Denied | store::Failure::NoSpace) =>
            {
                self.output.warn(&format!("reading without a lock: {error}"));
                Ok(Pending::Silent)
            }
            result => Ok(result?),
        }
    }

    /// Takes a reader's announcement back. Who may only add has to leave it behind.
    async fn release(&self, presence: Presence) -> Result<(), Failure> {
        match presence.release().await {
            Err(Fault::Store(error)) if error.failure == store::Failure::Denied => {
                self.lock_stays(&error.to_string());
                Ok(())
            }
            result => Ok(result?),
        }
    }

    /// Says that a lock could not be removed, which only those who delete will notice.
    pub(crate) fn lock_stays(&self, why: &str) {
        self.output.warn(&format!("the lock stays until `unlock` removes it: {why}"));
    }

    /// Does `work` as a reader that others see and tolerate. When it is cancelled, work that
    /// watches the switch has a second to come to its own end; then it is dropped where it stands.
    pub(crate) async fn reading<T>(
        &self,
        repository: &Repository,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut patience = self.patience();
        let presence = loop {
            let pending = self.announce_reader(repository, &mut patience, &self.cancel).await?;
            match repository.settle_reader(pending, &self.cancel).await {
                Ok(presence) => break presence,
                Err(error) => patience.outlast(error, &self.cancel).await?,
            }
        };
        let result = until_cancelled(&self.cancel, work).await;
        // Then it was not a person who stopped it.
        let is_lost = matches!(presence.check(), Err(Fault::LockLost));
        self.release(presence).await?;
        if is_lost && self.cancel.is_cancelled() {
            return Err(Fault::LockLost.into());
        }
        result
    }

    /// The same for `work` that may be done twice: it begins as soon as others can see it, is told
    /// to stop by its switch when one turns out not to tolerate it, and begins again as long as
    /// there is patience.
    pub(crate) async fn reading_early<T>(
        &self,
        repository: &Repository,
        work: impl AsyncFn(&Cancel) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut patience = self.patience();
        loop {
            let attempt = self.cancel.child();
            let pending = self.announce_reader(repository, &mut patience, &attempt).await?;
            let settle = async {
                let settled = repository.settle_reader(pending, &self.cancel).await;
                if settled.is_err() {
                    attempt.cancel();
                }
                settled
            };
            let (result, settled) = tokio::join!(until_cancelled(&attempt, work(&attempt)), settle);
            match settled {
                Ok(presence) => {
                    self.release(presence).await?;
                    let is_lost = attempt.is_cancelled() && !self.cancel.is_cancelled();
                    return result.map_err(|failure| match is_lost {
                        true => Fault::LockLost.into(),
                        false => failure,
                    });
                }
                Err(_cancelled) if self.cancel.is_cancelled() => return result,
                Err(error) => patience.outlast(error, &self.cancel).await?,
            }
        }
    }
}

/// Does `work`, which has a second to come to its own end when it is cancelled.
async fn until_cancelled<T>(
    cancel: &Cancel,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut work = pin!(work);
    tokio::select! {
        result = &mut work => result,
        () = cancel.cancelled() => {
            tokio::time::timeout(GRACE, work).await.unwrap_or(Err(Failure::Interrupted))
        }
    }
}

/// The name of this host.
pub(crate) fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The name of the user this process belongs to.
pub(crate) fn username() -> String {
    Owners::default().user(rustix::process::getuid().as_raw()).into()
}
