//! What holds for every store that is reached over a network, and which options are for which kind.
//!
//! Invariants: a value that cannot be read is an error wherever the repository is: what a script
//! carries over is looked at before it is needed.
//!
//! Not here: what decides for one kind of storage alone (`store`).

use std::{
    num::NonZeroU64,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use windlass_engine::store::settings::{Http, Limits, Proxies, SecretText};

use super::{
    environment::Variables,
    options::{self, Extended},
    read,
};
use crate::{args::TransportArgs, failure::Failure, units};

/// What was typed and set, whatever the location.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    /// Bytes on their way, over all connections together.
    pub(crate) limits: Limits,
    /// Whatever is reached by HTTP.
    pub(crate) http: Http,
    /// Options of kinds of storage.
    pub(crate) extended: Extended,
}

impl Transport {
    /// Options first, then variables.
    pub(crate) fn new(args: &TransportArgs, variables: &Variables) -> Result<Self, Failure> {
        Ok(Self {
            limits: Limits {
                up: bytes_a_second(args.limit_upload),
                down: bytes_a_second(args.limit_download),
            },
            http: http(args, variables)?,
            extended: Extended::parse(&args.option)?,
        })
    }

    /// Whether a limit was asked for.
    pub(crate) fn is_limited(&self) -> bool {
        self.limits != Limits::default()
    }
}

fn bytes_a_second(kib: u32) -> Option<NonZeroU64> {
    NonZeroU64::new(u64::from(kib) << 10)
}

fn http(args: &TransportArgs, variables: &Variables) -> Result<Http, Failure> {
    let defaults = Http::default();
    let root_certificates = match args.cacert.is_empty() {
        false => options::list("--cacert", &args.cacert)?,
        true => match variables.text("CACERT")? {
            Some((_name, files)) => files.split(',').map(str::to_owned).collect(),
            None => Vec::new(),
        },
    };
    let ca_certificates: Result<Vec<Bytes>, Failure> =
        root_certificates.iter().map(|path| read(Path::new(path)).map(Bytes::from)).collect();
    let client_certificate = match &args.tls_client_cert {
        Some(file) => Some(file.clone()),
        None => variables.text("TLS_CLIENT_CERT")?.map(|(_name, file)| PathBuf::from(file)),
    };
    let client_certificate = client_certificate.map(|path| read(&path)).transpose()?;
    let user_agent = match &args.http_user_agent {
        Some(text) => Some(text.clone()),
        None => variables.text("HTTP_USER_AGENT")?.map(|(_name, text)| text),
    };
    let stuck_after = match args.stuck_request_timeout.as_deref() {
        Some(text) => units::parse_duration(text)?,
        None => Duration::ZERO,
    };
    Ok(Http {
        ca_certificates: ca_certificates?,
        client_certificate: client_certificate.map(SecretText::new),
        insecure_tls: args.insecure_tls,
        user_agent: user_agent.unwrap_or(defaults.user_agent),
        // As restic has it, zero is the usual time.
        stuck_after: if stuck_after.is_zero() { defaults.stuck_after } else { stuck_after },
        proxies: proxies(variables)?,
    })
}

/// As every program reads them: the lower case counts first.
fn proxies(variables: &Variables) -> Result<Proxies, Failure> {
    let text = |names: [&str; 2]| match variables.plain(names[0])? {
        Some(text) => Ok(Some(text)),
        None => variables.plain(names[1]),
    };
    let all = text(["all_proxy", "ALL_PROXY"])?;
    let proxy = |own: Option<String>| own.or(all.clone()).map(SecretText::new);
    Ok(Proxies {
        http: proxy(text(["http_proxy", "HTTP_PROXY"])?),
        https: proxy(text(["https_proxy", "HTTPS_PROXY"])?),
        except: text(["no_proxy", "NO_PROXY"])?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transport(args: TransportArgs, variables: &[(&str, &str)]) -> Result<Transport, Failure> {
        Transport::new(&args, &Variables::fixed(variables))
    }

    #[test]
    fn nothing_given_is_no_limit_and_five_minutes() {
        let plain = transport(<_>::default(), &[]).expect("settings");
        assert!(!plain.is_limited() && !plain.http.insecure_tls);
        assert_eq!(plain.extended, Extended::default());
        assert_eq!(plain.http.stuck_after, Duration::from_secs(300));
        let zero = TransportArgs { stuck_request_timeout: Some("0".into()), ..<_>::default() };
        let zero = transport(zero, &[]).expect("settings");
        assert_eq!(zero.http.stuck_after, Duration::from_secs(300));
    }

    #[test]
    fn options_beat_variables() {
        let room = tempfile::tempdir().expect("a directory");
        let path = |name: &str| room.path().join(name).to_str().expect("UTF-8").to_owned();
        for name in ["a", "b", "c", "t", "x", "y", "z"] {
            std::fs::write(path(name), name).expect("written");
        }
        let authorities = format!("{},{}", path("a"), path("b"));
        let certificate = path("c");
        let variables = [
            ("RESTIC_CACERT", authorities.as_str()),
            ("RESTIC_TLS_CLIENT_CERT", certificate.as_str()),
            ("RESTIC_HTTP_USER_AGENT", "me"),
        ];
        let shown = |http: &Http| http.client_certificate.as_ref().map(|it| it.expose().to_vec());
        let of_variables = transport(<_>::default(), &variables).expect("settings").http;
        assert_eq!(of_variables.ca_certificates, ["a", "b"]);
        assert_eq!(shown(&of_variables), Some(b"c".to_vec()));
        assert_eq!(of_variables.user_agent, "me");
        let args = TransportArgs {
            cacert: vec![format!("{},{}", path("x"), path("y")), path("z")],
            tls_client_cert: Some(path("t").into()),
            http_user_agent: Some("you".into()),
            limit_upload: 7,
            ..<_>::default()
        };
        let given = transport(args, &variables).expect("settings");
        assert_eq!(given.http.ca_certificates, ["x", "y", "z"]);
        assert_eq!(shown(&given.http), Some(b"t".to_vec()));
        assert_eq!(given.http.user_agent, "you");
        assert_eq!(given.limits.up.map(NonZeroU64::get), Some(7 << 10));
        assert!(given.is_limited() && given.limits.down.is_none());
    }

    #[test]
    fn proxies_come_from_either_case() {
        let of =
            |variables: &[(&str, &str)]| proxies(&Variables::fixed(variables)).expect("proxies");
        let text = |secret: Option<SecretText>| {
            secret.map(|text| String::from_utf8(text.expose().to_vec()).expect("UTF-8"))
        };
        let proxies = of(&[("HTTPS_PROXY", "A"), ("https_proxy", "a"), ("NO_PROXY", "x,y")]);
        assert_eq!(text(proxies.https).as_deref(), Some("a"));
        assert_eq!(text(proxies.http), None);
        assert_eq!(proxies.except.as_deref(), Some("x,y"));
        assert_eq!(text(of(&[("ALL_PROXY", "b")]).http).as_deref(), Some("b"));
    }

    #[test]
    fn files_that_are_named_must_be_there() {
        let args = TransportArgs { cacert: vec!["/no/such/file".into()], ..<_>::default() };
        transport(args, &[]).expect_err("no such file");
        transport(<_>::default(), &[("RESTIC_CACERT", "/no/such/file")]).expect_err("likewise");
    }
}
