//! Who asks.
//!
//! Invariants: the first source that has credentials is used; one that is set up and fails is an
//! error and not passed over. Credentials that end are fetched anew by the SDK before they do.

use std::time::Duration;

use aws_config::{
    SdkConfig,
    ecs::EcsCredentialsProvider,
    imds,
    meta::credentials::CredentialsProviderChain,
    profile::ProfileFileCredentialsProvider,
    provider_config::ProviderConfig,
    sts::AssumeRoleProvider,
    web_identity_token::{StaticConfiguration, WebIdentityTokenCredentialsProvider},
};
use aws_credential_types::provider::{error::CredentialsError, future};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, ProvideCredentials, Region, SharedCredentialsProvider,
    SharedHttpClient, retry::RetryConfig,
};
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};

use super::super::settings::{self, S3Credentials, SecretText};

/// A machine's own service is near or not there at all.
const MACHINE_PATIENCE: Duration = Duration::from_secs(2);
const MACHINE_TRIES: u32 = 2;
/// A service that grants credentials is asked again so often. Calls on the store have their own
/// patience above this.
const GRANT_TRIES: u32 = 3;

/// What hands out credentials; `None` where requests are not signed.
pub(super) async fn provider(
    credentials: &S3Credentials,
    region: &str,
    http: &SharedHttpClient,
) -> Result<Option<SharedCredentialsProvider>, &'static str> {
    if credentials.anonymous {
        return Ok(None);
    }
    let region = Region::new(region.to_owned());
    let own = own_provider(credentials, &region, http)?;
    let Some(role) = &credentials.assume_role else { return Ok(Some(own)) };
    let region = role.region.clone().map_or(region, Region::new);
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(region)
        .http_client(http.clone())
        .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .time_source(aws_smithy_async::time::SystemTimeSource::new())
        .retry_config(RetryConfig::standard().with_max_attempts(GRANT_TRIES));
    config.set_endpoint_url(role.endpoint.clone());
    let mut builder = AssumeRoleProvider::builder(&role.role).configure(&config.build());
    if let Some(name) = &role.session_name {
        builder = builder.session_name(name);
    }
    if let Some(id) = &role.external_id {
        builder = builder.external_id(id);
    }
    if let Some(policy) = &role.policy {
        builder = builder.policy(policy);
    }
    Ok(Some(SharedCredentialsProvider::new(builder.build_from_provider(own).await)))
}

/// Credentials before any change of role.
fn own_provider(
    credentials: &S3Credentials,
    region: &Region,
    http: &SharedHttpClient,
) -> Result<SharedCredentialsProvider, &'static str> {
    if let Some(keys) = &credentials.keys {
        let token = keys.session_token.as_ref().map(text).transpose()?.map(str::to_owned);
        let keys = Credentials::new(&keys.id, text(&keys.secret)?, token, None, "settings");
        return Ok(SharedCredentialsProvider::new(keys));
    }
    let config = ProviderConfig::empty()
        .with_behavior_version(Some(BehaviorVersion::latest()))
        .with_region(Some(region.clone()))
        .with_http_client(http.clone())
        .with_sleep_impl(TokioSleep::new())
        .with_retry_config(RetryConfig::standard().with_max_attempts(GRANT_TRIES));
    let mut chain = None;
    if let Some(files) = profile_files(&credentials.profile) {
        let mut profile =
            ProfileFileCredentialsProvider::builder().configure(&config).profile_files(files);
        if let Some(name) = &credentials.profile.name {
            profile = profile.profile_name(name);
        }
        chain = joined(chain, "profile", profile.build());
    }
    if let Some(identity) = &credentials.web_identity {
        let session_name = identity.session_name.clone().unwrap_or_else(|| "windlass".to_owned());
        let provider = WebIdentityTokenCredentialsProvider::builder()
            .configure(&config)
            .static_configuration(StaticConfiguration {
                web_identity_token_file: identity.token_file.clone(),
                role_arn: identity.role.clone(),
                session_name,
            })
            .build();
        chain = joined(chain, "web identity", provider);
    }
    if credentials.container {
        let provider = EcsCredentialsProvider::builder()
            .configure(&config)
            .connect_timeout(MACHINE_PATIENCE)
            .read_timeout(MACHINE_PATIENCE)
            .build();
        chain = joined(chain, "container", provider);
    }
    if !credentials.no_machine {
        let mut client = imds::Client::builder()
            .configure(&config)
            .max_attempts(MACHINE_TRIES)
            .operation_attempt_timeout(MACHINE_PATIENCE);
        if let Some(endpoint) = &credentials.machine_endpoint {
            client = client
                .endpoint(endpoint)
                .map_err(|_error| "the address of the machine's metadata service is not a URL")?;
        }
        let provider = imds::credentials::ImdsCredentialsProvider::builder()
            .configure(&config)
            .imds_client(client.build())
            .build();
        chain = joined(chain, "machine", provider);
    }
    Ok(chain.map_or_else(|| SharedCredentialsProvider::new(Nobody), SharedCredentialsProvider::new))
}

fn joined(
    chain: Option<CredentialsProviderChain>,
    name: &'static str,
    provider: impl ProvideCredentials + 'static,
) -> Option<CredentialsProviderChain> {
    Some(match chain {
        None => CredentialsProviderChain::first_try(name, provider),
        Some(chain) => chain.or_else(name, provider),
    })
}

/// Where there is nowhere to look.
#[derive(Debug)]
struct Nobody;

impl ProvideCredentials for Nobody {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("no source is set up")))
    }
}

/// The files with profiles that are there.
fn profile_files(profile: &settings::Profile) -> Option<EnvConfigFiles> {
    let at_home = |name: &str| profile.home.as_ref().map(|home| home.join(".aws").join(name));
    let config = profile.config_file.clone().or_else(|| at_home("config"));
    let credentials = profile.credentials_file.clone().or_else(|| at_home("credentials"));
    // One that was named must be there; one at its usual place need not.
    let named = [profile.config_file.is_some(), profile.credentials_file.is_some()];
    let kinds = [EnvConfigFileKind::Config, EnvConfigFileKind::Credentials];
    let mut files = None;
    for ((path, named), kind) in [config, credentials].into_iter().zip(named).zip(kinds) {
        if let Some(path) = path.filter(|path| named || path.exists()) {
            let builder = files.unwrap_or_else(EnvConfigFiles::builder);
            files = Some(builder.with_file(kind, path));
        }
    }
    files.map(|files| files.build())
}

fn text(secret: &SecretText) -> Result<&str, &'static str> {
    std::str::from_utf8(secret.expose()).map_err(|_error| "a key of S3 is not valid UTF-8")
}
