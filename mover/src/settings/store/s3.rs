//! S3: options, and the variables of the service's own tools.

use std::{path::PathBuf, time::Duration};

use windlass_engine::store::settings::{
    AssumeRole, BucketLookup, Lock, LockMode, Profile, S3, S3Credentials, StaticKeys, WebIdentity,
};

use super::{Options, Variables, secret};
use crate::failure::Failure;

/// Options that take objects out of an archive, which this program leaves to the service's tools.
const ARCHIVE_OPTIONS: [&str; 4] =
    ["enable-restore", "restore-days", "restore-timeout", "restore-tier"];
const DAY: Duration = Duration::from_hours(24);

pub(super) fn settings(options: &mut Options, variables: &Variables) -> Result<S3, Failure> {
    // The layout has been the same for all stores for years, and was never another here.
    let _deprecated = options.text("layout");
    if options.flag(ARCHIVE_OPTIONS[0])? {
        return Err(Failure::input(
            "taking packs out of an archive is not supported by this build yet",
            "restore the objects below data/ with the tools of the service, then run again",
        ));
    }
    for option in &ARCHIVE_OPTIONS[1..] {
        let _without_effect = options.text(option);
    }
    let region = match options.text("region") {
        Some(region) => Some(region),
        None => match variables.plain("AWS_DEFAULT_REGION")? {
            Some(region) => Some(region),
            None => variables.plain("AWS_REGION")?,
        },
    };
    let lookup = |text: &str| match text.to_ascii_lowercase().as_str() {
        "auto" => Some(BucketLookup::Auto),
        "dns" => Some(BucketLookup::Dns),
        "path" => Some(BucketLookup::Path),
        _ => None,
    };
    let bucket_lookup = options.parsed("bucket-lookup", "auto, dns or path", lookup)?;
    Ok(S3 {
        region,
        bucket_lookup: bucket_lookup.unwrap_or_default(),
        list_v1: options.flag("list-objects-v1")?,
        storage_class: options.text("storage-class"),
        lock: lock(options)?,
        credentials: credentials(options, variables)?,
    })
}

/// How often a call is tried; as much as its time allows where nobody says.
pub(super) fn tries(options: &mut Options) -> Result<Option<u32>, Failure> {
    options.parsed("retries", "a number", |text| text.parse().ok())
}

fn lock(options: &mut Options) -> Result<Option<Lock>, Failure> {
    let mode = |text: &str| match text.to_ascii_lowercase().as_str() {
        "governance" => Some(LockMode::Governance),
        "compliance" => Some(LockMode::Compliance),
        _ => None,
    };
    let mode = options.parsed("object-lock", "governance or compliance", mode)?;
    let days = options.number("object-lock-days")?;
    match (mode, days) {
        (None, None) => Ok(None),
        (Some(mode), Some(days @ 1..=36_500)) => {
            let period = DAY * u32::try_from(days).unwrap_or(u32::MAX);
            Ok(Some(Lock { mode, period }))
        }
        _ => Err(Failure::input(
            "s3.object-lock and s3.object-lock-days are not given together",
            "give both: a mode, and for how many days each new object is kept",
        )),
    }
}

fn credentials(options: &mut Options, variables: &Variables) -> Result<S3Credentials, Failure> {
    let path = |name: &str| variables.get(name).map(PathBuf::from);
    let web_identity = match (path("AWS_WEB_IDENTITY_TOKEN_FILE"), variables.plain("AWS_ROLE_ARN")?)
    {
        (Some(token_file), Some(role)) => {
            let session_name = variables.plain("AWS_ROLE_SESSION_NAME")?;
            Some(WebIdentity { token_file, role, session_name })
        }
        _ => None,
    };
    Ok(S3Credentials {
        anonymous: options.flag("unsafe-anonymous-auth")?,
        keys: keys(variables)?,
        web_identity,
        profile: Profile {
            name: match variables.plain("AWS_PROFILE")? {
                Some(name) => Some(name),
                None => variables.plain("AWS_DEFAULT_PROFILE")?,
            },
            config_file: path("AWS_CONFIG_FILE"),
            credentials_file: path("AWS_SHARED_CREDENTIALS_FILE"),
            home: path("HOME"),
        },
        container: ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"]
            .iter()
            .any(|name| variables.get(name).is_some()),
        no_machine: variables
            .plain("AWS_EC2_METADATA_DISABLED")?
            .is_some_and(|text| text.eq_ignore_ascii_case("true")),
        machine_endpoint: variables.plain("AWS_EC2_METADATA_SERVICE_ENDPOINT")?,
        assume_role: assume_role(variables)?,
    })
}

/// Keys that were given outright. Half of a pair is a mistake, not a reason to look elsewhere.
fn keys(variables: &Variables) -> Result<Option<StaticKeys>, Failure> {
    const NAMES: [[&str; 2]; 3] = [
        ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"],
        ["AWS_ACCESS_KEY", "AWS_SECRET_KEY"],
        ["MINIO_ACCESS_KEY", "MINIO_SECRET_KEY"],
    ];
    for [id_name, secret_name] in NAMES {
        let missing = |given: &str, missing: &str| {
            Failure::input(
                format!("no credentials found: {given} is set, but {missing} is empty"),
                format!("set {missing}, or unset {given}"),
            )
        };
        match (variables.plain(id_name)?, secret(variables, secret_name)?) {
            (None, None) => {}
            (Some(id), Some(secret_key)) => {
                let session_token = secret(variables, "AWS_SESSION_TOKEN")?;
                return Ok(Some(StaticKeys { id, secret: secret_key, session_token }));
            }
            (Some(_), None) => return Err(missing(id_name, secret_name)),
            (None, Some(_)) => return Err(missing(secret_name, id_name)),
        }
    }
    Ok(None)
}

fn assume_role(variables: &Variables) -> Result<Option<AssumeRole>, Failure> {
    let text = |name: &str| {
        Ok::<_, Failure>(
            variables.text(&format!("AWS_ASSUME_ROLE_{name}"))?.map(|(_name, text)| text),
        )
    };
    let Some(role) = text("ARN")? else { return Ok(None) };
    Ok(Some(AssumeRole {
        role,
        session_name: text("SESSION_NAME")?,
        external_id: text("EXTERNAL_ID")?,
        policy: text("POLICY")?,
        region: text("REGION")?,
        endpoint: text("STS_ENDPOINT")?,
    }))
}

#[cfg(test)]
mod tests {
    use windlass_engine::store::location::Scheme;

    use super::*;
    use crate::settings::options::Extended;

    fn read(typed: &[&str], variables: &[(&str, &str)]) -> Result<S3, Failure> {
        let typed: Vec<String> = typed.iter().map(|text| (*text).to_owned()).collect();
        let mut options = Options::of(Scheme::S3, &Extended::parse(&typed)?);
        let settings = settings(&mut options, &Variables::fixed(variables))?;
        options.end()?;
        Ok(settings)
    }

    #[test]
    fn an_option_beats_a_variable() {
        let variables = [("AWS_DEFAULT_REGION", "a"), ("AWS_REGION", "b")];
        let region = |typed: &[&str], variables: &[(&str, &str)]| {
            read(typed, variables).expect("settings").region
        };
        assert_eq!(region(&["s3.region=c"], &variables).as_deref(), Some("c"));
        assert_eq!(region(&[], &variables).as_deref(), Some("a"));
        assert_eq!(region(&[], &variables[1..]).as_deref(), Some("b"));
        assert_eq!(region(&[], &[]), None);
    }

    #[test]
    fn half_a_pair_of_keys_is_a_mistake() {
        read(&[], &[("AWS_ACCESS_KEY_ID", "x")]).expect_err("no secret");
        let failure = read(&[], &[("AWS_SECRET_ACCESS_KEY", "hush")]).expect_err("no id");
        assert!(failure.message().contains("AWS_ACCESS_KEY_ID is empty"), "{}", failure.message());
        let keys = read(&[], &[("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "hush")]);
        let keys = keys.expect("settings").credentials.keys.expect("keys");
        assert_eq!(keys.id, "x");
        assert!(!format!("{keys:?}").contains("hush"));
    }

    #[test]
    fn all_options_of_the_original_are_known() {
        let settings = read(
            &[
                "s3.layout=default",
                "s3.storage-class=STANDARD_IA",
                "s3.bucket-lookup=dns",
                "s3.list-objects-v1=true",
                "s3.unsafe-anonymous-auth=true",
                "s3.restore-days=7",
                "s3.enable-restore=false",
            ],
            &[],
        );
        let settings = settings.expect("settings");
        assert_eq!(settings.storage_class.as_deref(), Some("STANDARD_IA"));
        assert_eq!(settings.bucket_lookup, BucketLookup::Dns);
        assert!(settings.list_v1 && settings.credentials.anonymous);
        read(&["s3.bucket-lookup=nonsense"], &[]).expect_err("no such style");
        read(&["s3.enable-restore=true"], &[]).expect_err("not supported");
    }

    #[test]
    fn a_lock_has_a_mode_and_a_period() {
        let lock = read(&["s3.object-lock=Compliance", "s3.object-lock-days=30"], &[]);
        let lock = lock.expect("settings").lock.expect("a lock");
        assert_eq!((lock.mode, lock.period), (LockMode::Compliance, DAY * 30));
        read(&["s3.object-lock=governance"], &[]).expect_err("no period");
        read(&["s3.object-lock-days=3"], &[]).expect_err("no mode");
        read(&["s3.object-lock=governance", "s3.object-lock-days=0"], &[]).expect_err("no time");
    }

    #[test]
    fn a_role_to_assume_comes_with_its_terms() {
        let role = read(
            &[],
            &[
                ("RESTIC_AWS_ASSUME_ROLE_ARN", "arn:x"),
                ("RESTIC_AWS_ASSUME_ROLE_EXTERNAL_ID", "y"),
                ("WINDLASS_AWS_ASSUME_ROLE_REGION", "z"),
            ],
        );
        let role = role.expect("settings").credentials.assume_role.expect("a role");
        assert_eq!((role.role.as_str(), role.external_id.as_deref()), ("arn:x", Some("y")));
        assert_eq!((role.region.as_deref(), role.session_name), (Some("z"), None));
    }
}
