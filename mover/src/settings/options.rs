//! Options of kinds of storage: `-o s3.region=eu-central-1`.
//!
//! Invariants: keys have no case; an option of the scheme at hand that nobody asked for is an
//! error, and one of another scheme is none.
//!
//! Not here: what the options of each kind mean (`store`).

use std::{collections::BTreeMap, time::Duration};

use windlass_engine::store::location::Scheme;

use super::environment::parse_bool;
use crate::{failure::Failure, units};

/// The options of one scheme that nobody has asked for yet.
#[derive(Debug)]
pub(crate) struct Options {
    scheme: Scheme,
    left: BTreeMap<String, String>,
}

/// All of them, whatever they are for: values by their keys in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extended(BTreeMap<String, String>);

impl Extended {
    /// Reads what was typed.
    pub(crate) fn parse(typed: &[String]) -> Result<Self, Failure> {
        let mut all = BTreeMap::new();
        for text in list("--option", typed)? {
            let (key, value) = text.split_once('=').unwrap_or((&text, ""));
            let (key, value) = (key.trim().to_lowercase(), value.trim().to_owned());
            if key.is_empty() {
                return Err(Failure::input(
                    format!("the option {text:?} has no name"),
                    "write it like s3.region=eu-central-1",
                ));
            }
            match all.get(&key) {
                Some(other) if *other != value => {
                    return Err(Failure::input(
                        format!(
                            "the option {key:?} is given more than once, with different values"
                        ),
                        "give it once",
                    ));
                }
                _ => drop(all.insert(key, value)),
            }
        }
        Ok(Self(all))
    }
}

impl Options {
    /// Those of `scheme`.
    pub(crate) fn of(scheme: Scheme, all: &Extended) -> Self {
        let prefix = format!("{}.", scheme.word());
        let own = all.0.iter().filter_map(|(key, value)| {
            key.strip_prefix(&prefix).map(|key| (key.to_owned(), value.clone()))
        });
        Self { scheme, left: own.collect() }
    }

    /// The value of an option; an empty one is not given.
    pub(crate) fn text(&mut self, key: &str) -> Option<String> {
        self.left.remove(key).filter(|value| !value.is_empty())
    }

    /// A number.
    pub(crate) fn number(&mut self, key: &str) -> Result<Option<u64>, Failure> {
        self.parsed(key, "a number", |text| text.parse().ok())
    }

    /// Yes or no.
    pub(crate) fn flag(&mut self, key: &str) -> Result<bool, Failure> {
        Ok(self.parsed(key, "true or false", parse_bool)?.unwrap_or(false))
    }

    /// A time span.
    pub(crate) fn duration(&mut self, key: &str) -> Result<Option<Duration>, Failure> {
        self.parsed(key, "a duration like 90s", |text| units::parse_duration(text).ok())
    }

    /// A value that `parse` makes out of the text.
    pub(crate) fn parsed<T>(
        &mut self,
        key: &str,
        wanted: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let value = parse(&text).ok_or_else(|| {
            Failure::input(
                format!("option {}.{key} is {text:?}", self.scheme.word()),
                format!("give it {wanted}"),
            )
        })?;
        Ok(Some(value))
    }

    /// Refuses what nobody has asked for.
    pub(crate) fn end(self) -> Result<(), Failure> {
        match self.left.first_key_value() {
            None => Ok(()),
            Some((key, _value)) => Err(Failure::input(
                format!("option {}.{key} is not known", self.scheme.word()),
                "see the guide's page on this kind of store for its options",
            )),
        }
    }
}

/// Values that may be several in one text, between commas; in double quotes a comma is a character
/// like any other, and two quotes are one.
pub(super) fn list(option: &str, texts: &[String]) -> Result<Vec<String>, Failure> {
    let mut values = Vec::new();
    for text in texts {
        let mut rest = text.as_str();
        loop {
            let Some(quoted) = rest.strip_prefix('"') else {
                let (value, after) = rest.split_once(',').unzip();
                values.push(value.unwrap_or(rest).to_owned());
                match after {
                    Some(after) => rest = after,
                    None => break,
                }
                continue;
            };
            let (value, after) = quoted_value(quoted).ok_or_else(|| {
                Failure::input(
                    format!("the quotes in {option} {text} cannot be read"),
                    "end what begins with a quote by one; write \"\" for a quote within",
                )
            })?;
            values.push(value);
            match after.strip_prefix(',') {
                Some(after) => rest = after,
                None => break,
            }
        }
    }
    Ok(values)
}

/// What is before the closing quote, and what follows it: a comma or nothing.
fn quoted_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"')?;
        value.push_str(before);
        match after.strip_prefix('"') {
            Some(after) => {
                value.push('"');
                rest = after;
            }
            None if after.is_empty() || after.starts_with(',') => return Some((value, after)),
            None => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(typed: &[&str]) -> Result<Extended, Failure> {
        let typed: Vec<String> = typed.iter().map(|text| (*text).to_owned()).collect();
        Extended::parse(&typed)
    }

    fn options(typed: &[&str]) -> Options {
        Options::of(Scheme::S3, &all(typed).expect("parse"))
    }

    #[test]
    fn options_are_keys_and_values() {
        let found = all(&["S3.Region= eu ,s3.layout=default", "\"sftp.args=-o \"\"a,b\"\"\",x"]);
        let expected =
            [("s3.layout", "default"), ("s3.region", "eu"), ("sftp.args", "-o \"a,b\""), ("x", "")];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(found.expect("options"), Extended(BTreeMap::from(expected)));
        all(&["s3.a=1", "s3.a=1"]).expect("the same twice");
        for wrong in [&["=x"][..], &[""], &["a=1", "a=2"], &["\"a=1"], &["\"a\"b=1"]] {
            all(wrong).expect_err("refused");
        }
    }

    #[test]
    fn options_are_read_by_their_kind() {
        let mut options = options(&[
            "S3.Region = eu ",
            "s3.connections=7",
            "s3.list-objects-v1=1",
            "s3.restore-timeout=2h",
            "b2.whatever=1",
        ]);
        assert_eq!(options.text("region").as_deref(), Some("eu"));
        assert_eq!(options.number("connections").expect("a number"), Some(7));
        assert!(options.flag("list-objects-v1").expect("a flag"));
        assert!(!options.flag("unsafe-anonymous-auth").expect("not given"));
        let timeout = options.duration("restore-timeout").expect("a duration");
        assert_eq!(timeout, Some(Duration::from_secs(7200)));
        options.end().expect("nothing left");
    }

    #[test]
    fn what_cannot_be_read_or_is_not_known_is_an_error() {
        options(&["s3.a=x"]).number("a").expect_err("no number");
        options(&["s3.a=x"]).flag("a").expect_err("no flag");
        let failure = options(&["s3.nonsense=1"]).end().expect_err("unknown");
        assert!(failure.message().contains("option s3.nonsense is not known"));
    }
}
