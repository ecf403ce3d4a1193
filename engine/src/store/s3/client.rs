//! The SDK's client for one bucket.

use aws_sdk_s3::{
    Client, Config,
    config::{
        BehaviorVersion, Region, RequestChecksumCalculation, ResponseChecksumValidation,
        SharedHttpClient, StalledStreamProtectionConfig, retry::RetryConfig,
        timeout::TimeoutConfig,
    },
};
use aws_smithy_async::rt::sleep::TokioSleep;

use super::{
    super::settings::{BucketLookup, S3},
    credentials,
    region::Endpoint,
};

/// A client that signs for `region`. The SDK tries nothing again, limits no time and adds no
/// checksums that other servers than its own service do not know: what it signs holds a SHA-256 of
/// the content already, which every server compares.
pub(super) async fn connect(
    settings: &S3,
    endpoint: &Endpoint,
    region: &str,
    http: &SharedHttpClient,
) -> Result<Client, &'static str> {
    let by_host = match settings.bucket_lookup {
        BucketLookup::Auto => endpoint.wants_bucket_in_host(),
        BucketLookup::Dns => true,
        BucketLookup::Path => false,
    };
    let builder = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .endpoint_url(endpoint.url(region))
        .force_path_style(!by_host)
        .http_client(http.clone())
        .sleep_impl(TokioSleep::new())
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    let builder = match credentials::provider(&settings.credentials, region, http).await? {
        Some(provider) => builder.credentials_provider(provider),
        None => builder.allow_no_auth(),
    };
    Ok(Client::from_conf(builder.build()))
}
