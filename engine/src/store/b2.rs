//! Backblaze B2, by the S3 protocol that it speaks.
//!
//! Invariants
//! - The service's own protocol is asked one thing, in which region an account is, and that once: the
//!   address of its S3 side follows from it. Objects have the same names on both sides.
//! - Keys are those of the service; no others are looked for.
//!
//! Not here: everything else (`s3`).

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, StatusCode, header::AUTHORIZATION};
use http_body_util::Empty;
use serde::Deserialize;
use tokio::sync::OnceCell;
use url::Url;

use super::{
    Failure, Range, StoreError,
    http::{Transport, Tuning, asked_pause, authorization, is_page},
    limit::Limiter,
    location::{self, Bucket, Location, Login},
    remote::{Page, PutRules, Remote, Stat, Traits},
    s3::{CONNECTIONS, S3Remote},
    settings::{S3Credentials, StaticKeys, StoreSettings},
    trace::Observer,
};
use crate::clock::Clock;

/// A bucket.
pub struct B2Remote {
    bucket: Bucket,
    login: Login,
    settings: StoreSettings,
    transport: Transport,
    limiter: Arc<Limiter>,
    observer: Observer,
    clock: Arc<dyn Clock>,
    s3: OnceCell<S3Remote>,
}

/// More than any answer about an account has.
const MOST_ANSWER_BYTES: usize = 1 << 20;
const ASK: &str = "/b2api/v3/b2_authorize_account";

/// What the service says of an account.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Account {
    account_id: String,
    api_info: Apis,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Apis {
    storage_api: StorageApi,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StorageApi {
    s3_api_url: String,
}

impl B2Remote {
    /// Asks nothing of the service yet.
    pub fn new(
        bucket: &Bucket,
        settings: &StoreSettings,
        limiter: &Arc<Limiter>,
        observer: &Observer,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let name = Location::B2(bucket.clone()).to_string();
        let (Some(user), Some(password)) = (&settings.b2.key_id, &settings.b2.key) else {
            let why = "there is no application key for B2";
            return Err(StoreError::new(Failure::Denied, "open", name, why).advising(KEYS));
        };
        let transport = Transport::new(&settings.http, &Tuning::default(), limiter, observer);
        Ok(Self {
            bucket: bucket.clone(),
            login: Login { user: user.clone(), password: password.clone() },
            settings: settings.clone(),
            transport: transport.map_err(|error| error.on("open", name))?,
            limiter: Arc::clone(limiter),
            observer: observer.clone(),
            clock,
            s3: OnceCell::new(),
        })
    }

    async fn s3(&self) -> Result<&S3Remote, StoreError> {
        self.s3.get_or_try_init(|| self.find()).await
    }

    fn failed(&self, failure: Failure, why: impl Into<String>) -> StoreError {
        StoreError::new(failure, "open", self.location(), why.into())
    }

    /// The S3 side of the account that the key belongs to.
    async fn find(&self) -> Result<S3Remote, StoreError> {
        let account = self.account().await?;
        if account.account_id == self.login.user {
            let why = "the account's master key opens nothing by the S3 protocol";
            return Err(self.failed(Failure::Denied, why).advising(KEYS));
        }
        let told = account.api_info.storage_api.s3_api_url;
        let url = Url::parse(&told).ok();
        let Some((url, host)) = url.as_ref().and_then(|url| Some((url, url.host_str()?))) else {
            let why = format!("the service names {told:?} as its S3 address");
            return Err(self.failed(Failure::Permanent, why));
        };
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let location = location::S3 {
            endpoint: format!("{host}{port}"),
            plain_http: url.scheme() == "http",
            bucket: self.bucket.name.clone(),
            prefix: self.bucket.prefix.clone(),
        };
        let mut settings = self.settings.clone();
        settings.s3.region = region_of(host).map(str::to_owned);
        settings.s3.credentials = S3Credentials {
            keys: Some(StaticKeys {
                id: self.login.user.clone(),
                secret: self.login.password.clone(),
                session_token: None,
            }),
            ..S3Credentials::default()
        };
        let clock = Arc::clone(&self.clock);
        S3Remote::new(&location, &settings, &self.limiter, &self.observer, clock)
    }

    async fn account(&self) -> Result<Account, StoreError> {
        let name = self.location();
        let secret = authorization(&self.login);
        let secret = secret.map_err(|why| self.failed(Failure::Permanent, why))?;
        let request = Request::get(format!("{}{ASK}", self.settings.b2.account_service))
            .header(AUTHORIZATION, secret)
            .body(Empty::<Bytes>::new())
            .map_err(|error| self.failed(Failure::Permanent, error.to_string()))?;
        let answer = self.transport.send(request).await;
        let (head, body) = answer.map_err(|error| error.on("open", name.as_str()))?.into_parts();
        let body = body.collect(MOST_ANSWER_BYTES).await;
        let body = body.map_err(|error| error.on("open", name.as_str()))?;
        if head.status.is_success() && !is_page(&head.headers) {
            return serde_json::from_slice(&body).map_err(|error| {
                let why = format!("the service's answer about the account is not usable: {error}");
                self.failed(Failure::Permanent, why)
            });
        }
        let status = head.status;
        let error = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let why = "the service does not accept this application key";
                self.failed(Failure::Denied, format!("{why} ({status})")).advising(KEYS)
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                self.failed(Failure::Throttled, format!("the service is busy ({status})"))
            }
            _ if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
                self.failed(Failure::Transient, format!("the service is in trouble ({status})"))
            }
            _ => {
                let why = format!("what answered for the service is not it ({status})");
                self.failed(Failure::Permanent, why)
                    .advising("a proxy or a login page may be in between")
            }
        };
        Err(match asked_pause(&head.headers) {
            Some(pause) => error.pausing(pause),
            None => error,
        })
    }
}

const KEYS: &str = "make an application key for the bucket, and set B2_ACCOUNT_ID to its id and \
                    B2_ACCOUNT_KEY to the key";

/// `s3.us-west-004.backblazeb2.com` is in `us-west-004`.
fn region_of(host: &str) -> Option<&str> {
    host.strip_prefix("s3.")?.strip_suffix(".backblazeb2.com")
}

impl fmt::Debug for B2Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "B2Remote({})", self.location())
    }
}

#[async_trait]
impl Remote for B2Remote {
    fn location(&self) -> String {
        Location::B2(self.bucket.clone()).to_string()
    }

    fn traits(&self) -> Traits {
        Traits { connections: CONNECTIONS, flaky: false, limits_itself: true }
    }

    async fn create(&self, directories: &[String]) -> Result<(), StoreError> {
        self.s3().await?.create(directories).await
    }

    async fn page(&self, prefix: &str, next: Option<String>) -> Result<Page, StoreError> {
        self.s3().await?.page(prefix, next).await
    }

    async fn stat(&self, name: &str) -> Result<Stat, StoreError> {
        self.s3().await?.stat(name).await
    }

    async fn read(&self, name: &str, range: Range) -> Result<Bytes, StoreError> {
        self.s3().await?.read(name, range).await
    }

    async fn put(&self, name: &str, bytes: Bytes, rules: PutRules) -> Result<(), StoreError> {
        self.s3().await?.put(name, bytes, rules).await
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.s3().await?.delete(name).await
    }

    async fn kept_until(&self, name: &str) -> Result<Option<SystemTime>, StoreError> {
        self.s3().await?.kept_until(name).await
    }

    async fn keep(&self, name: &str) -> Result<SystemTime, StoreError> {
        self.s3().await?.keep(name).await
    }

    fn keeps_for(&self) -> Option<Duration> {
        self.settings.s3.lock.map(|lock| lock.period)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_says_where_its_s3_side_is() {
        let answer = r#"{"accountId":"4f2a00000001","apiInfo":{"groupsApi":{},"storageApi":{
            "absoluteMinimumPartSize":5000000,"apiUrl":"https://api004.backblazeb2.com",
            "bucketId":null,"bucketName":null,"capabilities":["listFiles"],
            "downloadUrl":"https://f004.backblazeb2.com","infoType":"storageApi","namePrefix":null,
            "recommendedPartSize":100000000,"s3ApiUrl":"https://s3.us-west-004.backblazeb2.com"}},
            "applicationKeyExpirationTimestamp":null,"authorizationToken":"x"}"#;
        let account: Account = serde_json::from_str(answer).expect("read");
        let url = account.api_info.storage_api.s3_api_url;
        let host = url.strip_prefix("https://").expect("a URL");
        assert_eq!(region_of(host), Some("us-west-004"));
        assert_eq!(region_of("localhost"), None);
    }
}
