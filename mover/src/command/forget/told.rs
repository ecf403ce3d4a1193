//! What `forget` says.
//!
//! Invariants: policy, tables and JSON are worded as restic words them; what `--explain` adds comes
//! on top.

use serde::Serialize;
use windlass_engine::{
    fault::Fault,
    format::time::Timestamp,
    model::root::RootId,
    retention::{Count, Decision, PIN, Policy, Rule, Verdict},
};

use super::{Judged, Plan, Request, Telling};
use crate::{
    command::snapshots,
    output::Output,
    snapshot::{Snapshot, group::GroupBy, json::SnapshotJson},
    units,
};

/// Tells what is going to happen and what happened.
pub(super) struct Teller<'a> {
    output: &'a Output,
    telling: Telling,
    policy: &'a Policy,
    by: GroupBy,
}

#[derive(Serialize)]
struct GroupJson<'a> {
    tags: &'a Option<Vec<String>>,
    host: &'a str,
    paths: &'a Option<Vec<String>>,
    keep: Option<Vec<SnapshotJson<'a>>>,
    remove: Option<Vec<SnapshotJson<'a>>>,
    reasons: Option<Vec<ReasonJson<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanations: Option<Vec<ExplanationJson<'a>>>,
}

#[derive(Serialize)]
struct ReasonJson<'a> {
    snapshot: SnapshotJson<'a>,
    matches: Vec<String>,
}

#[derive(Serialize)]
struct ExplanationJson<'a> {
    snapshot: &'a str,
    keep: bool,
    pinned: bool,
    rules: Vec<RuleJson>,
}

#[derive(Serialize)]
struct RuleJson {
    rule: String,
    keep: bool,
    because: String,
}

impl<'a> Teller<'a> {
    pub(super) fn new(output: &'a Output, telling: Telling, request: &'a Request) -> Self {
        Self { output, telling, policy: &request.policy, by: request.by }
    }

    /// What becomes of every snapshot.
    pub(super) fn plan(&self, plan: &Plan) {
        let output = self.output;
        if plan.groups.is_empty() {
            return;
        }
        output.line(&format!("Applying Policy: {}", policy_words(self.policy)));
        for group in &plan.groups {
            if !self.by.is_none() {
                output.line(&format!("snapshots for ({}):", group.key.heading(self.by)));
            }
            // Oldest first, as in every other list.
            let newest_last = || group.decisions.iter().rev();
            let kept: Vec<_> = newest_last().filter(|decision| decision.is_kept()).collect();
            let gone: Vec<_> = newest_last().filter(|decision| !decision.is_kept()).collect();
            if !kept.is_empty() {
                output.line(&format!("keep {} snapshots:", kept.len()));
                let reasons: Vec<String> =
                    kept.iter().map(|decision| reasons(decision).join("\n")).collect();
                self.table(group, &kept, Some(&reasons));
            }
            if !gone.is_empty() {
                output.line(&format!("remove {} snapshots:", gone.len()));
                self.table(group, &gone, None);
            }
            if self.telling.explain {
                newest_last().for_each(|decision| self.explain(group, decision));
                output.line("");
            }
        }
    }

    fn table(&self, group: &Judged, decisions: &[&Decision], reasons: Option<&[String]>) {
        let snapshots: Vec<&Snapshot> =
            decisions.iter().map(|decision| &group.snapshots[decision.at]).collect();
        let table = snapshots::table(&snapshots, reasons, self.telling.compact);
        table.lines().iter().for_each(|line| self.output.line(line));
        self.output.line("");
    }

    fn explain(&self, group: &Judged, decision: &Decision) {
        let Snapshot { id, root } = &group.snapshots[decision.at];
        let fate = if decision.is_kept() { "keep" } else { "remove" };
        let time = units::local_time(&root.time);
        self.output.line(&format!("{fate} {} of {time}:", id.short()));
        if decision.pinned {
            self.output.line(&format!("  pinned by its tag {PIN}"));
        }
        for (rule, verdict) in &decision.verdicts {
            let because = because(verdict, &root.time, group);
            self.output.line(&format!("  {rule}: {because}"));
        }
    }

    /// What a real run would remove.
    pub(super) fn would_remove(&self, plan: &Plan) {
        if !plan.remove.is_empty() {
            self.output.line("Would have removed the following snapshots:");
            plan.remove.iter().for_each(|id| self.output.line(id.as_str()));
        }
        self.groups_as_json(plan);
    }

    /// What came of removing a snapshot.
    pub(super) fn removed(&self, id: &RootId, result: Result<(), &Fault>) {
        match result {
            Ok(()) => self.output.item(&format!("removed snapshots/{id}")),
            Err(fault) => self
                .output
                .warn(&format!("unable to remove snapshots/{id} from the repository: {fault}")),
        }
    }

    /// The decisions for programs.
    pub(super) fn groups_as_json(&self, plan: &Plan) {
        if self.output.is_json() && !plan.groups.is_empty() {
            let groups: Vec<_> = plan.groups.iter().map(|group| self.group_json(group)).collect();
            self.output.json(&groups);
        }
    }

    fn group_json<'g>(&self, group: &'g Judged) -> GroupJson<'g> {
        let list = |kept: bool| {
            let decisions = group.decisions.iter().filter(|it| it.is_kept() == kept);
            decisions.map(|it| SnapshotJson::from(&group.snapshots[it.at])).collect()
        };
        let kept = group.decisions.iter().filter(|decision| decision.is_kept());
        let reasons = kept.map(|decision| ReasonJson {
            snapshot: SnapshotJson::from(&group.snapshots[decision.at]),
            matches: reasons(decision),
        });
        let explanations = group.decisions.iter().map(|decision| {
            let snapshot = &group.snapshots[decision.at];
            let rules = decision.verdicts.iter().map(|(rule, verdict)| RuleJson {
                rule: rule.to_string(),
                keep: matches!(verdict, Verdict::Keeps { .. }),
                because: because(verdict, &snapshot.root.time, group),
            });
            ExplanationJson {
                snapshot: snapshot.id.as_str(),
                keep: decision.is_kept(),
                pinned: decision.pinned,
                rules: rules.collect(),
            }
        });
        GroupJson {
            tags: &group.key.tags,
            host: &group.key.hostname,
            paths: &group.key.paths,
            keep: unless_empty(list(true)),
            remove: unless_empty(list(false)),
            reasons: unless_empty(reasons.collect()),
            explanations: self.telling.explain.then(|| explanations.collect()),
        }
    }
}

fn unless_empty<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// Why a snapshot is kept.
fn reasons(decision: &Decision) -> Vec<String> {
    let of_rules = decision.reasons().map(|(rule, oldest)| match oldest {
        true => format!("oldest {rule}"),
        false => rule.to_string(),
    });
    of_rules.chain(decision.pinned.then(|| format!("has tags [{PIN}]"))).collect()
}

/// Why a rule says what it says.
fn because(verdict: &Verdict, time: &Timestamp, group: &Judged) -> String {
    match verdict {
        Verdict::Keeps { oldest: false } => "keeps it".into(),
        Verdict::Keeps { oldest: true } => "keeps it as the oldest, having some left".into(),
        Verdict::Spent => "has kept as many as it should, all of them newer".into(),
        Verdict::SamePeriod { newer } => {
            format!("has kept {} of the same period", group.snapshots[*newer].id.short())
        }
        Verdict::TooOld { cut_off_seconds } => {
            let cut_off = Timestamp { seconds: *cut_off_seconds, ..*time };
            format!("is for snapshots after {}", units::local_time(&cut_off))
        }
        Verdict::OtherTags => "it does not have them".into(),
    }
}

/// A policy in restic's words.
fn policy_words(policy: &Policy) -> String {
    let mut counts = Vec::new();
    let mut within = Vec::new();
    let mut tags = Vec::new();
    let mut all_within = None;
    for rule in policy.rules() {
        match rule {
            Rule::Tags(list) => tags.push(format!("[{}]", list.join(", "))),
            Rule::Within(period) => all_within = Some(period),
            Rule::UnitWithin(unit, period) => {
                within.push(format!("{unit} snapshots within {period}"));
            }
            Rule::Count(_) => {}
        }
    }
    for (word, count) in [
        ("latest", policy.last),
        ("hourly", policy.hourly),
        ("daily", policy.daily),
        ("weekly", policy.weekly),
        ("monthly", policy.monthly),
        ("yearly", policy.yearly),
    ] {
        match count {
            Count::None | Count::Of(0) => {}
            Count::Of(count) => counts.push(format!("{count} {word}")),
            Count::All => counts.push(format!("all {word}")),
        }
    }
    let mut words = Vec::new();
    if !counts.is_empty() {
        words.push(format!("{} snapshots", counts.join(", ")));
    }
    words.extend(within);
    let mut words = vec![words.join(", ")];
    words.retain(|part| !part.is_empty());
    if !tags.is_empty() {
        words.push(format!("all snapshots with tags [{}]", tags.join(" ")));
    }
    if let Some(period) = all_within {
        words.push(format!("all snapshots within {period} of the newest"));
    }
    match words.is_empty() {
        true => "remove".into(),
        false => format!("keep {}", words.join(" and ")),
    }
}
