//! `FORGET_OPTIONS`: what is to expire, in the words of restic's `forget`.
//!
//! Invariants: what could do more than keep snapshots is refused by name, before anything is done.

use clap::{
    Parser,
    error::{ContextKind, ContextValue},
};
use windlass_engine::retention::Policy;

use crate::{command::forget::Keep, snapshot::group::GroupBy, volsync::ending::Halt};

/// What expires.
#[derive(Debug)]
pub(super) struct Expiry {
    pub(super) policy: Policy,
    pub(super) by: GroupBy,
}

#[derive(Debug, Parser)]
#[command(no_binary_name = true, args_override_self = true)]
#[command(disable_help_flag = true, disable_version_flag = true)]
struct Words {
    #[command(flatten)]
    keep: Keep,
    #[arg(short, long, default_value = "host,paths")]
    group_by: String,
}

/// Reads the options; nothing expires without any.
pub(super) fn parse(text: &str) -> Result<Option<Expiry>, Halt> {
    let refused = |why: String| Halt::misused(1, &format!("FORGET_OPTIONS: {why}"));
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.is_empty() {
        return Ok(None);
    }
    let words = Words::try_parse_from(words).map_err(|error| refused(reason(&error)))?;
    let policy = words.keep.policy();
    if policy.is_empty() {
        let why = format!("{text:?} keeps nothing: no policy was specified");
        return Err(refused(why));
    }
    let by = GroupBy::parse(&words.group_by).map_err(|failure| refused(failure.message()))?;
    Ok(Some(Expiry { policy, by }))
}

fn reason(error: &clap::Error) -> String {
    if error.kind() == clap::error::ErrorKind::UnknownArgument
        && let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg)
    {
        return format!("{word} is not among --keep-... and --group-by, which are all there are");
    }
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    first.strip_prefix("error: ").unwrap_or(first).to_owned()
}

#[cfg(test)]
mod tests {
    use windlass_engine::retention::Count;

    use super::*;

    fn read(text: &str) -> Expiry {
        parse(text).expect("read").expect("something expires")
    }

    #[test]
    fn what_the_controller_writes_is_read() {
        let all = read(
            " --keep-hourly 3 --keep-daily 2 --keep-weekly 4 --keep-monthly 1 --keep-yearly 0 \
             --keep-within 1y5m7d2h --keep-last 7",
        );
        let Policy { last, hourly, daily, weekly, monthly, yearly, within, .. } = all.policy;
        assert_eq!((last, hourly, daily), (Count::Of(7), Count::Of(3), Count::Of(2)));
        assert_eq!((weekly, monthly), (Count::Of(4), Count::Of(1)));
        assert!(matches!(yearly, Count::None | Count::Of(0)));
        assert_eq!(within, "1y5m7d2h".parse().expect("a period"));
        assert_eq!(all.by, GroupBy { host: true, paths: true, tags: false });
        assert_eq!(read("--keep-last 1").policy.last, Count::Of(1));
        assert!(parse("").expect("read").is_none() && parse("  ").expect("read").is_none());
    }

    #[test]
    fn what_people_put_into_its_texts_is_read_too() {
        assert_eq!(read("--keep-last unlimited").policy.last, Count::All);
        assert_eq!(read("--keep-last=2 --keep-last 5").policy.last, Count::Of(5));
        let more =
            read("--keep-last 1 --keep-within-daily 7d --keep-tag a,b --group-by paths,tags");
        assert_eq!(more.policy.within_daily, "7d".parse().expect("a period"));
        assert_eq!(more.policy.tags, [["a", "b"]]);
        assert_eq!(more.by, GroupBy { host: false, paths: true, tags: true });
        assert_eq!(read("-l 2 -d 3").policy.daily, Count::Of(3));
    }

    #[test]
    fn everything_else_is_refused_by_name() {
        for (text, word) in [
            ("--keep-last 1 --prune", "--prune"),
            ("--keep-last 1 --host other", "--host"),
            ("--keep-last 1 latest", "latest"),
            ("--unsafe-allow-remove-all", "--unsafe-allow-remove-all"),
            ("--keep-last 1 --repo /elsewhere", "--repo"),
            ("--keep-last x", "--keep-last"),
            ("--keep-last -1", "-1"),
            ("--keep-within 3", "--keep-within"),
            ("--keep-last", "--keep-last"),
            ("--keep-daily 0", "no policy"),
            ("--keep-last 1 --group-by size", "size"),
            ("--help", "--help"),
        ] {
            let halt = parse(text).expect_err(text);
            let line = &halt.lines[0];
            assert_eq!(halt.code, 1, "{text}");
            assert!(line.starts_with("ERROR: FORGET_OPTIONS: ") && line.contains(word), "{line}");
        }
    }
}
