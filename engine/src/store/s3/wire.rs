//! The SDK's requests through our own client.

use aws_sdk_s3::config::{
    HttpClient, RuntimeComponents, SharedHttpClient,
    http::{HttpRequest, HttpResponse},
};
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    result::ConnectorError,
};
use http::header::{HeaderValue, USER_AGENT};

use crate::store::http::Transport;

/// Addresses of services that hand out credentials. They are beside this process and never behind
/// a proxy.
pub(super) const NEVER_PROXIED: &str = "169.254.0.0/16,fd00:ec2::254,fd00:ec2::23";

/// Our client as the SDK wants it.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    transport: Transport,
    user_agent: HeaderValue,
}

impl Wire {
    /// Requests call themselves `user_agent`, whatever the SDK would say.
    pub(super) fn client(transport: Transport, user_agent: HeaderValue) -> SharedHttpClient {
        SharedHttpClient::new(Self { transport, user_agent })
    }
}

impl HttpClient for Wire {
    // Its time limits are fixed ones, which ours replace.
    fn http_connector(
        &self,
        _settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Self { transport, user_agent } = self.clone();
        HttpConnectorFuture::new(async move {
            let mut request =
                request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
            request.headers_mut().insert(USER_AGENT, user_agent);
            let answer = transport
                .send(request)
                .await
                .map_err(|error| ConnectorError::other(Box::new(error), None))?;
            HttpResponse::try_from(answer.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}
