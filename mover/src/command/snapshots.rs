//! `snapshots`: what is in the repository.

use serde::Serialize;

use crate::{
    failure::{Failure, Outcome},
    output::{Output, quote::quoted, table::Table},
    session::Session,
    snapshot::{
        self, Snapshot,
        filter::{Filter, FilterArgs},
        group::{GroupBy, GroupKey},
        json::SnapshotJson,
    },
    units,
};

/// List the snapshots of a repository
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these snapshots, by the start of their ids, or `latest`
    #[arg(value_name = "SNAPSHOT")]
    snapshots: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Leave paths out
    #[arg(short, long)]
    compact: bool,
    /// Group by host, paths and/or tags, separated by commas
    #[arg(short, long, value_name = "GROUP", default_value = "", hide_default_value = true)]
    group_by: String,
    /// Only the last N snapshots of each host and paths, or of each group; 0 for all
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    latest: usize,
    /// The same as --latest 1, under its old name
    #[arg(long, hide = true)]
    last: bool,
}

#[derive(Serialize)]
struct GroupJson<'a> {
    group_key: &'a GroupKey,
    snapshots: Vec<SnapshotJson<'a>>,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let filter = args.filter.filter(&session.settings)?;
    let group_by = GroupBy::parse(&args.group_by)?;
    let latest = if args.last { 1 } else { args.latest };
    let repository = session.open().await?;
    let all = snapshot::list(&repository, &session.output).await?;
    let chosen = choose(all, &args.snapshots, &filter)?;
    let groups = group_by.groups(chosen);
    let groups: Vec<(GroupKey, Vec<Snapshot>)> = groups
        .into_iter()
        .map(|(key, list)| (key, newest(list, latest, group_by.is_none())))
        .collect();
    if session.output.is_json() {
        print_json(&session.output, &groups, group_by);
    } else {
        print_text(&session.output, &groups, group_by, args.compact);
    }
    Ok(Outcome::Done)
}

/// Those with these names, or all that the filter lets through; oldest first.
pub(super) fn choose(
    all: Vec<Snapshot>,
    names: &[String],
    filter: &Filter,
) -> Result<Vec<Snapshot>, Failure> {
    if names.is_empty() {
        return Ok(all.into_iter().filter(|snapshot| filter.matches(&snapshot.root)).collect());
    }
    let mut chosen: Vec<Snapshot> = Vec::new();
    for name in names {
        let snapshot = snapshot::choose(all.clone(), name, filter)?;
        if chosen.iter().all(|other| other.id != snapshot.id) {
            chosen.push(snapshot);
        }
    }
    chosen.sort_by_key(|snapshot| snapshot.root.time.instant());
    Ok(chosen)
}

/// The last `count` of the list, or of each host and paths in it; all for zero; oldest first.
fn newest(list: Vec<Snapshot>, count: usize, each_source: bool) -> Vec<Snapshot> {
    if count == 0 {
        return list;
    }
    let by = GroupBy { host: each_source, paths: each_source, tags: false };
    let groups = by.groups(list).into_values();
    let mut kept: Vec<Snapshot> =
        groups.flat_map(|group| group.into_iter().rev().take(count)).collect();
    kept.sort_by_key(|snapshot| snapshot.root.time.instant());
    kept
}

fn print_json(output: &Output, groups: &[(GroupKey, Vec<Snapshot>)], by: GroupBy) {
    fn list(snapshots: &[Snapshot]) -> Vec<SnapshotJson<'_>> {
        snapshots.iter().map(SnapshotJson::from).collect()
    }
    if by.is_none() {
        output.json(&groups.first().map(|(_, snapshots)| list(snapshots)).unwrap_or_default());
        return;
    }
    let groups: Vec<GroupJson<'_>> = groups
        .iter()
        .map(|(group_key, snapshots)| GroupJson { group_key, snapshots: list(snapshots) })
        .collect();
    output.json(&groups);
}

fn print_text(output: &Output, groups: &[(GroupKey, Vec<Snapshot>)], by: GroupBy, compact: bool) {
    let print = |snapshots: &[Snapshot]| {
        let snapshots: Vec<&Snapshot> = snapshots.iter().collect();
        let table = table(&snapshots, None, compact);
        table.lines().iter().for_each(|line| output.result(line));
    };
    if groups.is_empty() {
        print(&[]);
    }
    for (key, snapshots) in groups {
        if !by.is_none() {
            output.result(&format!("snapshots for ({}):", key.heading(by)));
        }
        print(snapshots);
    }
}

/// A table of snapshots, with the reasons for each where there are any.
pub(super) fn table(snapshots: &[&Snapshot], reasons: Option<&[String]>, compact: bool) -> Table {
    let reasons = reasons.filter(|_| !compact);
    let mut table = Table::new(match (compact, reasons) {
        (true, _) => &["ID", "Time", "Host", "Tags  ", "Size"],
        (false, None) => &["ID", "Time", "Host      ", "Tags      ", "Paths", "Size"],
        (false, Some(_)) => &["ID", "Time", "Host      ", "Tags      ", "Reasons", "Paths", "Size"],
    });
    for (at, Snapshot { id, root }) in snapshots.iter().enumerate() {
        let size = root.summary.map(|summary| units::bytes(summary.total_bytes));
        let mut row = vec![
            id.short().to_owned(),
            units::local_time(&root.time),
            quoted(root.hostname.as_bytes()).into_owned(),
        ];
        let shown = |texts: &[String], between: &str| {
            let texts: Vec<_> = texts.iter().map(|text| quoted(text.as_bytes())).collect();
            texts.join(between)
        };
        if compact {
            row.push(shown(&root.tags, "\n"));
        } else {
            row.push(shown(&root.tags, ","));
            row.extend(reasons.and_then(|reasons| reasons.get(at).cloned()));
            row.push(shown(&root.paths, "\n"));
        }
        row.push(size.unwrap_or_default());
        table.row(row);
    }
    table.footer("Timestamps shown in local time");
    table.footer(format!("{} snapshots", snapshots.len()));
    table
}
