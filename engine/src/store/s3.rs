//! A bucket behind the S3 protocol, by the service's own SDK.
//!
//! Invariants
//! - An object is one put: packs are at most 128 MiB, which every server takes at once, and several
//!   of them are under way anyway. So no part of an object is ever visible or left behind.
//! - A put of an immutable object asks the server to refuse where the name is taken, until the
//!   server says that it does not know how.
//! - A region that nobody set is learnt from the server's first refusal.
//!
//! Not here: trying again and holding back (`steady`), limits and TLS (`http`).

mod client;
mod credentials;
mod known;
mod refusal;
mod region;
mod wire;

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    config::{SharedHttpClient, http::HttpResponse},
    error::{ProvideErrorMetadata, SdkError},
    primitives::{ByteStream, DateTime},
    types::{
        BucketLocationConstraint, CreateBucketConfiguration, Object, ObjectLockMode,
        ObjectLockRetention, ObjectLockRetentionMode, StorageClass,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::HeaderValue;
use md5::{Digest, Md5};
use tokio::sync::Mutex;

use self::{known::Known, refusal::Refusal, region::Endpoint, wire::Wire};
use super::{
    Existing, Failure, Range, StoreError,
    http::{HttpError, Rooms, Transport, Tuning},
    limit::Limiter,
    location,
    remote::{Page, PutRules, Remote, Row, Stat, Traits},
    settings::{Lock, LockMode, S3, StoreSettings},
    trace::Observer,
};
use crate::clock::Clock;

/// Classes that take hours to read back.
const ARCHIVES: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];
/// Objects that must go away when their maker does.
const SHORT_LIVED: &str = "locks/";
/// What servers say of objects that nothing keeps. The last is the service's own word where the
/// bucket was made without locks.
const NOT_LOCKED: [&str; 3] =
    ["NoSuchObjectLockConfiguration", "ObjectLockConfigurationNotFoundError", "InvalidRequest"];
pub(super) const CONNECTIONS: usize = 5;
/// More than any object has.
const MOST_BYTES: u64 = 4 << 30;
const REGION_OF_OLD: &str = "us-east-1";

/// A bucket, or what is in it below a prefix.
#[derive(Debug)]
pub struct S3Remote {
    location: location::S3,
    settings: S3,
    endpoint: Endpoint,
    http: SharedHttpClient,
    rooms: Rooms,
    clock: Arc<dyn Clock>,
    connected: Mutex<Option<Connected>>,
    /// Whether the server knows how to refuse a name that is taken.
    refuses_taken: AtomicBool,
}

/// A client, and what it signs for.
#[derive(Clone, Debug)]
struct Connected {
    client: Client,
    region: String,
}

impl S3Remote {
    /// Asks nothing of the server yet.
    pub fn new(
        location: &location::S3,
        settings: &StoreSettings,
        limiter: &Arc<Limiter>,
        observer: &Observer,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let failed = |error: HttpError| error.on("open", location.to_string());
        let mut http = settings.http.clone();
        let except = http.proxies.except.iter().map(String::as_str).chain([wire::NEVER_PROXIED]);
        http.proxies.except = Some(except.collect::<Vec<_>>().join(","));
        let tuning = Tuning { http1_only: true, ..Tuning::default() };
        let transport = Transport::new(&http, &tuning, limiter, observer).map_err(failed)?;
        let user_agent = HeaderValue::from_str(&http.user_agent).map_err(|error| {
            StoreError::new(Failure::Permanent, "open", location.to_string(), error)
                .advising("use plain letters in --http-user-agent")
        })?;
        Ok(Self {
            location: location.clone(),
            settings: settings.s3.clone(),
            endpoint: Endpoint::new(&location.endpoint, location.plain_http),
            rooms: transport.rooms().clone(),
            http: Wire::client(transport, user_agent),
            clock,
            connected: Mutex::default(),
            refuses_taken: AtomicBool::new(true),
        })
    }

    fn bucket(&self) -> &str {
        &self.location.bucket
    }

    /// The key in the bucket of an object with this name, or what keys start with.
    fn key(&self, name: &str) -> String {
        match self.location.prefix.as_str() {
            "" => name.to_owned(),
            prefix => format!("{prefix}/{name}"),
        }
    }

    async fn connected(&self) -> Result<Connected, StoreError> {
        let mut connected = self.connected.lock().await;
        if let Some(connected) = &*connected {
            return Ok(connected.clone());
        }
        let region = self.endpoint.first_region(self.settings.region.as_deref());
        let new = self.connect(region).await?;
        *connected = Some(new.clone());
        Ok(new)
    }

    async fn connect(&self, region: String) -> Result<Connected, StoreError> {
        let client = client::connect(&self.settings, &self.endpoint, &region, &self.http)
            .await
            .map_err(|why| StoreError::new(Failure::Permanent, "open", self.location(), why))?;
        Ok(Connected { client, region })
    }

    /// Changes to the region that the server named, if nobody has set another.
    async fn moved(&self, from: &Connected, region: Option<&str>) -> Option<Connected> {
        let region = region.filter(|region| *region != from.region)?;
        if self.settings.region.is_some() {
            return None;
        }
        let new = self.connect(region.to_owned()).await.ok()?;
        *self.connected.lock().await = Some(new.clone());
        Some(new)
    }

    /// Asks once, and once more where all that was wrong is the region.
    async fn ask<T, E, F>(
        &self,
        call: impl Fn(Client) -> F + Send,
    ) -> Result<T, Result<Refusal, StoreError>>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
        E: ProvideErrorMetadata + Error + Send + 'static,
    {
        let connected = self.connected().await.map_err(Err)?;
        let error = match call(connected.client.clone()).await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let refusal = Refusal::of(&error);
        if let Some(moved) = self.moved(&connected, refusal.region.as_deref()).await {
            return call(moved.client).await.map_err(|error| Ok(Refusal::of(&error)));
        }
        if refusal.code.starts_with("ExpiredToken") && self.settings.credentials.keys.is_none() {
            // Whoever hands them out has better ones by now.
            *self.connected.lock().await = None;
            let mut refusal = refusal;
            refusal.failure = Failure::Transient;
            return Err(Ok(refusal));
        }
        Err(Ok(refusal))
    }

    async fn stat_key(&self, name: &str) -> Result<Stat, Result<Refusal, StoreError>> {
        let key = self.key(name);
        let head = |client: Client| client.head_object().bucket(self.bucket()).key(&key).send();
        match self.ask(head).await {
            Ok(head) => Ok(Stat {
                stored_bytes: head.content_length().map_or(0, i64::unsigned_abs),
                modified: whole_seconds(head.last_modified()),
            }),
            // Answers to this question have no body, so the reason is not told. 404 needs none.
            Err(Ok(refusal))
                if refusal.code.is_empty()
                    && matches!(refusal.status, Some(300..=403 | 405..=499)) =>
            {
                self.ask(|client| {
                    client.get_object().bucket(self.bucket()).key(&key).range("bytes=0-0").send()
                })
                .await?;
                self.ask(head).await.map(|head| Stat {
                    stored_bytes: head.content_length().map_or(0, i64::unsigned_abs),
                    modified: whole_seconds(head.last_modified()),
                })
            }
            Err(failed) => Err(failed),
        }
    }

    async fn read_key(
        &self,
        name: &str,
        range: Option<String>,
    ) -> Result<Bytes, Result<Refusal, StoreError>> {
        let key = self.key(name);
        let answer = self
            .ask(|client| {
                let get = client.get_object().bucket(self.bucket()).key(&key);
                get.set_range(range.clone()).send()
            })
            .await?;
        let len = answer.content_length().map(i64::unsigned_abs);
        let page = answer.content_type().is_some_and(|kind| kind.starts_with("text/html"));
        let too_long =
            || StoreError::new(Failure::Permanent, "read", name, "more bytes than any object has");
        if len.is_some_and(|len| len > MOST_BYTES) {
            return Err(Err(too_long()));
        }
        let mut bytes = self.rooms.take(len.and_then(|len| len.try_into().ok()).unwrap_or(0));
        let mut body = answer.body;
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| Err(lost(name, error)))?;
            if (bytes.len() + piece.len()) as u64 > MOST_BYTES {
                return Err(Err(too_long()));
            }
            bytes.push(&piece);
        }
        if page {
            return Err(Ok(Refusal::page(bytes.as_ref(), 200)));
        }
        if len.is_some_and(|len| len != bytes.len() as u64) {
            let why = format!("the answer ended after {} bytes", bytes.len());
            return Err(Err(StoreError::new(Failure::Transient, "read", name, why)));
        }
        Ok(bytes.freeze())
    }

    async fn put_key(
        &self,
        name: &str,
        bytes: &Bytes,
        rules: PutRules,
        refuse_taken: bool,
    ) -> Result<(), Result<Refusal, StoreError>> {
        let key = self.key(name);
        let class = self.settings.storage_class.as_deref();
        let class = class.filter(|class| rules.may_be_cold || !ARCHIVES.contains(class));
        let lock = self.settings.lock.filter(|_lock| !name.starts_with(SHORT_LIVED));
        let until = lock.map(|lock| self.locked_until(lock));
        let mode = lock.map(|lock| ObjectLockMode::from(mode_word(lock.mode)));
        // The service demands a checksum of its own for objects that are locked.
        let md5 = lock.map(|_lock| STANDARD.encode(Md5::digest(bytes)));
        let put = |client: Client| {
            client
                .put_object()
                .bucket(self.bucket())
                .key(&key)
                .content_type("application/octet-stream")
                .set_content_md5(md5.clone())
                .set_storage_class(class.map(StorageClass::from))
                .set_object_lock_mode(mode.clone())
                .set_object_lock_retain_until_date(until)
                .set_if_none_match(refuse_taken.then(|| "*".to_owned()))
                .body(ByteStream::from(bytes.clone()))
                .customize()
                .interceptor(Known(rules.sha256))
                .send()
        };
        self.ask(put).await.map(drop)
    }

    fn locked_until(&self, lock: Lock) -> DateTime {
        let now = self.clock.now().seconds;
        DateTime::from_secs(now.saturating_add_unsigned(lock.period.as_secs()))
    }

    /// Whether the object that has the name already is the same. It is where an answer was lost.
    async fn is_stored(&self, name: &str, bytes: &Bytes) -> Result<(), StoreError> {
        let failed = |failed| flat(failed, "write", name);
        let stored = self.stat_key(name).await.map_err(failed)?.stored_bytes;
        if stored == bytes.len() as u64
            && (bytes.is_empty() || self.read_key(name, None).await.map_err(failed)? == bytes)
        {
            return Ok(());
        }
        let why = "an object with other content has this name";
        Err(StoreError::new(Failure::Permanent, "write", name, why))
    }

    fn row(&self, object: &Object) -> Option<Row> {
        let key = object.key()?;
        let name = match self.location.prefix.as_str() {
            "" => key,
            prefix => key.strip_prefix(prefix)?.strip_prefix('/')?,
        };
        Some(Row {
            name: name.to_owned(),
            stored_bytes: object.size().map_or(0, i64::unsigned_abs),
            modified: whole_seconds(object.last_modified()),
        })
    }
}

#[async_trait]
impl Remote for S3Remote {
    fn location(&self) -> String {
        self.location.to_string()
    }

    fn traits(&self) -> Traits {
        Traits { connections: CONNECTIONS, flaky: false, limits_itself: true }
    }

    async fn create(&self, _directories: &[String]) -> Result<(), StoreError> {
        let failed = |failed| flat(failed, "create", self.bucket());
        let head = |client: Client| client.head_bucket().bucket(self.bucket()).send();
        match self.ask(head).await {
            Ok(_) => return Ok(()),
            Err(Ok(refusal)) if refusal.failure == Failure::NotFound => {}
            // Who may not look may still be allowed to write: the first put will tell.
            Err(Ok(refusal)) if refusal.failure == Failure::Denied => return Ok(()),
            Err(other) => return Err(failed(other)),
        }
        let region = self.connected().await?.region;
        let elsewhere = (region != REGION_OF_OLD).then(|| {
            let constraint = BucketLocationConstraint::from(region.as_str());
            CreateBucketConfiguration::builder().location_constraint(constraint).build()
        });
        let create = |client: Client| {
            let create = client.create_bucket().bucket(self.bucket());
            create.set_create_bucket_configuration(elsewhere.clone()).send()
        };
        match self.ask(create).await {
            Ok(_) => Ok(()),
            Err(Ok(refusal)) if refusal.code == "BucketAlreadyOwnedByYou" => Ok(()),
            Err(other) => Err(failed(other)),
        }
    }

    async fn page(&self, prefix: &str, next: Option<String>) -> Result<Page, StoreError> {
        let key = self.key(prefix);
        let failed = |failed| flat(failed, "list", self.bucket());
        if self.settings.list_v1 {
            let list = |client: Client| {
                let list = client.list_objects().bucket(self.bucket()).prefix(&key);
                list.set_marker(next.clone()).send()
            };
            let answer = self.ask(list).await.map_err(failed)?;
            let more = answer.is_truncated().unwrap_or(false);
            // Only some servers say where to go on; the last key always does.
            let last = answer.contents().last().and_then(Object::key);
            let next = answer.next_marker().or(last).filter(|_next| more).map(str::to_owned);
            let rows = answer.contents().iter().filter_map(|object| self.row(object)).collect();
            return Ok(Page { rows, next });
        }
        let list = |client: Client| {
            let list = client.list_objects_v2().bucket(self.bucket()).prefix(&key);
            list.set_continuation_token(next.clone()).send()
        };
        let answer = self.ask(list).await.map_err(failed)?;
        let more = answer.is_truncated().unwrap_or(false);
        let next = answer.next_continuation_token().filter(|_next| more).map(str::to_owned);
        if more && next.is_none() {
            let why = "the list has more parts, but the server does not say how to ask for them";
            return Err(StoreError::new(Failure::Permanent, "list", self.bucket(), why)
                .advising("use -o s3.list-objects-v1=true"));
        }
        let rows = answer.contents().iter().filter_map(|object| self.row(object)).collect();
        Ok(Page { rows, next })
    }

    async fn stat(&self, name: &str) -> Result<Stat, StoreError> {
        self.stat_key(name).await.map_err(|failed| flat(failed, "stat", name))
    }

    async fn read(&self, name: &str, range: Range) -> Result<Bytes, StoreError> {
        let header = match range {
            Range::All => None,
            Range::At { start, len } => Some(format!("bytes={start}-{}", start + (len - 1))),
            Range::Last { len } => Some(format!("bytes=-{len}")),
        };
        match self.read_key(name, header).await {
            // Of an empty object there are no last bytes to be had.
            Err(Ok(refusal))
                if refusal.failure == Failure::Short && matches!(range, Range::Last { .. }) =>
            {
                Ok(Bytes::new())
            }
            result => result.map_err(|failed| flat(failed, "read", name)),
        }
    }

    async fn put(&self, name: &str, bytes: Bytes, rules: PutRules) -> Result<(), StoreError> {
        let immutable = rules.existing == Existing::Keep;
        let refuse = immutable && self.refuses_taken.load(Ordering::Relaxed);
        let refusal = match self.put_key(name, &bytes, rules, refuse).await {
            Ok(()) => return Ok(()),
            Err(Ok(refusal)) if refuse => refusal,
            Err(failed) => return Err(flat(failed, "write", name)),
        };
        match refusal.status {
            Some(412) => self.is_stored(name, &bytes).await,
            Some(501) => {
                self.refuses_taken.store(false, Ordering::Relaxed);
                let put = self.put_key(name, &bytes, rules, false).await;
                put.map_err(|failed| flat(failed, "write", name))
            }
            _ => Err(refusal.on("write", name)),
        }
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        let key = self.key(name);
        let delete = |client: Client| client.delete_object().bucket(self.bucket()).key(&key).send();
        self.ask(delete).await.map(drop).map_err(|failed| flat(failed, "delete", name))
    }

    async fn kept_until(&self, name: &str) -> Result<Option<SystemTime>, StoreError> {
        let key = self.key(name);
        let ask =
            |client: Client| client.get_object_retention().bucket(self.bucket()).key(&key).send();
        let answer = match self.ask(ask).await {
            Ok(answer) => answer,
            // Of the object, or of the whole bucket.
            Err(Ok(refusal)) if NOT_LOCKED.contains(&refusal.code.as_str()) => return Ok(None),
            Err(failed) => return Err(flat(failed, "stat", name)),
        };
        let until = answer.retention().and_then(ObjectLockRetention::retain_until_date);
        let now = self.clock.now().seconds;
        Ok(until.filter(|until| until.secs() > now).map(|until| whole_seconds(Some(until))))
    }

    async fn keep(&self, name: &str) -> Result<SystemTime, StoreError> {
        let Some(lock) = self.settings.lock else {
            let why = "nobody says for how long objects are kept";
            return Err(StoreError::new(Failure::Permanent, "keep", name, why)
                .advising("give -o s3.object-lock=… and -o s3.object-lock-days=…"));
        };
        let key = self.key(name);
        let until = self.locked_until(lock);
        let retention = ObjectLockRetention::builder()
            .mode(ObjectLockRetentionMode::from(mode_word(lock.mode)))
            .retain_until_date(until)
            .build();
        let keep = |client: Client| {
            let keep = client.put_object_retention().bucket(self.bucket()).key(&key);
            keep.retention(retention.clone()).send()
        };
        self.ask(keep).await.map_err(|failed| flat(failed, "keep", name))?;
        Ok(whole_seconds(Some(&until)))
    }

    fn keeps_for(&self) -> Option<Duration> {
        self.settings.lock.map(|lock| lock.period)
    }
}

fn mode_word(mode: LockMode) -> &'static str {
    match mode {
        LockMode::Governance => "GOVERNANCE",
        LockMode::Compliance => "COMPLIANCE",
    }
}

fn flat(failed: Result<Refusal, StoreError>, action: &'static str, object: &str) -> StoreError {
    match failed {
        Ok(refusal) => refusal.on(action, object),
        Err(error) => error,
    }
}

/// A body that did not come whole.
fn lost(name: &str, error: impl Error + Send + Sync + 'static) -> StoreError {
    let failure = super::http::find::<HttpError>(&error).map(HttpError::failure);
    StoreError::new(failure.unwrap_or(Failure::Transient), "read", name, error)
}

/// Lists know parts of a second, single answers do not: both must agree.
fn whole_seconds(time: Option<&DateTime>) -> SystemTime {
    let seconds = time.map_or(0, DateTime::secs);
    let since = Duration::from_secs(seconds.unsigned_abs());
    let moment = match seconds < 0 {
        true => SystemTime::UNIX_EPOCH.checked_sub(since),
        false => SystemTime::UNIX_EPOCH.checked_add(since),
    };
    moment.unwrap_or(SystemTime::UNIX_EPOCH)
}
