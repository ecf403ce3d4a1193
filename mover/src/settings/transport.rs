//! How stores that are reached over a network are talked to.
//!
//! Invariants
//! - A value that cannot be read is an error wherever the repository is: what a script carries
//!   over is looked at before it is needed.
//! - Options of a kind of storage (`-o KIND.NAME=VALUE`) are for that kind only; each kind refuses
//!   names of its own that it does not know.
//!
//! Not here: what the options of each kind mean (beside the kind).

use std::{collections::BTreeMap, num::NonZeroU64, path::PathBuf, time::Duration};

use super::environment::Variables;
use crate::{args::TransportArgs, failure::Failure, units};

/// What holds for every connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transport {
    /// Most bytes sent in a second, over all connections together.
    pub(crate) upload_limit: Option<NonZeroU64>,
    /// Most bytes received in a second, over all connections together.
    pub(crate) download_limit: Option<NonZeroU64>,
    /// Trusted instead of the system's, where there are any.
    pub(crate) root_certificates: Vec<PathBuf>,
    /// PEM with a certificate and its key.
    pub(crate) client_certificate: Option<PathBuf>,
    /// Whether any certificate of a server will do.
    pub(crate) insecure_tls: bool,
    /// What this program is called in requests.
    pub(crate) user_agent: Option<String>,
    /// After how long without progress a request is sent again; `None` for never.
    pub(crate) stuck_after: Option<Duration>,
    /// Values by their keys in lower case: `s3.region`.
    pub(crate) extended: BTreeMap<String, String>,
}

const STUCK_AFTER: Duration = Duration::from_secs(5 * 60);

impl Transport {
    /// Options first, then variables.
    pub(crate) fn new(args: &TransportArgs, variables: &Variables) -> Result<Self, Failure> {
        let root_certificates = match args.cacert.is_empty() {
            false => list("--cacert", &args.cacert)?,
            true => match variables.text("CACERT")? {
                Some((_name, files)) => files.split(',').map(str::to_owned).collect(),
                None => Vec::new(),
            },
        };
        let client_certificate = match &args.tls_client_cert {
            Some(file) => Some(file.clone()),
            None => variables.text("TLS_CLIENT_CERT")?.map(|(_name, file)| file.into()),
        };
        let user_agent = match &args.http_user_agent {
            Some(text) => Some(text.clone()),
            None => variables.text("HTTP_USER_AGENT")?.map(|(_name, text)| text),
        };
        let stuck_after = match args.stuck_request_timeout.as_deref() {
            Some(text) => units::parse_duration(text)?,
            None => STUCK_AFTER,
        };
        Ok(Self {
            upload_limit: bytes_a_second(args.limit_upload),
            download_limit: bytes_a_second(args.limit_download),
            root_certificates: root_certificates.into_iter().map(PathBuf::from).collect(),
            client_certificate,
            insecure_tls: args.insecure_tls,
            user_agent,
            stuck_after: Some(stuck_after).filter(|duration| !duration.is_zero()),
            extended: extended(&args.option)?,
        })
    }

    /// Looks at the options of directories (`-o local.…`); only directories call it.
    pub(crate) fn check_local(&self) -> Result<(), Failure> {
        for (key, value) in &self.extended {
            let Some(name) = key.strip_prefix("local.") else { continue };
            let is_fine = match name {
                "connections" => value.parse::<u32>().is_ok_and(|count| count > 0),
                // The only one that restic still knows.
                "layout" => value == "default",
                _ => false,
            };
            if !is_fine {
                return Err(Failure::input(
                    format!("there is no option {key}={value} for directories"),
                    "local.connections takes a number from 1 on",
                ));
            }
        }
        Ok(())
    }

    /// Whether a limit was asked for.
    pub(crate) fn is_limited(&self) -> bool {
        self.upload_limit.is_some() || self.download_limit.is_some()
    }
}

fn bytes_a_second(kib: u32) -> Option<NonZeroU64> {
    NonZeroU64::new(u64::from(kib) << 10)
}

fn extended(texts: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let mut options = BTreeMap::new();
    for text in list("--option", texts)? {
        let (key, value) = text.split_once('=').unwrap_or((&text, ""));
        let (key, value) = (key.trim().to_lowercase(), value.trim().to_owned());
        if key.is_empty() {
            return Err(Failure::input(
                format!("the option {text:?} has no name"),
                "write it like s3.region=eu-central-1",
            ));
        }
        match options.get(&key) {
            Some(other) if *other != value => {
                return Err(Failure::input(
                    format!("the option {key:?} is given more than once, with different values"),
                    "give it once",
                ));
            }
            _ => drop(options.insert(key, value)),
        }
    }
    Ok(options)
}

/// Values that may be several in one text, between commas; in double quotes a comma is a character
/// like any other, and two quotes are one.
fn list(option: &str, texts: &[String]) -> Result<Vec<String>, Failure> {
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

    fn transport(args: TransportArgs, variables: &[(&str, &str)]) -> Result<Transport, Failure> {
        Transport::new(&args, &Variables::fixed(variables))
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn nothing_given_is_no_limit_and_five_minutes() {
        let plain = transport(<_>::default(), &[]).expect("settings");
        assert!(!plain.is_limited() && plain.extended.is_empty() && !plain.insecure_tls);
        assert_eq!(plain.stuck_after, Some(Duration::from_secs(300)));
        let off = TransportArgs { stuck_request_timeout: Some("0".into()), ..<_>::default() };
        assert_eq!(transport(off, &[]).expect("settings").stuck_after, None);
    }

    #[test]
    fn options_beat_variables() {
        let variables = [
            ("RESTIC_CACERT", "/a,/b"),
            ("RESTIC_TLS_CLIENT_CERT", "/c"),
            ("RESTIC_HTTP_USER_AGENT", "me"),
        ];
        let of_variables = transport(<_>::default(), &variables).expect("settings");
        assert_eq!(of_variables.root_certificates, ["/a", "/b"].map(PathBuf::from));
        assert_eq!(of_variables.client_certificate, Some("/c".into()));
        assert_eq!(of_variables.user_agent.as_deref(), Some("me"));
        let args = TransportArgs {
            cacert: texts(&["/x,/y", "/z"]),
            tls_client_cert: Some("/t".into()),
            http_user_agent: Some("you".into()),
            limit_upload: 7,
            ..<_>::default()
        };
        let given = transport(args, &variables).expect("settings");
        assert_eq!(given.root_certificates, ["/x", "/y", "/z"].map(PathBuf::from));
        assert_eq!(given.client_certificate, Some("/t".into()));
        assert_eq!(given.user_agent.as_deref(), Some("you"));
        assert_eq!(given.upload_limit.map(NonZeroU64::get), Some(7 << 10));
        assert!(given.is_limited() && given.download_limit.is_none());
    }

    #[test]
    fn options_of_storage_are_keys_and_values() {
        let of = |options: &[&str]| {
            let option = texts(options);
            transport(TransportArgs { option, ..<_>::default() }, &[]).map(|it| it.extended)
        };
        let found = of(&["S3.Region= eu ,s3.layout=default", "\"sftp.args=-o \"\"a,b\"\"\",x"]);
        let expected =
            [("s3.layout", "default"), ("s3.region", "eu"), ("sftp.args", "-o \"a,b\""), ("x", "")];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(found.expect("options"), BTreeMap::from(expected));
        for wrong in [&["=x"][..], &[""], &["a=1", "a=2"], &["\"a=1"], &["\"a\"b=1"]] {
            of(wrong).expect_err("refused");
        }
    }

    #[test]
    fn directories_know_their_own_options() {
        let check = |option: &str| {
            let option = texts(&[option]);
            let args = TransportArgs { option, ..<_>::default() };
            transport(args, &[]).expect("settings").check_local()
        };
        for fine in ["local.connections=5", "local.layout=default", "s3.anything=x"] {
            check(fine).expect(fine);
        }
        for wrong in
            ["local.connections=0", "local.connections=x", "local.layout=s3legacy", "local.x"]
        {
            check(wrong).expect_err(wrong);
        }
    }
}
