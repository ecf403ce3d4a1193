//! The library's requests over this store's transport, and the one request that it has no word for.
//!
//! Invariants: a page that a person is meant to read is no answer of the server, unless the server
//! itself says that something is absent with one.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri, header::AUTHORIZATION, response::Parts,
};
use http_body_util::Full;
use opendal_core::{Buffer, Error, ErrorKind, HttpBody, HttpTransport};

use crate::store::{
    http::{HttpError, Seen, Transport, Tuning, is_page},
    limit::Limiter,
    settings::StoreSettings,
    trace::Observer,
};

/// Carries requests and whole answers. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    transport: Transport,
    login: Option<HeaderValue>,
}

/// More than any object or list a repository can hold.
const MAX_ANSWER_BYTES: usize = 4 << 30;

impl Wire {
    pub(super) fn new(
        settings: &StoreSettings,
        login: Option<HeaderValue>,
        limiter: &Arc<Limiter>,
        observer: &Observer,
    ) -> Result<Self, HttpError> {
        let tuning = Tuning { http1_only: true, ..Tuning::default() };
        let transport = Transport::new(&settings.http, &tuning, limiter, observer)?;
        Ok(Self { transport, login })
    }

    /// Gives the file at `from` another name, and says what the server answered. With `F` for
    /// `overwrite` it refuses with "precondition failed" where something has that name.
    pub(super) async fn rename(
        &self,
        from: Uri,
        to: HeaderValue,
        overwrite: &'static str,
    ) -> Result<StatusCode, Error> {
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = Method::from_bytes(b"MOVE").map_err(unusable)?;
        *request.uri_mut() = from;
        request.headers_mut().insert("destination", to);
        request.headers_mut().insert("overwrite", HeaderValue::from_static(overwrite));
        Ok(self.ask(request).await?.0.status)
    }

    /// Sends a request. A refusal is remembered for the call that asked.
    async fn ask(&self, mut request: Request<Bytes>) -> Result<(Parts, Bytes), Error> {
        let uri = request.uri().clone();
        self.sign(&mut request);
        let (mut head, body) = self.send(request).await?;
        let mut page = is_page(&head.headers);
        // Some servers say what they have done, or what is absent, with a page of their own.
        if page && (head.status == StatusCode::CREATED || head.status == StatusCode::NOT_FOUND) {
            page = !self.speaks_dav(uri.clone()).await?;
        }
        if page || !head.status.is_success() {
            let host = uri.host().unwrap_or_default();
            Seen::refusal(host, &head, &body, page).remember();
        }
        if page {
            // Nobody must take it for an answer of the server, absence least of all.
            head.status = StatusCode::BAD_REQUEST;
        }
        Ok((head, body))
    }

    /// Whether a server of this protocol answers for this URL.
    async fn speaks_dav(&self, uri: Uri) -> Result<bool, Error> {
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = Method::OPTIONS;
        *request.uri_mut() = uri;
        self.sign(&mut request);
        let (head, _body) = self.send(request).await?;
        Ok(head.status.is_success() && head.headers.contains_key("dav"))
    }

    fn sign(&self, request: &mut Request<Bytes>) {
        if let Some(login) = &self.login {
            request.headers_mut().insert(AUTHORIZATION, login.clone());
        }
    }

    async fn send(&self, request: Request<Bytes>) -> Result<(Parts, Bytes), Error> {
        let answer = self.transport.send(request.map(Full::new)).await.map_err(broken)?;
        let (head, body) = answer.into_parts();
        Ok((head, body.collect(MAX_ANSWER_BYTES).await.map_err(broken)?))
    }
}

impl HttpTransport for Wire {
    async fn fetch(&self, request: Request<Buffer>) -> Result<Response<HttpBody>, Error> {
        let (head, body) = self.ask(request.map(|body| body.to_bytes())).await?;
        let size = body.len() as u64;
        let body = HttpBody::new(stream::iter([Ok(Buffer::from(body))]), Some(size));
        Ok(Response::from_parts(head, body))
    }
}

fn broken(error: HttpError) -> Error {
    Seen::broken(&error).remember();
    Error::new(ErrorKind::Unexpected, "no answer")
}

fn unusable(error: http::method::InvalidMethod) -> Error {
    Error::new(ErrorKind::Unexpected, "no request").set_source(error)
}
