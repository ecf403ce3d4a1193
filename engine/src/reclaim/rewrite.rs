//! Chunks in use out of old packs into new ones.
//!
//! Invariants
//! - A chunk is moved as the sealed bytes it has, unless it is to be compressed. Where no copy of
//!   it is good, nothing is removed ([`carry`](crate::carry)).
//! - Only packs whose chunks in use were all moved are told as done, and only when the packs they
//!   were moved into can be found by everyone.
//! - A copy that is to be relied upon in the place of one that goes is proved, whatever the time;
//!   where it is damaged, another one is moved beside it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use super::{
    plan::{self, Prove, Span},
    survey::Survey,
};
use crate::{
    cancel::Cancel,
    carry::{Carrier, Sealing, Source},
    catalogue::Row,
    deposit::{self, Deposit, Landed, Terms},
    fault::{self, Class, Fault},
    monitor::Monitor,
    protocol::Presence,
    repository::Repository,
};

/// What moving needs.
pub(super) struct Rewriter {
    pub(super) source: Source,
    pub(super) survey: Arc<Survey>,
    /// Places that are proved.
    pub(super) prove: Prove,
    /// The packs whose chunks in use are moved.
    pub(super) packs: Vec<usize>,
    /// Whether a pack stays in the store as it is.
    pub(super) stays: Vec<bool>,
    /// Compress what is not, of files too.
    pub(super) compress_all: bool,
    pub(super) until: Option<Instant>,
    pub(super) monitor: Arc<dyn Monitor>,
}

/// What was moved.
#[derive(Debug, Default)]
pub(super) struct Moved {
    /// Packs whose chunks in use all are in others now.
    pub(super) done: Vec<usize>,
    /// Those others.
    pub(super) into: Landed,
}

/// What a thread does next with a pack.
#[derive(Clone, Copy)]
enum Task {
    Prove(usize),
    Move(usize),
}

impl Rewriter {
    /// Moves what is in use.
    pub(super) async fn run(
        self,
        repository: &Repository,
        presence: &Presence,
        pack_bytes: u64,
        threads: usize,
        cancel: &Cancel,
    ) -> Result<Moved, Fault> {
        let work = move |deposit: &Deposit<Vec<usize>>| {
            let done = self.move_all(deposit, threads)?;
            deposit.end_batch(done)
        };
        let mut moved = Moved::default();
        let end = async |done: Vec<usize>, into: Landed| {
            moved = Moved { done, into };
            Ok(())
        };
        let terms = Terms { presence: Some(presence), pack_bytes, threads, cancel };
        deposit::run(repository, terms, work, end).await?;
        Ok(moved)
    }

    fn move_all(&self, deposit: &Deposit<Vec<usize>>, threads: usize) -> Result<Vec<usize>, Fault> {
        let doubted = self.prove.packs.iter().copied().map(Task::Prove);
        let packs = self.packs.iter().copied().map(Task::Move);
        let waiting: Mutex<VecDeque<Task>> = Mutex::new(doubted.chain(packs).collect());
        let done = std::thread::scope(|scope| {
            let workers: Vec<_> =
                (0..threads.max(1)).map(|_| scope.spawn(|| self.work(&waiting, deposit))).collect();
            fault::together(
                workers.into_iter().map(|worker| {
                    worker.join().unwrap_or(Err(Fault::Bug("moving chunks panicked")))
                }),
            )
        });
        Ok(done?.concat())
    }

    /// Moves one pack after the other; those that are done with.
    fn work(
        &self,
        waiting: &Mutex<VecDeque<Task>>,
        deposit: &Deposit<Vec<usize>>,
    ) -> Result<Vec<usize>, Fault> {
        let Self { source, monitor, compress_all, until, .. } = self;
        let sealing = Sealing::Kept { compress_files: *compress_all };
        let carrier = Carrier { source, deposit, sealing, monitor: &**monitor };
        let moved = source.room().and_then(|mut room| {
            let mut done = Vec::new();
            loop {
                let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                match next {
                    Some(Task::Prove(pack)) => {
                        let rows = plan::rows_in(&source.catalogue, pack, &self.prove.rows)?;
                        self.in_spans(rows, &carrier, |rows| carrier.prove(rows, &mut room))?;
                    }
                    Some(Task::Move(pack)) if until.is_none_or(|until| Instant::now() < until) => {
                        let rows = self.without_others(pack)?;
                        self.in_spans(rows, &carrier, |rows| carrier.carry(rows, &mut room))?;
                        done.push(pack);
                    }
                    Some(Task::Move(_)) | None => break Ok(done),
                }
            }
        });
        if moved.is_err() {
            deposit.stop.cancel();
        }
        moved
    }

    /// Does `each` to rows of one pack, as far as they are read at once.
    fn in_spans<B>(
        &self,
        rows: Vec<(usize, Row)>,
        carrier: &Carrier<'_, B>,
        mut each: impl FnMut(&[Row]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        for Span { rows, .. } in plan::spans(rows) {
            if carrier.deposit.stop.is_cancelled() {
                return Err(Fault::Cancelled);
            }
            each(&rows).map_err(|fault| match fault.class() {
                Class::Damaged => Fault::Unmovable { why: fault.to_string() },
                _ => fault,
            })?;
        }
        Ok(())
    }

    /// The rows in use of a pack whose chunks have no other place in a pack that stays as it is.
    fn without_others(&self, pack: usize) -> Result<Vec<(usize, Row)>, Fault> {
        let catalogue = &self.source.catalogue;
        let mut alone = Vec::new();
        for (at, row) in plan::rows_in(catalogue, pack, &self.survey.chosen)? {
            let stays = |other: &usize| self.stays[catalogue.pack_of(*other)];
            if !catalogue.is_repeated(at) || !catalogue.places(&row.key())?.iter().any(stays) {
                alone.push((at, row));
            }
        }
        Ok(alone)
    }
}
