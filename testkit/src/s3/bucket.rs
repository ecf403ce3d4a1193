//! Buckets in memory, and what is allowed in them.
//!
//! Invariants: an object is there whole or not at all; a listing is in the order of keys; what is
//! locked is neither deleted nor written over.

use std::{
    collections::{BTreeMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use bytes::Bytes;
use s3s::{
    Body, S3, S3Request, S3Response, S3Result,
    dto::{
        CommonPrefix, CreateBucketInput, CreateBucketOutput, DeleteObjectInput, DeleteObjectOutput,
        ETag, ETagCondition, GetBucketLocationInput, GetBucketLocationOutput, GetObjectInput,
        GetObjectOutput, GetObjectRetentionInput, GetObjectRetentionOutput, HeadBucketInput,
        HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListObjectsInput, ListObjectsOutput,
        ListObjectsV2Input, ListObjectsV2Output, Object, ObjectLockMode, ObjectLockRetention,
        ObjectLockRetentionMode, PutObjectInput, PutObjectOutput, PutObjectRetentionInput,
        PutObjectRetentionOutput, StreamingBlob, Timestamp, TimestampFormat,
    },
    s3_error,
};

/// What the credentials may not do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// Removing objects.
    pub no_delete: bool,
    /// Writing where an object is.
    pub no_overwrite: bool,
    /// Looking whether the bucket is there, or making it.
    pub no_bucket: bool,
}

/// Retention of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// `GOVERNANCE` or `COMPLIANCE`.
    pub mode: String,
    /// When it ends.
    pub until: Timestamp,
}

impl Retention {
    /// When it ends, in seconds since 1970.
    ///
    /// # Panics
    /// Never: what is kept was a time.
    #[must_use]
    pub fn until_seconds(&self) -> u64 {
        let mut text = Vec::new();
        self.until.format(TimestampFormat::EpochSeconds, &mut text).expect("a time");
        let text = String::from_utf8(text).expect("digits");
        let whole = text.split('.').next().unwrap_or_default();
        whole.parse().expect("after 1970")
    }
}

#[derive(Clone, Debug)]
struct Stored {
    bytes: Bytes,
    tag: String,
    modified: Timestamp,
    class: Option<String>,
    retention: Option<Retention>,
}

#[derive(Debug, Default)]
struct State {
    buckets: BTreeMap<String, BTreeMap<String, Stored>>,
    rules: Rules,
}

/// All of a server. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Buckets(Arc<Mutex<State>>);

/// More than any test puts.
const MOST_BYTES: usize = 1 << 30;
const PAGE: usize = 1000;

impl Buckets {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_rules(&self, rules: Rules) {
        self.lock().rules = rules;
    }

    pub(super) fn make(&self, bucket: &str) {
        self.lock().buckets.entry(bucket.to_owned()).or_default();
    }

    pub(super) fn retention(&self, bucket: &str, key: &str) -> Option<Retention> {
        self.lock().buckets.get(bucket)?.get(key)?.retention.clone()
    }

    pub(super) fn keys(&self, bucket: &str) -> Vec<String> {
        self.lock().buckets.get(bucket).map(|it| it.keys().cloned().collect()).unwrap_or_default()
    }

    fn get(&self, bucket: &str, key: &str) -> S3Result<Stored> {
        let state = self.lock();
        let objects = state.buckets.get(bucket).ok_or_else(|| s3_error!(NoSuchBucket))?;
        objects.get(key).cloned().ok_or_else(|| s3_error!(NoSuchKey))
    }

    fn rows(&self, asked: &Asked<'_>) -> S3Result<Rows> {
        let state = self.lock();
        let objects = state.buckets.get(asked.bucket).ok_or_else(|| s3_error!(NoSuchBucket))?;
        let mut rows = Rows::default();
        let most = asked.most.and_then(|most| usize::try_from(most).ok()).unwrap_or(PAGE).min(PAGE);
        let from = asked.after.unwrap_or_default().max(asked.prefix);
        for (key, stored) in objects.range(from.to_owned()..) {
            let Some(rest) = key.strip_prefix(asked.prefix) else { break };
            if asked.after.is_some_and(|after| {
                key.as_str() <= after || (after.ends_with('/') && key.starts_with(after))
            }) {
                continue;
            }
            // As some clients ask, a delimiter without letters is none.
            let group = asked.delimiter.filter(|it| !it.is_empty()).and_then(|delimiter| {
                let (head, _) = rest.split_once(delimiter)?;
                Some(format!("{}{head}{delimiter}", asked.prefix))
            });
            if group.is_some() && rows.groups.last() == group.as_ref() {
                continue;
            }
            if rows.objects.len() + rows.groups.len() == most {
                rows.is_truncated = true;
                break;
            }
            rows.last = Some(group.clone().unwrap_or_else(|| key.clone()));
            match group {
                Some(group) => rows.groups.push(group),
                None => rows.objects.push(Object {
                    key: Some(key.clone()),
                    size: Some(len(&stored.bytes)),
                    last_modified: Some(stored.modified.clone()),
                    e_tag: Some(ETag::Strong(stored.tag.clone())),
                    ..Object::default()
                }),
            }
        }
        Ok(rows)
    }
}

struct Asked<'a> {
    bucket: &'a str,
    prefix: &'a str,
    delimiter: Option<&'a str>,
    after: Option<&'a str>,
    most: Option<i32>,
}

#[derive(Default)]
struct Rows {
    objects: Vec<Object>,
    groups: Vec<String>,
    is_truncated: bool,
    last: Option<String>,
}

impl Rows {
    fn prefixes(&self) -> Vec<CommonPrefix> {
        self.groups.iter().map(|group| CommonPrefix { prefix: Some(group.clone()) }).collect()
    }
}

fn len(bytes: &Bytes) -> i64 {
    i64::try_from(bytes.len()).expect("objects are small")
}

/// Not a digest as servers have it: it only has to change with the content.
fn tag_of(bytes: &Bytes) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[async_trait::async_trait]
impl S3 for Buckets {
    async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let mut state = self.lock();
        if state.rules.no_bucket {
            return Err(s3_error!(AccessDenied));
        }
        if state.buckets.contains_key(&request.input.bucket) {
            return Err(s3_error!(BucketAlreadyOwnedByYou));
        }
        state.buckets.insert(request.input.bucket, BTreeMap::new());
        Ok(S3Response::new(CreateBucketOutput::default()))
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        let state = self.lock();
        if state.rules.no_bucket {
            return Err(s3_error!(AccessDenied));
        }
        match state.buckets.contains_key(&request.input.bucket) {
            true => Ok(S3Response::new(HeadBucketOutput::default())),
            false => Err(s3_error!(NoSuchBucket)),
        }
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        match self.lock().buckets.contains_key(&request.input.bucket) {
            true => Ok(S3Response::new(GetBucketLocationOutput::default())),
            false => Err(s3_error!(NoSuchBucket)),
        }
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let stored = self.get(&request.input.bucket, &request.input.key)?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: Some(len(&stored.bytes)),
            e_tag: Some(ETag::Strong(stored.tag.clone())),
            last_modified: Some(stored.modified),
            storage_class: stored.class.map(Into::into),
            ..HeadObjectOutput::default()
        }))
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let stored = self.get(&request.input.bucket, &request.input.key)?;
        let whole = stored.bytes.len();
        let (bytes, content_range) = match request.input.range {
            None => (stored.bytes.clone(), None),
            Some(range) => {
                let range = range.check(whole as u64)?;
                if range.is_empty() {
                    return Err(s3_error!(InvalidRange));
                }
                let at = |at: u64| usize::try_from(at).expect("objects are small");
                let told = format!("bytes {}-{}/{whole}", range.start, range.end - 1);
                (stored.bytes.slice(at(range.start)..at(range.end)), Some(told))
            }
        };
        Ok(S3Response::new(GetObjectOutput {
            content_length: Some(len(&bytes)),
            body: Some(StreamingBlob::from(Body::from(bytes))),
            content_range,
            e_tag: Some(ETag::Strong(stored.tag.clone())),
            last_modified: Some(stored.modified),
            ..GetObjectOutput::default()
        }))
    }

    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        let mut body = input.body.map_or_else(Body::empty, Body::from);
        let read = body.store_all_limited(MOST_BYTES).await;
        let bytes = read.map_err(|_cut_off| s3_error!(IncompleteBody))?;
        if input.content_length.is_some_and(|told| told != len(&bytes)) {
            return Err(s3_error!(IncompleteBody));
        }
        let mode = input.object_lock_mode.as_ref().map(ObjectLockMode::as_str);
        let retention = mode.zip(input.object_lock_retain_until_date);
        let retention = retention.map(|(mode, until)| Retention { mode: mode.to_owned(), until });
        if retention.is_some() && input.content_md5.is_none() {
            return Err(s3_error!(InvalidRequest, "Content-MD5 is required with object lock"));
        }
        let tag = tag_of(&bytes);
        let mut state = self.lock();
        let no_overwrite = state.rules.no_overwrite;
        let objects = state.buckets.get_mut(&input.bucket);
        let objects = objects.ok_or_else(|| s3_error!(NoSuchBucket))?;
        if let Some(old) = objects.get(&input.key) {
            if matches!(input.if_none_match, Some(ETagCondition::Any)) {
                return Err(s3_error!(PreconditionFailed));
            }
            if no_overwrite || old.retention.is_some() {
                return Err(s3_error!(AccessDenied));
            }
        }
        let e_tag = Some(ETag::Strong(tag.clone()));
        let class = input.storage_class.map(|class| class.as_str().to_owned());
        let modified = Timestamp::from(SystemTime::now());
        objects.insert(input.key, Stored { bytes, tag, modified, class, retention });
        Ok(S3Response::new(PutObjectOutput { e_tag, ..PutObjectOutput::default() }))
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let mut state = self.lock();
        if state.rules.no_delete {
            return Err(s3_error!(AccessDenied));
        }
        let objects = state.buckets.get_mut(&request.input.bucket);
        let objects = objects.ok_or_else(|| s3_error!(NoSuchBucket))?;
        if objects.get(&request.input.key).is_some_and(|object| object.retention.is_some()) {
            return Err(s3_error!(AccessDenied, "the object is locked"));
        }
        objects.remove(&request.input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn list_objects(
        &self,
        request: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        let input = request.input;
        let rows = self.rows(&Asked {
            bucket: &input.bucket,
            prefix: input.prefix.as_deref().unwrap_or_default(),
            delimiter: input.delimiter.as_deref(),
            after: input.marker.as_deref(),
            most: input.max_keys,
        })?;
        Ok(S3Response::new(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: input.prefix,
            common_prefixes: Some(rows.prefixes()),
            is_truncated: Some(rows.is_truncated),
            // Told only where groups were asked for, as the service has it.
            next_marker: rows.last.filter(|_last| rows.is_truncated && input.delimiter.is_some()),
            contents: Some(rows.objects),
            delimiter: input.delimiter,
            ..ListObjectsOutput::default()
        }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let rows = self.rows(&Asked {
            bucket: &input.bucket,
            prefix: input.prefix.as_deref().unwrap_or_default(),
            delimiter: input.delimiter.as_deref(),
            after: input.continuation_token.as_deref().or(input.start_after.as_deref()),
            most: input.max_keys,
        })?;
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: input.prefix,
            key_count: i32::try_from(rows.objects.len() + rows.groups.len()).ok(),
            common_prefixes: Some(rows.prefixes()),
            is_truncated: Some(rows.is_truncated),
            next_continuation_token: rows.last.filter(|_last| rows.is_truncated),
            contents: Some(rows.objects),
            delimiter: input.delimiter,
            ..ListObjectsV2Output::default()
        }))
    }

    async fn get_object_retention(
        &self,
        request: S3Request<GetObjectRetentionInput>,
    ) -> S3Result<S3Response<GetObjectRetentionOutput>> {
        let stored = self.get(&request.input.bucket, &request.input.key)?;
        let Some(Retention { mode, until }) = stored.retention else {
            return Err(s3_error!(NoSuchObjectLockConfiguration));
        };
        let mode = Some(ObjectLockRetentionMode::from(mode));
        let retention = Some(ObjectLockRetention { mode, retain_until_date: Some(until) });
        Ok(S3Response::new(GetObjectRetentionOutput { retention }))
    }

    async fn put_object_retention(
        &self,
        request: S3Request<PutObjectRetentionInput>,
    ) -> S3Result<S3Response<PutObjectRetentionOutput>> {
        let input = request.input;
        let asked = input.retention.ok_or_else(|| s3_error!(MalformedXML))?;
        let (Some(mode), Some(until)) = (asked.mode, asked.retain_until_date) else {
            return Err(s3_error!(MalformedXML));
        };
        let mut state = self.lock();
        let objects = state.buckets.get_mut(&input.bucket);
        let objects = objects.ok_or_else(|| s3_error!(NoSuchBucket))?;
        let object = objects.get_mut(&input.key).ok_or_else(|| s3_error!(NoSuchKey))?;
        if object.retention.as_ref().is_some_and(|old| old.until > until) {
            return Err(s3_error!(AccessDenied, "a retention is never shortened"));
        }
        object.retention = Some(Retention { mode: mode.as_str().to_owned(), until });
        Ok(S3Response::new(PutObjectRetentionOutput::default()))
    }
}
