//! Tokens: out of a service account's key or a user's login, or given.
//!
//! Invariants: what is logged in with is what the settings say and nothing else; a token is let go
//! of before it ends, by the service's own measure of time.

use std::{fs, path::Path, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderValue, Request, header::CONTENT_TYPE};
use http_body_util::Full;
use rustls::{
    SignatureScheme,
    crypto::ring::default_provider,
    pki_types::{PrivateKeyDer, pem::PemObject},
};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;
use url::form_urlencoded;

use super::refusal::refused;
use crate::{
    clock::Clock,
    store::{
        Failure, StoreError,
        http::{HttpError, Transport, is_page},
        settings,
    },
};

/// What requests are signed with.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) header: HeaderValue,
    /// From when on another is asked for.
    until: Option<Instant>,
}

/// Who asks for tokens.
#[derive(Debug)]
pub(super) struct Login {
    who: Who,
    scope: &'static str,
    location: String,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
enum Who {
    Token(settings::SecretText),
    Robot {
        email: String,
        key_id: String,
        key: settings::SecretText,
        token_uri: String,
    },
    User {
        client: String,
        client_secret: settings::SecretText,
        refresh: settings::SecretText,
        token_uri: String,
    },
}

/// A file with credentials, of whichever kind.
#[derive(Deserialize)]
struct File {
    r#type: String,
    client_email: Option<String>,
    private_key: Option<String>,
    private_key_id: Option<String>,
    token_uri: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    refresh_token: Option<String>,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default)]
    expires_in: u64,
}

const TOKEN_SERVICE: &str = "https://oauth2.googleapis.com/token";
const EVERYTHING: &str = "https://www.googleapis.com/auth/drive";
const READING: &str = "https://www.googleapis.com/auth/drive.readonly";
const BY_ASSERTION: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// How long an assertion may be used.
const ASSERTION_SECONDS: i64 = 3600;
/// How long before its end a token is not used any more.
const MARGIN: Duration = Duration::from_mins(2);
const MAX_ANSWER_BYTES: usize = 1 << 20;
const ACTION: &str = "log in";
const GIVE: &str = "set GOOGLE_APPLICATION_CREDENTIALS to a file with a service account's key, and \
                    share the folder with that account";

impl Token {
    pub(super) fn is_good(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }
}

impl Login {
    /// Reads the credentials. Nothing is asked.
    pub(super) fn new(
        settings: &settings::Drive,
        location: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let given = &settings.credentials;
        let refuse =
            |why: String| StoreError::new(Failure::Permanent, ACTION, location, why).advising(GIVE);
        let usual = given.usual_file.as_deref().filter(|file| file.exists());
        let who = match (&given.access_token, &given.key, given.file.as_deref().or(usual)) {
            (Some(token), _, _) => Who::Token(token.clone()),
            (None, Some(key), _) => Who::read(key.expose()).map_err(refuse)?,
            (None, None, Some(file)) => Who::of_file(file).map_err(refuse)?,
            (None, None, None) => return Err(refuse("nobody says who logs in".to_owned())),
        };
        let scope = if settings.read_only { READING } else { EVERYTHING };
        Ok(Self { who, scope, location: location.to_owned(), clock })
    }

    /// Whom the folder has to be shared with, where that is known.
    pub(super) fn account(&self) -> Option<&str> {
        match &self.who {
            Who::Robot { email, .. } => Some(email),
            Who::Token(_) | Who::User { .. } => None,
        }
    }

    /// Whether there is another token to be had.
    pub(super) fn renews(&self) -> bool {
        !matches!(self.who, Who::Token(_))
    }

    /// One attempt to get a token.
    pub(super) async fn log_in(&self, transport: &Transport) -> Result<Token, StoreError> {
        let (uri, form) = match &self.who {
            Who::Token(token) => {
                return Ok(Token { header: self.bearer(token.expose())?, until: None });
            }
            Who::Robot { email, key_id, key, token_uri } => {
                let assertion = self.assertion(email, key_id, key.expose(), token_uri)?;
                let form = [("grant_type", BY_ASSERTION), ("assertion", &assertion)];
                (token_uri, form_of(&form))
            }
            Who::User { client, client_secret, refresh, token_uri } => {
                let (client_secret, refresh) = (self.text(client_secret)?, self.text(refresh)?);
                let form = [
                    ("grant_type", "refresh_token"),
                    ("client_id", client),
                    ("client_secret", client_secret),
                    ("refresh_token", refresh),
                ];
                (token_uri, form_of(&form))
            }
        };
        let request = Request::post(uri.as_str())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(form)))
            .map_err(|_secret| self.refuse("the address of the login is no URL"))?;
        let began = Instant::now();
        let failed = |error: HttpError| error.on(ACTION, self.location.as_str());
        let (head, body) = transport.send(request).await.map_err(failed)?.into_parts();
        let body = body.collect(MAX_ANSWER_BYTES).await.map_err(failed)?;
        if !head.status.is_success() || is_page(&head.headers) {
            return Err(refused(ACTION, &self.location, &head, &body));
        }
        let granted: Granted = serde_json::from_slice(&body)
            .map_err(|_secret| self.refuse("the answer to the login is not usable"))?;
        let lasts = Duration::from_secs(granted.expires_in);
        // One that lasts for no longer than that is used to its end.
        let lasts = lasts.checked_sub(MARGIN).filter(|lasts| !lasts.is_zero()).unwrap_or(lasts);
        let until = (granted.expires_in > 0).then(|| began + lasts);
        Ok(Token { header: self.bearer(granted.access_token.as_bytes())?, until })
    }

    /// What a service account says of itself, signed.
    fn assertion(
        &self,
        email: &str,
        key_id: &str,
        pem: &[u8],
        audience: &str,
    ) -> Result<String, StoreError> {
        let now = self.clock.now().seconds;
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": key_id });
        let claims = json!({
            "iss": email,
            "scope": self.scope,
            "aud": audience,
            "iat": now,
            "exp": now + ASSERTION_SECONDS,
        });
        let [header, claims] =
            [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let message = format!("{header}.{claims}");
        let unusable = |what: &str| self.refuse(what).advising(GIVE);
        let key = PrivateKeyDer::from_pem_slice(pem)
            .map_err(|_secret| unusable("the service account's key is not in PEM"))?;
        let key = default_provider().key_provider.load_private_key(key);
        let key = key.map_err(|_secret| unusable("the service account's key cannot be used"))?;
        let signer = key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]);
        let signer = signer.ok_or_else(|| unusable("the service account's key is not of RSA"))?;
        let signature = signer.sign(message.as_bytes());
        let signature = signature.map_err(|error| self.refuse(&error.to_string()))?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn bearer(&self, token: &[u8]) -> Result<HeaderValue, StoreError> {
        let mut text = b"Bearer ".to_vec();
        text.extend_from_slice(token.trim_ascii());
        let mut header = HeaderValue::from_bytes(&text)
            .map_err(|_secret| self.refuse("the token has characters that no header has"))?;
        header.set_sensitive(true);
        Ok(header)
    }

    fn text<'s>(&self, secret: &'s settings::SecretText) -> Result<&'s str, StoreError> {
        std::str::from_utf8(secret.expose()).map_err(|_secret| self.refuse("a secret is not text"))
    }

    fn refuse(&self, why: &str) -> StoreError {
        StoreError::new(Failure::Permanent, ACTION, self.location.as_str(), why)
    }
}

impl Who {
    fn of_file(file: &Path) -> Result<Self, String> {
        let text = fs::read(file).map_err(|error| {
            format!("the credentials in {} cannot be read: {error}", file.display())
        })?;
        Self::read(&text).map_err(|why| format!("{}: {why}", file.display()))
    }

    /// What a file holds. A refusal repeats nothing of it.
    fn read(text: &[u8]) -> Result<Self, String> {
        let file: File = serde_json::from_slice(text).map_err(|error| {
            format!("the credentials are no JSON of a login (line {})", error.line())
        })?;
        let missing = |what: &str| format!("the credentials have no {what}");
        let secret = |text: Option<String>, what: &str| {
            text.map(settings::SecretText::new).ok_or_else(|| missing(what))
        };
        let uri = file.token_uri.unwrap_or_else(|| TOKEN_SERVICE.to_owned());
        match file.r#type.as_str() {
            "service_account" => Ok(Self::Robot {
                email: file.client_email.ok_or_else(|| missing("client_email"))?,
                key_id: file.private_key_id.unwrap_or_default(),
                key: secret(file.private_key, "private_key")?,
                token_uri: uri,
            }),
            "authorized_user" => Ok(Self::User {
                client: file.client_id.ok_or_else(|| missing("client_id"))?,
                client_secret: secret(file.client_secret, "client_secret")?,
                refresh: secret(file.refresh_token, "refresh_token")?,
                token_uri: uri,
            }),
            other => Err(format!("the credentials are of the kind {other:?}, which is not known")),
        }
    }
}

fn form_of(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_by_their_kind_and_refused_without_a_word_of_them() {
        let robot = r#"{"type":"service_account","client_email":"me@x","private_key":"hush"}"#;
        let user = r#"{"type":"authorized_user","client_id":"c","client_secret":"hush",
            "refresh_token":"hush","token_uri":"http://localhost/token"}"#;
        for (text, shown) in [(robot, "me@x"), (user, "http://localhost/token")] {
            let shows = format!("{:?}", Who::read(text.as_bytes()).expect(text));
            assert!(shows.contains(shown), "{shows}");
        }
        for text in [
            "hush",
            r#"{"type":"service_account","client_email":"hush"}"#,
            r#"{"type":"authorized_user","client_id":"hush"}"#,
            r#"{"type":"external_account","audience":"hush"}"#,
        ] {
            let why = Who::read(text.as_bytes()).expect_err(text);
            assert!(!why.contains("hush"), "{why}");
        }
    }
}
