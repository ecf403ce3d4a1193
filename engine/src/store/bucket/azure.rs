//! Azure Blob Storage: accounts, keys, signatures, identities.

use std::sync::Arc;

use async_trait::async_trait;
use http::{Method, Request};
use object_store::{
    Error, ObjectStore, RetryConfig,
    azure::{AzureAuthorizer, AzureCredential, MicrosoftAzure, MicrosoftAzureBuilder, split_sas},
    client::{HttpRequestBody, HttpService},
    list::PaginatedListStore,
};
use url::Url;

use super::{
    Bucket, Service,
    bridge::{Bridge, unusable},
};
use crate::store::{
    StoreError,
    limit::Limiter,
    location,
    settings::{SecretText, StoreSettings},
    trace::Observer,
};

const PUBLIC_CLOUD: &str = "core.windows.net";

/// The place in the container at `location`.
pub fn open(
    location: &location::Bucket,
    name: String,
    settings: &StoreSettings,
    limiter: &Arc<Limiter>,
    observer: &Observer,
) -> Result<Bucket, StoreError> {
    let azure = &settings.azure;
    let account = azure.account.clone().ok_or_else(|| {
        unusable(&name, "nobody says which storage account").advising("set AZURE_ACCOUNT_NAME")
    })?;
    let suffix = azure.endpoint_suffix.as_deref().unwrap_or(PUBLIC_CLOUD);
    // An emulator has no host for each account.
    let endpoint = match suffix.contains("://") {
        true => suffix.trim_end_matches('/').to_owned(),
        false => format!("https://{account}.blob.{suffix}"),
    };
    let unreadable =
        |what: &str| unusable(&name, format!("{what} is not text")).advising("look at it again");
    let text = |secret: &SecretText, what: &str| {
        let text = std::str::from_utf8(secret.expose()).map(str::to_owned);
        text.map_err(|_secret| unreadable(what))
    };
    let bridge = Bridge::new(settings, limiter, observer)
        .map_err(|error| error.on("open", name.as_str()))?;
    let mut builder = MicrosoftAzureBuilder::new()
        .with_account(account.as_str())
        .with_container_name(location.name.as_str())
        .with_endpoint(endpoint.clone())
        .with_allow_http(endpoint.starts_with("http://"))
        .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
        .with_http_connector(bridge.clone());
    let given = &azure.credentials;
    if let Some(authority) = &given.authority {
        builder = builder.with_authority_host(authority.as_str());
    }
    if given.command_line {
        builder = builder.with_use_azure_cli(true);
    } else if let Some(key) = &given.key {
        builder = builder.with_access_key(text(key, "the account's key")?);
    } else if let Some(sas) = &given.sas {
        let pairs = split_sas(&text(sas, "the signature")?)
            .map_err(|_secret| unusable(&name, "the signature is no list of name=value"))?;
        builder = builder.with_sas_authorization(pairs);
    } else {
        if let Some(tenant) = &given.tenant {
            builder = builder.with_tenant_id(tenant.as_str());
        }
        if let Some(client) = &given.client {
            builder = builder.with_client_id(client.as_str());
        }
        if let Some(secret) = &given.client_secret {
            builder = builder.with_client_secret(text(secret, "the application's secret")?);
        }
        if let Some(file) = &given.federated_token_file {
            builder = builder.with_federated_token_file(file.to_string_lossy());
        }
    }
    let client = builder.build().map_err(|error| {
        unusable(&name, error).advising("look at AZURE_ACCOUNT_NAME, AZURE_ACCOUNT_KEY and others")
    })?;
    let container = Url::parse(&format!("{endpoint}/{}?restype=container", location.name))
        .map_err(|error| unusable(&name, error))?;
    let service = Azure { client, account, container, bridge };
    Ok(Bucket::new(name, &location.prefix, service))
}

#[derive(Debug)]
struct Azure {
    client: MicrosoftAzure,
    account: String,
    /// Where the container itself is.
    container: Url,
    bridge: Bridge,
}

#[async_trait]
impl Service for Azure {
    fn objects(&self) -> &dyn ObjectStore {
        &self.client
    }

    fn lists(&self) -> &dyn PaginatedListStore {
        &self.client
    }

    async fn create(&self) -> Result<(), Error> {
        let generic = |source| Error::Generic { store: "MicrosoftAzure", source };
        let credential = self.client.credentials().get_credential().await?;
        let mut url = self.container.clone();
        if let AzureCredential::SASToken(pairs) = credential.as_ref() {
            url.query_pairs_mut().extend_pairs(pairs);
        }
        let request = Request::builder().method(Method::PUT).uri(url.as_str());
        let request = request.header(http::header::CONTENT_LENGTH, 0);
        let mut request =
            request.body(HttpRequestBody::empty()).map_err(|error| generic(error.into()))?;
        if !matches!(credential.as_ref(), AzureCredential::SASToken(_)) {
            AzureAuthorizer::new(&credential, &self.account).try_authorize(&mut request)?;
        }
        let answer = self.bridge.call(request).await.map_err(|error| generic(error.into()))?;
        // Somebody else may have been faster.
        if answer.status().is_success() || answer.status() == http::StatusCode::CONFLICT {
            return Ok(());
        }
        Err(generic("the container was not created".into()))
    }
}
