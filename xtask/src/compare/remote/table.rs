//! What was measured over an object server, as Markdown.

use std::collections::BTreeMap;

use super::super::measure;
use super::super::tool::{Kind, Tool};
use super::{Results, Sample, Work};

const MIB: f64 = 1024.0 * 1024.0;

/// The table, then what went wrong.
pub(super) fn render(header: &[String], tools: &[Tool], results: &Results) -> String {
    let mut lines: Vec<String> = header.iter().map(|line| format!("- {line}.")).collect();
    lines.extend(tools.iter().map(|tool| format!("- {}: {}.", tool.kind.name(), tool.version)));
    lines.push(String::new());
    lines.push(
        "| Work | Tool | Wall s | CPU s | Peak RSS MiB | Requests | One after another | Sent MiB \
         | Received MiB |"
            .into(),
    );
    lines.push("|---|---|--:|--:|--:|---|--:|--:|--:|".into());
    for work in Work::ALL {
        let kinds = tools.iter().map(|tool| Some(tool.kind)).chain([None]);
        for kind in kinds {
            let Some(samples) = results.samples.get(&(work, kind)) else { continue };
            lines.extend(row(work, kind.map_or("curl (floor)", Kind::name), samples));
        }
    }
    if !results.problems.is_empty() {
        lines.push("\nProblems:\n".into());
        lines.extend(results.problems.iter().map(|problem| format!("- {problem}")));
    }
    lines.join("\n") + "\n"
}

fn row(work: Work, tool: &str, samples: &[Sample]) -> Option<String> {
    let cost = measure::median(&samples.iter().map(|sample| sample.cost).collect::<Vec<_>>())?;
    // Counts vary little; those of one run belong together.
    let last = samples.last()?;
    let methods: Vec<String> =
        last.methods.iter().map(|(method, count)| format!("{count} {method}")).collect();
    let count: usize = last.methods.values().sum();
    Some(format!(
        "| {} | {tool} | {:.2} | {:.2} | {:.0} | {count}: {} | {} | {:.1} | {:.1} |",
        work.title(),
        cost.wall.as_secs_f64(),
        cost.cpu.as_secs_f64(),
        cost.peak_kib as f64 / 1024.0,
        methods.join(", "),
        last.one_after_another,
        last.sent as f64 / MIB,
        last.received as f64 / MIB,
    ))
}

/// Requests by method.
pub(super) fn methods<'a>(methods: impl Iterator<Item = &'a str>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for method in methods {
        *counts.entry(method.to_string()).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::super::measure::Cost;
    use super::*;

    #[test]
    fn a_row_has_requests_by_method_and_bytes_each_way() {
        let wall = Duration::from_millis(1250);
        let sample = Sample {
            cost: Cost { wall, cpu: wall, peak_kib: 2048 },
            methods: methods(["PUT", "GET", "PUT"].into_iter()),
            one_after_another: 2,
            sent: 3 << 20,
            received: 1 << 19,
        };
        assert_eq!(
            row(Work::Unchanged, "windlass", &[sample]).unwrap(),
            "| the tree again, unchanged | windlass | 1.25 | 1.25 | 2 | 3: 1 GET, 2 PUT | 2 | 3.0 \
             | 0.5 |"
        );
    }
}
