//! What could not be dealt with while the rest went on.
//!
//! Invariants: it is told on standard error whatever `-q` says, with its path and the reason.

use std::borrow::Cow;

use serde::Serialize;

use super::{Output, quote::quoted};

/// Something could not be dealt with; the work goes on.
pub(crate) fn tell(output: &Output, during: &str, path: &[u8], error: &str) {
    #[derive(Serialize)]
    struct Cause<'a> {
        message: &'a str,
    }
    #[derive(Serialize)]
    struct Problem<'a> {
        message_type: &'static str,
        error: Cause<'a>,
        during: &'a str,
        item: &'a str,
    }
    if output.is_json() {
        let (message_type, error) = ("error", Cause { message: error });
        let item = &String::from_utf8_lossy(named(path));
        output.json_error(&Problem { message_type, error, during, item });
    } else {
        output.warn(&format!("error: {}: {error}", shown(path)));
    }
}

/// What could not be dealt with, once more at the end, so that nobody has to look for it. Where
/// nothing else was printed it is not said again.
pub(crate) fn list<'a>(
    output: &Output,
    title: &str,
    count: u64,
    first: impl Iterator<Item = (&'a [u8], &'a str)>,
) {
    const NAMED: usize = 10;
    if count == 0 || output.is_json() || output.verbosity() == 0 {
        return;
    }
    let noun = if count == 1 { "item" } else { "items" };
    let mut lines = vec![format!("{count} {noun} {title}:")];
    let first = first.take(NAMED).map(|(path, error)| format!("  {}: {error}", shown(path)));
    lines.extend(first);
    let more = count.saturating_sub(lines.len() as u64 - 1);
    if more > 0 {
        lines.push(format!("  and {more} more, which are named above"));
    }
    output.warn(&lines.join("\n"));
}

/// The top has a name, too.
fn named(path: &[u8]) -> &[u8] {
    if path.is_empty() { b"/" } else { path }
}

fn shown(path: &[u8]) -> Cow<'_, str> {
    quoted(named(path))
}
