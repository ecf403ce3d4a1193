//! Opening the repository, and creating it.
//!
//! Invariants: there is one, there is none, and nobody can tell are three answers; only the second
//! one leads to a new repository.

use std::{collections::HashSet, time::Duration};

use windlass_engine::{
    protocol::keys::OpenError,
    repository::Repository,
    store::cache::base::{CacheDirectory, caches},
};

use super::Work;
use crate::{
    command::init,
    failure::Failure,
    output::notices,
    volsync::{ending::Halt, volume},
};

/// Times that one is looked for that somebody else is creating.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// Whether the store says that there is none.
pub(super) fn is_absent(failure: &Failure) -> bool {
    matches!(failure, Failure::Open(OpenError::NoRepository { .. }))
}

impl Work<'_> {
    /// The open repository.
    pub(super) fn repository(&self) -> Result<&Repository, Failure> {
        self.repository
            .as_ref()
            .ok_or_else(|| Failure::input("no step has opened the repository", "open it before"))
    }

    /// Opens it, if no step before has.
    pub(super) async fn open(&mut self) -> Result<(), Failure> {
        if self.repository.is_some() {
            return Ok(());
        }
        let phase = self.ledger.phase("open");
        let session = self.session;
        let names = || {
            let found = caches(&self.container.cache).unwrap_or_default();
            found.into_iter().map(|cache: CacheDirectory| cache.repository).collect::<HashSet<_>>()
        };
        let before = names();
        let repository = session.open().await?;
        let id = repository.identity().id.clone();
        session.output.line(&notices::opened(repository.identity(), session.settings.compression));
        if !before.contains(&id) && names().contains(&id) {
            let directory = self.container.cache.display();
            session.output.line(&format!("created new cache in {directory}"));
        }
        drop(phase);
        self.ledger.note(|told| told.repository = Some(id));
        self.repository = Some(repository);
        Ok(())
    }

    /// Opens it, or creates it where there is none.
    pub(super) async fn open_or_create(&mut self) -> Result<(), Halt> {
        let output = &self.session.output;
        output.line("=== Check for dir initialized ===");
        match self.open().await {
            Ok(()) => {
                output.line("dir is initialized");
                Ok(())
            }
            Err(failure) if is_absent(&failure) => self.create().await,
            Err(failure) => {
                let what = match failure.exit_code() {
                    11 => "failure locking repository",
                    12 => "failure connecting to repository, incorrect password",
                    _ => "failure checking existence of repository",
                };
                Err(Halt::because(&failure, 3, what))
            }
        }
    }

    async fn create(&mut self) -> Result<(), Halt> {
        let session = self.session;
        session.output.line("=== Initialize Dir ===");
        let chosen = session.settings.chosen()?;
        let created = session.unless_cancelled(session.create(&chosen, &init::defaults())).await;
        match created {
            Ok(created) => {
                session.output.created(&created);
                session.output.password_advice();
                self.ledger.note(|told| told.created = true);
            }
            // Somebody else was faster, or is about to be.
            Err(failure @ Failure::Open(OpenError::Exists { .. })) => {
                return self.open_others(failure).await;
            }
            Err(failure) => return Err(failure.into()),
        }
        Ok(self.open().await?)
    }

    async fn open_others(&mut self, in_the_way: Failure) -> Result<(), Halt> {
        for _look in 0..LOOKS {
            match self.open().await {
                Err(failure) if is_absent(&failure) => {}
                opened => return Ok(opened?),
            }
            let slept = async {
                tokio::time::sleep(BETWEEN_LOOKS).await;
                Ok(())
            };
            self.session.unless_cancelled(slept).await?;
        }
        Err(in_the_way.into())
    }

    /// Says so where the cache volume cannot be used; everything works without.
    pub(super) fn look_at_cache(&self) {
        let cache = &self.container.cache;
        if let Err(error) = volume::is_writable(cache) {
            self.session.output.warn(&format!(
                "working without a cache: {} cannot be written to: {error}; {}",
                cache.display(),
                volume::who_may(cache)
            ));
        }
    }
}
