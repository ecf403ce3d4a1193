//! What S3 needs.

use std::{path::PathBuf, time::Duration};

use super::SecretText;

/// How a bucket is reached.
#[derive(Clone, Debug, Default)]
pub struct S3 {
    /// The region that requests are signed for; `None` to find it out.
    pub region: Option<String>,
    /// Where the bucket's name goes.
    pub bucket_lookup: BucketLookup,
    /// Whether the listing call of old servers is used.
    pub list_v1: bool,
    /// The class that objects are stored in. Classes that take hours to read back are used for
    /// packs of file contents only.
    pub storage_class: Option<String>,
    /// Whether new objects are kept from deletion by the server.
    pub lock: Option<Lock>,
    /// Who asks.
    pub credentials: S3Credentials,
}

/// Where the name of a bucket goes in a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BucketLookup {
    /// Into the host's name at services known to want that, else into the path.
    #[default]
    Auto,
    /// Into the host's name.
    Dns,
    /// Into the path.
    Path,
}

/// Objects that nobody can delete for some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Whom it binds.
    pub mode: LockMode,
    /// For how long from each put on.
    pub period: Duration,
}

/// Whom a lock binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// All without a special permission.
    Governance,
    /// Everybody.
    Compliance,
}

/// Where credentials come from: the first of these that is there. Those that end are fetched anew
/// in time.
#[derive(Clone, Debug, Default)]
pub struct S3Credentials {
    /// Whether requests are not signed at all.
    pub anonymous: bool,
    /// Given outright.
    pub keys: Option<StaticKeys>,
    /// A token in a file that a service exchanges.
    pub web_identity: Option<WebIdentity>,
    /// Configuration files with profiles.
    pub profile: Profile,
    /// Whether an agent beside this process is asked. Only the SDK's own variables say where it is
    /// and how it is asked, and only the SDK reads them.
    pub container: bool,
    /// Whether the machine's own metadata service is not asked.
    pub no_machine: bool,
    /// Where that service is, if not at its usual address.
    pub machine_endpoint: Option<String>,
    /// The role to change into with them.
    pub assume_role: Option<AssumeRole>,
}

/// A pair of keys.
#[derive(Clone, Debug)]
pub struct StaticKeys {
    /// Which.
    pub id: String,
    /// The secret half.
    pub secret: SecretText,
    /// What goes along with keys that end.
    pub session_token: Option<SecretText>,
}

/// A token in a file, and the role that it is exchanged for.
#[derive(Clone, Debug)]
pub struct WebIdentity {
    /// The file.
    pub token_file: PathBuf,
    /// The role.
    pub role: String,
    /// What the session is called.
    pub session_name: Option<String>,
}

/// Which configuration files count, and which profile in them.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// Its name; `None` for `default`.
    pub name: Option<String>,
    /// The file with settings, if not at its usual place.
    pub config_file: Option<PathBuf>,
    /// The file with keys, if not at its usual place.
    pub credentials_file: Option<PathBuf>,
    /// Where the usual places are.
    pub home: Option<PathBuf>,
}

/// A role to change into.
#[derive(Clone, Debug, Default)]
pub struct AssumeRole {
    /// The role.
    pub role: String,
    /// What the session is called.
    pub session_name: Option<String>,
    /// What the role's owner demands to be told.
    pub external_id: Option<String>,
    /// What the session may do at most, as JSON.
    pub policy: Option<String>,
    /// The region of the service that grants it.
    pub region: Option<String>,
    /// Where that service is.
    pub endpoint: Option<String>,
}
