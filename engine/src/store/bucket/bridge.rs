//! The library's requests over this store's transport, and what was seen on the way.
//!
//! Invariants: what an answer refused, or what kept it from coming, is remembered for the call that
//! asked; the library itself makes words of it and nothing else.

use std::sync::Arc;

use async_trait::async_trait;
use http_body_util::BodyExt;
use object_store::{
    ClientOptions, Error,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
        HttpResponseBody, HttpService,
    },
};

use crate::store::{
    Failure, StoreError,
    http::{self, Seen, Transport, Tuning, is_page},
    limit::Limiter,
    settings::{Proxies, StoreSettings},
    trace::Observer,
};

/// Carries requests. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Bridge {
    transport: Transport,
    /// Without proxies, for addresses that exist on this machine's own link alone.
    direct: Transport,
}

/// Where machines in a cloud are told who they are.
const METADATA_HOSTS: [&str; 3] = ["169.254.169.254", "metadata.google.internal", "metadata"];
/// Nobody explains a refusal at greater length.
const MAX_REFUSAL_BYTES: usize = 1 << 20;

impl Bridge {
    pub(super) fn new(
        settings: &StoreSettings,
        limiter: &Arc<Limiter>,
        observer: &Observer,
    ) -> Result<Self, http::HttpError> {
        let tuning = Tuning { http1_only: true, ..Tuning::default() };
        let mut without = settings.http.clone();
        without.proxies = Proxies::default();
        Ok(Self {
            transport: Transport::new(&settings.http, &tuning, limiter, observer)?,
            direct: Transport::new(&without, &tuning, limiter, observer)?,
        })
    }
}

impl HttpConnector for Bridge {
    fn connect(&self, _the_transport_has_its_own: &ClientOptions) -> Result<HttpClient, Error> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Bridge {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let transport = match METADATA_HOSTS.contains(&host.as_str()) {
            true => &self.direct,
            false => &self.transport,
        };
        let answer = transport.send(request).await.map_err(broken)?;
        if answer.status().is_success() && !is_page(answer.headers()) {
            return Ok(answer.map(|body| HttpResponseBody::new(body.map_err(broken))));
        }
        let (mut head, body) = answer.into_parts();
        let body = body.collect(MAX_REFUSAL_BYTES).await.map_err(broken)?;
        if head.status.is_success() {
            // Nobody must take a page for what was asked for.
            head.status = ::http::StatusCode::BAD_REQUEST;
        }
        Seen::refusal(&host, &head, &body, is_page(&head.headers)).remember();
        Ok(HttpResponse::from_parts(head, body.into()))
    }
}

fn broken(error: http::HttpError) -> HttpError {
    Seen::broken(&error).remember();
    HttpError::new(HttpErrorKind::Unknown, error)
}

/// A failure before anything was asked.
pub(super) fn unusable(name: &str, why: impl ToString) -> StoreError {
    StoreError::new(Failure::Permanent, "open", name, why.to_string())
}
