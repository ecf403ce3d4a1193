//! What the other services with buckets need.

use std::path::PathBuf;

use super::SecretText;

/// Azure Blob Storage.
#[derive(Clone, Debug, Default)]
pub struct Azure {
    /// The storage account.
    pub account: Option<String>,
    /// What comes after `blob.` in its host; `None` for the public cloud.
    pub endpoint_suffix: Option<String>,
    /// Who asks.
    pub credentials: AzureCredentials,
}

/// The first of these that is there, then the machine's own identity.
#[derive(Clone, Debug, Default)]
pub struct AzureCredentials {
    /// The account's key.
    pub key: Option<SecretText>,
    /// A signature that grants what it says.
    pub sas: Option<SecretText>,
    /// The tenant of the application below.
    pub tenant: Option<String>,
    /// An application.
    pub client: Option<String>,
    /// Its secret.
    pub client_secret: Option<SecretText>,
    /// A file with a token that stands for it.
    pub federated_token_file: Option<PathBuf>,
    /// Where the login service is, if not at its usual address.
    pub authority: Option<String>,
    /// Whether the login of the service's command line is used and nothing else.
    pub command_line: bool,
}

/// Google Cloud Storage.
#[derive(Clone, Debug, Default)]
pub struct Gcs {
    /// The project that new buckets belong to.
    pub project: Option<String>,
    /// Where new buckets are; `None` for `us`.
    pub region: Option<String>,
    /// Another address of the service.
    pub endpoint: Option<String>,
    /// Who asks.
    pub credentials: GcsCredentials,
}

/// The first of these that is there, then the machine's own identity.
#[derive(Clone, Debug, Default)]
pub struct GcsCredentials {
    /// A token that is used as it is.
    pub access_token: Option<SecretText>,
    /// What such a file as the next one holds, for a service account's key.
    pub key: Option<SecretText>,
    /// A file with a service account's key, a user's login or a federated identity.
    pub file: Option<PathBuf>,
    /// Where the service's command line leaves such a file.
    pub home: Option<PathBuf>,
    /// Whether requests are not signed at all.
    pub anonymous: bool,
}

/// Backblaze B2.
#[derive(Clone, Debug)]
pub struct B2 {
    /// The application key's id.
    pub key_id: Option<String>,
    /// The application key.
    pub key: Option<SecretText>,
    /// Where an account says which region it is in.
    pub account_service: String,
}

impl Default for B2 {
    fn default() -> Self {
        let account_service = "https://api.backblazeb2.com".to_owned();
        Self { key_id: None, key: None, account_service }
    }
}

/// OpenStack Swift.
#[derive(Clone, Debug, Default)]
pub struct Swift {
    /// Where logins are made.
    pub auth_url: Option<String>,
    /// The region to use.
    pub region: Option<String>,
    /// Who logs in, by name.
    pub user: Option<String>,
    /// Who logs in, by id.
    pub user_id: Option<String>,
    /// The password or key.
    pub password: Option<SecretText>,
    /// The user's domain, by name.
    pub user_domain: Option<String>,
    /// The user's domain, by id.
    pub user_domain_id: Option<String>,
    /// The project, by name.
    pub project: Option<String>,
    /// The project, by id.
    pub project_id: Option<String>,
    /// The project's domain, by name.
    pub project_domain: Option<String>,
    /// The project's domain, by id.
    pub project_domain_id: Option<String>,
    /// A trust to act under.
    pub trust_id: Option<String>,
    /// An application credential, by id.
    pub application_id: Option<String>,
    /// An application credential, by name.
    pub application_name: Option<String>,
    /// Its secret.
    pub application_secret: Option<SecretText>,
    /// The address of the storage, where no login is made.
    pub storage_url: Option<String>,
    /// The token to use there.
    pub auth_token: Option<SecretText>,
    /// The policy of new containers.
    pub container_policy: Option<String>,
}
