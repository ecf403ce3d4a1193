//! Google Cloud Storage: projects, service accounts, identities.

use std::{fs, sync::Arc};

use async_trait::async_trait;
use http::{Method, Request, StatusCode, header};
use object_store::{
    Error, ObjectStore, RetryConfig,
    client::{HttpResponse, HttpService},
    gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder},
    list::PaginatedListStore,
};

use super::{
    Bucket, Service,
    bridge::{Bridge, unusable},
};
use crate::store::{
    StoreError, limit::Limiter, location, settings::StoreSettings, trace::Observer,
};

const PUBLIC_ENDPOINT: &str = "https://storage.googleapis.com";
const REGION: &str = "us";

/// The place in the bucket at `location`.
pub fn open(
    location: &location::Bucket,
    name: String,
    settings: &StoreSettings,
    limiter: &Arc<Limiter>,
    observer: &Observer,
) -> Result<Bucket, StoreError> {
    let (gcs, given) = (&settings.gcs, &settings.gcs.credentials);
    let endpoint = gcs.endpoint.as_deref().unwrap_or(PUBLIC_ENDPOINT).trim_end_matches('/');
    let bridge = Bridge::new(settings, limiter, observer)
        .map_err(|error| error.on("open", name.as_str()))?;
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(location.name.as_str())
        .with_base_url(endpoint)
        .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
        .with_http_connector(bridge.clone());
    if given.anonymous {
        // Nothing is looked for, and nothing is signed.
        builder = builder.with_skip_signature(true).with_bearer_token("");
    } else if let Some(token) = &given.access_token {
        let token = std::str::from_utf8(token.expose())
            .map_err(|_secret| unusable(&name, "the access token is not text"))?;
        builder = builder.with_bearer_token(token);
    } else if let Some(key) = &given.key {
        let key = std::str::from_utf8(key.expose())
            .map_err(|_secret| unusable(&name, "the service account's key is not text"))?;
        builder = builder.with_service_account_key(key);
    } else if let Some(file) = given.file.as_ref().or(given.home.as_ref().filter(|f| f.exists())) {
        // The library repeats the path and not what is in it.
        fs::metadata(file).map_err(|error| {
            let why = format!("the credentials in {} cannot be read: {error}", file.display());
            unusable(&name, why).advising("look at GOOGLE_APPLICATION_CREDENTIALS")
        })?;
        builder = builder.with_application_credentials(file.to_string_lossy());
    }
    let client = builder.build().map_err(|error| {
        unusable(&name, error).advising("look at GOOGLE_APPLICATION_CREDENTIALS")
    })?;
    let service = Gcs {
        client,
        bucket: location.name.clone(),
        project: gcs.project.clone().unwrap_or_default(),
        region: gcs.region.clone().unwrap_or_else(|| REGION.to_owned()),
        endpoint: endpoint.to_owned(),
        anonymous: given.anonymous,
        bridge,
    };
    Ok(Bucket::new(name, &location.prefix, service))
}

#[derive(Debug)]
struct Gcs {
    client: GoogleCloudStorage,
    bucket: String,
    project: String,
    region: String,
    endpoint: String,
    anonymous: bool,
    bridge: Bridge,
}

#[async_trait]
impl Service for Gcs {
    fn objects(&self) -> &dyn ObjectStore {
        &self.client
    }

    fn lists(&self) -> &dyn PaginatedListStore {
        &self.client
    }

    async fn probe(&self, _of_the_bucket_itself: &str) -> Result<(), Error> {
        let url = format!("{}/storage/v1/b/{}?fields=name", self.endpoint, self.bucket);
        match self.ask(Method::GET, &url, String::new()).await?.status() {
            status if status.is_success() => Ok(()),
            // What may not be looked at is there, or the first object will say that it is not.
            StatusCode::FORBIDDEN => Ok(()),
            _ => Err(generic("the bucket did not answer")),
        }
    }

    async fn create(&self) -> Result<(), Error> {
        let body = serde_json::json!({ "name": self.bucket, "location": self.region });
        let url = format!("{}/storage/v1/b?project={}", self.endpoint, self.project);
        let answer = self.ask(Method::POST, &url, body.to_string()).await?;
        // Somebody else may have been faster.
        if answer.status().is_success() || answer.status() == StatusCode::CONFLICT {
            return Ok(());
        }
        Err(generic("the bucket was not created"))
    }
}

impl Gcs {
    /// Asks for what the library has no word for.
    async fn ask(&self, method: Method, url: &str, body: String) -> Result<HttpResponse, Error> {
        let mut request = Request::builder().method(method).uri(url);
        request = request.header(header::CONTENT_TYPE, "application/json");
        if !self.anonymous {
            let credential = self.client.credentials().get_credential().await?;
            request =
                request.header(header::AUTHORIZATION, format!("Bearer {}", credential.bearer));
        }
        let request = request.body(body.into()).map_err(generic)?;
        self.bridge.call(request).await.map_err(generic)
    }
}

fn generic(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Generic { store: "GCS", source: source.into() }
}
