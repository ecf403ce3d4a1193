//! What decides how a location is reached, besides where it is: limits, patience, TLS, options and
//! credentials.
//!
//! Invariants: whoever embeds the engine gathers all of it; the engine reads neither environment
//! nor configuration files to find it. `Default` is what the original tool does without options.
//!
//! Not here: where (`location`).

mod bucket;
mod drive;
mod http;
mod remote;
mod s3;

use std::{
    num::{NonZeroU64, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

pub use bucket::{Azure, AzureCredentials, B2, Gcs, GcsCredentials, Swift};
pub use drive::{Drive, DriveCredentials};
pub use http::{Http, Proxies};
pub use remote::{Rclone, RcloneFiles, Rest, Sftp, WebDav};
pub use s3::{
    AssumeRole, BucketLookup, Lock, LockMode, Profile, S3, S3Credentials, StaticKeys, WebIdentity,
};
use windlass_format::secret::Password;

/// Text that is a secret: a key, a token.
pub type SecretText = Password;

/// How stores are reached. The parts of services that a location does not use are not looked at.
#[derive(Clone, Debug, Default)]
pub struct StoreSettings {
    /// What the names of all objects in a bucket begin with, after the location's own prefix.
    pub stem: String,
    /// Requests that may be under way at once; `None` for what suits the service.
    pub connections: Option<NonZeroUsize>,
    /// Bytes on their way, whatever they are for.
    pub limits: Limits,
    /// A directory where what is to be sent waits, rather than in memory; sealed, and in files
    /// without a name.
    pub spool: Option<PathBuf>,
    /// Trying again.
    pub patience: Patience,
    /// Whatever is reached by HTTP.
    pub http: Http,
    /// As [`Location::S3`](super::location::Location::S3); the others likewise.
    pub s3: S3,
    /// See `s3`.
    pub azure: Azure,
    /// See `s3`.
    pub gcs: Gcs,
    /// See `s3`.
    pub b2: B2,
    /// See `s3`.
    pub swift: Swift,
    /// See `s3`.
    pub rest: Rest,
    /// See `s3`.
    pub sftp: Sftp,
    /// See `s3`.
    pub rclone: Rclone,
    /// See `s3`.
    pub webdav: WebDav,
    /// See `s3`.
    pub drive: Drive,
}

/// The most bytes in a second; `None` for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// To the store.
    pub up: Option<NonZeroU64>,
    /// From the store.
    pub down: Option<NonZeroU64>,
}

/// How long a call is tried again that failed in a way that may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// From the first failure on, while the store has answered to something before.
    pub outage: Duration,
    /// From the first failure on, while nothing has worked yet: more likely a wrong address than
    /// an outage.
    pub first_contact: Duration,
    /// The same while nobody is at that address at all.
    pub nobody: Duration,
    /// The most tries of one call; `None` for as many as fit.
    pub tries: Option<u32>,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            outage: Duration::from_mins(15),
            first_contact: Duration::from_mins(1),
            nobody: Duration::from_secs(5),
            tries: None,
        }
    }
}
