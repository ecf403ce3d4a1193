//! `forget`: removing snapshots, by policy or by name.
//!
//! Invariants
//! - What is removed was decided on while nobody else was at work, by a list in which every snapshot
//!   could be read.
//! - `--dry-run` writes nothing, no lock either.

mod keep;
mod options;
mod told;

use windlass_engine::{
    clock::Zone,
    forget,
    model::root::RootId,
    protocol::{Access, Presence},
    repository::Repository,
    retention::{Decision, Policy},
};

use self::told::Teller;
use crate::{
    command::{prune, snapshots},
    failure::{Failure, Outcome},
    session::Session,
    snapshot::{
        self, Snapshot,
        filter::Filter,
        group::{GroupBy, GroupKey},
    },
};
pub(crate) use keep::Keep;
pub(crate) use options::Args;

/// What is left undone where the store refuses to remove a snapshot.
pub(crate) const SOME_STAY: &str = "failed to remove one or more snapshots";

/// What becomes of the snapshots of a group.
struct Judged {
    key: GroupKey,
    snapshots: Vec<Snapshot>,
    /// Newest first.
    decisions: Vec<Decision>,
}

/// What is to be done.
struct Plan {
    groups: Vec<Judged>,
    remove: Vec<RootId>,
}

/// What was asked for.
pub(crate) struct Request {
    pub(crate) names: Vec<String>,
    pub(crate) filter: Filter,
    pub(crate) policy: Policy,
    pub(crate) by: GroupBy,
}

/// How it is told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Telling {
    /// Paths and reasons are left out.
    pub(crate) compact: bool,
    /// What each rule says is added.
    pub(crate) explain: bool,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let request = args.request(&session.settings)?;
    let prune = prune::Args::within(args.limited.clone(), args.dry_run);
    prune.check(session)?;
    let telling = Telling { compact: args.compact, explain: args.explain };
    let repository = session.open().await?;
    if args.dry_run {
        let teller = Teller::new(&session.output, telling, &request);
        let plan = session.unless_cancelled(plan(&request, &repository, session)).await?;
        teller.plan(&plan);
        teller.would_remove(&plan);
        if !args.prune || plan.remove.is_empty() {
            return Ok(Outcome::Done);
        }
        prune::clean_up(&prune, plan.remove, &repository, session).await?;
        return Ok(Outcome::Done);
    }
    match let_go(&request, telling, &repository, session).await? {
        Some(removed) => {
            if args.prune && !removed.is_empty() {
                prune::clean_up(&prune, Vec::new(), &repository, session).await?;
            }
            Ok(Outcome::Done)
        }
        None => Ok(Outcome::Partial(SOME_STAY)),
    }
}

/// Tells why everything stays, where that is so as the repository is now. Nobody is kept out
/// meanwhile: that nothing goes may be relied on, that something does is for [`let_go`] to decide.
pub(crate) async fn keeps_all(
    request: &Request,
    telling: Telling,
    repository: &Repository,
    session: &Session,
) -> Result<bool, Failure> {
    let plan = session.unless_cancelled(plan(request, repository, session)).await?;
    let keeps_all = plan.remove.is_empty();
    if keeps_all {
        Teller::new(&session.output, telling, request).plan(&plan);
    }
    Ok(keeps_all)
}

/// Decides, tells and removes, while nobody else is at work; `None` where some could not be removed.
pub(crate) async fn let_go(
    request: &Request,
    telling: Telling,
    repository: &Repository,
    session: &Session,
) -> Result<Option<Vec<RootId>>, Failure> {
    let teller = Teller::new(&session.output, telling, request);
    let presence = session.announce(repository, Access::Exclusive).await?;
    let result = alone(request, &teller, repository, &presence, session).await;
    presence.release().await?;
    result
}

async fn alone(
    request: &Request,
    teller: &Teller<'_>,
    repository: &Repository,
    presence: &Presence,
    session: &Session,
) -> Result<Option<Vec<RootId>>, Failure> {
    let plan = session.unless_cancelled(plan(request, repository, session)).await?;
    teller.plan(&plan);
    let right = presence.delete_right()?;
    let remove = plan.remove.clone();
    let removed = forget::run(repository, &right, remove, &session.cancel, |id, result| {
        teller.removed(id, result);
    });
    let report = removed.await?;
    teller.groups_as_json(&plan);
    Ok(report.failed.is_empty().then_some(report.removed))
}

/// What goes, by name or by policy.
async fn plan(
    request: &Request,
    repository: &Repository,
    session: &Session,
) -> Result<Plan, Failure> {
    let all = if request.names.is_empty() {
        snapshot::list_every_one(repository).await?
    } else {
        snapshot::list(repository, &session.output).await?
    };
    let chosen = snapshots::choose(all, &request.names, &request.filter)?;
    let mut plan = Plan { groups: Vec::new(), remove: Vec::new() };
    if !request.names.is_empty() {
        forget::check_pins(chosen.iter().map(|snapshot| (&snapshot.id, &snapshot.root)))?;
        plan.remove.extend(chosen.into_iter().map(|snapshot| snapshot.id));
        return Ok(plan);
    }
    let (now, zone) = (session.environment.clock.now(), Zone::system());
    for (key, snapshots) in request.by.groups(chosen) {
        let roots: Vec<_> = snapshots.iter().map(|snapshot| &snapshot.root).collect();
        let decisions = forget::decide(&request.policy, &key.name(), &roots, &now, &zone)?;
        let gone = decisions.iter().filter(|decision| !decision.is_kept());
        plan.remove.extend(gone.map(|decision| snapshots[decision.at].id.clone()));
        plan.groups.push(Judged { key, snapshots, decisions });
    }
    Ok(plan)
}
