//! Tokens: versions 1, 2 and 3 of the ways to get one.
//!
//! Invariants: which version it is, the address says; what is logged in with is what the settings
//! say and nothing else.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header::CONTENT_TYPE};
use http_body_util::Full;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::refusal::refused;
use crate::store::{
    Failure, StoreError,
    http::{HttpError, Transport, is_page},
    settings::{SecretText, Swift},
};

/// Who is let in where.
#[derive(Debug)]
pub(super) struct Session {
    /// The account: containers are below it.
    pub(super) storage: Url,
    pub(super) token: HeaderValue,
}

const MOST_BYTES: usize = 8 << 20;
const ACTION: &str = "log in";
const OBJECT_STORE: &str = "object-store";

/// A service in the catalogue of version 3.
#[derive(Debug, Deserialize)]
struct Service {
    r#type: String,
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

/// Where one is: version 3 has an address for each interface, version 2 all in one.
#[derive(Debug, Deserialize)]
struct Endpoint {
    region: Option<String>,
    interface: Option<String>,
    url: Option<String>,
    #[serde(rename = "publicURL")]
    public_url: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Three {
    token: ThreeToken,
}

#[derive(Debug, Deserialize)]
struct ThreeToken {
    #[serde(default)]
    catalog: Vec<Service>,
}

#[derive(Debug, Deserialize)]
struct Two {
    access: TwoAccess,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TwoAccess {
    token: TwoToken,
    #[serde(default)]
    service_catalog: Vec<Service>,
}

#[derive(Debug, Deserialize)]
struct TwoToken {
    id: String,
}

/// One attempt to be let in.
pub(super) async fn log_in(
    settings: &Swift,
    transport: &Transport,
    location: &str,
) -> Result<Session, StoreError> {
    let attempt = Attempt { settings, transport, location };
    if let (Some(storage), Some(token)) = (&settings.storage_url, &settings.auth_token) {
        let token = attempt.secret(token)?;
        return Ok(Session { storage: attempt.url(storage)?, token: attempt.token(token)? });
    }
    let Some(address) = settings.auth_url.as_deref() else {
        return Err(attempt.refuse("nobody says where to log in").advising(
            "set OS_AUTH_URL, or ST_AUTH, and the variables of the login along with it",
        ));
    };
    let address = attempt.url(address)?;
    match address.as_str() {
        text if text.contains("v3") => attempt.three(&address).await,
        text if text.contains("v2") => attempt.two(&address).await,
        text if text.contains("v1") => attempt.one(&address).await,
        _ => Err(attempt
            .refuse("the address of the login does not say its version")
            .advising("use the one that ends with v3, v2.0 or v1.0")),
    }
}

struct Attempt<'a> {
    settings: &'a Swift,
    transport: &'a Transport,
    location: &'a str,
}

impl Attempt<'_> {
    fn refuse(&self, why: impl Into<String>) -> StoreError {
        StoreError::new(Failure::Permanent, ACTION, self.location, why.into())
    }

    fn url(&self, text: &str) -> Result<Url, StoreError> {
        Url::parse(text).map_err(|error| self.refuse(format!("{text:?} is no URL: {error}")))
    }

    fn secret<'s>(&self, secret: &'s SecretText) -> Result<&'s str, StoreError> {
        std::str::from_utf8(secret.expose()).map_err(|_bytes| self.refuse("a secret is not text"))
    }

    fn token(&self, text: &str) -> Result<HeaderValue, StoreError> {
        let mut token = HeaderValue::from_str(text)
            .map_err(|_secret| self.refuse("the token has characters that no header has"))?;
        token.set_sensitive(true);
        Ok(token)
    }

    /// The address of the account's containers.
    fn storage(&self, catalog: &[Service]) -> Result<Url, StoreError> {
        let region = self.settings.region.as_deref();
        let fits = |endpoint: &&Endpoint| {
            let in_region = region.is_none_or(|region| endpoint.region.as_deref() == Some(region));
            in_region && endpoint.interface.as_deref().is_none_or(|it| it == "public")
        };
        let stores = catalog.iter().filter(|service| service.r#type == OBJECT_STORE);
        let mut endpoints = stores.flat_map(|service| &service.endpoints).filter(fits);
        let url = endpoints.find_map(|it| it.url.as_ref().or(it.public_url.as_ref()));
        match (url, region) {
            (Some(url), _) => self.url(url),
            (None, Some(region)) => Err(self
                .refuse(format!("the login names no object store in region {region}"))
                .advising("look at OS_REGION_NAME")),
            (None, None) => Err(self
                .refuse("the login names no object store")
                .advising("look at the project: OS_PROJECT_NAME or OS_TENANT_ID")),
        }
    }

    async fn ask(
        &self,
        method: Method,
        address: &Url,
        headers: HeaderMap,
        body: Option<Value>,
    ) -> Result<Response<Bytes>, StoreError> {
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() =
            address.as_str().parse().map_err(|_url| self.refuse("the address is no URL"))?;
        *request.headers_mut() = headers;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let failed = |error: HttpError| error.on(ACTION, self.location);
        let (head, body) = self.transport.send(request).await.map_err(failed)?.into_parts();
        let body = body.collect(MOST_BYTES).await.map_err(failed)?;
        let answer = Response::from_parts(head, body);
        match answer.status().is_success() && !is_page(answer.headers()) {
            true => Ok(answer),
            false => Err(refused(ACTION, self.location, answer)),
        }
    }

    fn parsed<T: for<'d> Deserialize<'d>>(&self, body: &Bytes) -> Result<T, StoreError> {
        serde_json::from_slice(body)
            .map_err(|_secret| self.refuse("the answer to the login is not usable"))
    }

    fn header(&self, answer: &Response<Bytes>, name: &str) -> Result<String, StoreError> {
        let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
        value
            .map(str::to_owned)
            .ok_or_else(|| self.refuse(format!("the answer to the login has no {name}")))
    }

    async fn one(&self, address: &Url) -> Result<Session, StoreError> {
        let mut headers = HeaderMap::new();
        let user = self.settings.user.as_deref().unwrap_or_default();
        let key = self.settings.password.as_ref().map(|key| self.secret(key)).transpose()?;
        headers.insert("x-auth-user", self.token(user)?);
        headers.insert("x-auth-key", self.token(key.unwrap_or_default())?);
        let answer = self.ask(Method::GET, address, headers, None).await?;
        let storage = self.url(&self.header(&answer, "x-storage-url")?)?;
        let token = self.token(&self.header(&answer, "x-auth-token")?)?;
        Ok(Session { storage, token })
    }

    async fn two(&self, address: &Url) -> Result<Session, StoreError> {
        let Swift { user, password, project, project_id, .. } = self.settings;
        let password = password.as_ref().map(|key| self.secret(key)).transpose()?;
        let mut auth = json!({
            "passwordCredentials": { "username": user, "password": password },
        });
        insert(&mut auth, "tenantName", project);
        insert(&mut auth, "tenantId", project_id);
        let address = below(address, &["tokens"]);
        let body = Some(json!({ "auth": auth }));
        let answer = self.ask(Method::POST, &address, HeaderMap::new(), body).await?;
        let Two { access } = self.parsed(answer.body())?;
        let storage = self.storage(&access.service_catalog)?;
        Ok(Session { storage, token: self.token(&access.token.id)? })
    }

    async fn three(&self, address: &Url) -> Result<Session, StoreError> {
        let address = below(address, &["auth", "tokens"]);
        let body = Some(json!({ "auth": self.three_auth()? }));
        let answer = self.ask(Method::POST, &address, HeaderMap::new(), body).await?;
        let Three { token } = self.parsed(answer.body())?;
        let storage = self.storage(&token.catalog)?;
        Ok(Session { storage, token: self.token(&self.header(&answer, "x-subject-token")?)? })
    }

    /// Who logs in, and for which project.
    fn three_auth(&self) -> Result<Value, StoreError> {
        let swift = self.settings;
        let user_domain = domain(&swift.user_domain, &swift.user_domain_id);
        let user = || {
            let mut user = json!({});
            insert(&mut user, "name", &swift.user);
            insert(&mut user, "id", &swift.user_id);
            insert(&mut user, "domain", &user_domain);
            user
        };
        let secret = |secret: &Option<SecretText>| {
            secret.as_ref().map(|secret| self.secret(secret).map(str::to_owned)).transpose()
        };
        if swift.application_id.is_some() || swift.application_name.is_some() {
            let mut credential = json!({ "secret": secret(&swift.application_secret)? });
            insert(&mut credential, "id", &swift.application_id);
            if swift.application_id.is_none() {
                insert(&mut credential, "name", &swift.application_name);
                insert(&mut credential, "user", &Some(user()));
            }
            // It is for one project already.
            return Ok(json!({ "identity": {
                "methods": ["application_credential"], "application_credential": credential,
            } }));
        }
        let mut user = user();
        insert(&mut user, "password", &secret(&swift.password)?);
        let identity = json!({ "methods": ["password"], "password": { "user": user } });
        let mut auth = json!({ "identity": identity });
        if let Some(trust) = &swift.trust_id {
            insert(&mut auth, "scope", &Some(json!({ "OS-TRUST:trust": { "id": trust } })));
        } else if let Some(id) = &swift.project_id {
            insert(&mut auth, "scope", &Some(json!({ "project": { "id": id } })));
        } else if let Some(name) = &swift.project {
            let of_project = domain(&swift.project_domain, &swift.project_domain_id);
            let domain = of_project.or(user_domain).unwrap_or(json!({ "name": "Default" }));
            let project = json!({ "name": name, "domain": domain });
            insert(&mut auth, "scope", &Some(json!({ "project": project })));
        }
        Ok(auth)
    }
}

fn domain(name: &Option<String>, id: &Option<String>) -> Option<Value> {
    name.as_ref()
        .map(|name| json!({ "name": name }))
        .or_else(|| id.as_ref().map(|id| json!({ "id": id })))
}

/// Adds what is there.
fn insert(object: &mut Value, key: &str, value: &Option<impl serde::Serialize>) {
    if let (Some(object), Some(value)) = (object.as_object_mut(), value) {
        object.insert(key.to_owned(), json!(value));
    }
}

fn below(address: &Url, path: &[&str]) -> Url {
    let mut url = address.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url
}
