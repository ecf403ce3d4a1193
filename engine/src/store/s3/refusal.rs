//! What a server says when it does not do what it was asked for, by what can be done about it.
//!
//! Invariants
//! - [`Failure::NotFound`] comes from the codes for it alone, or from a bare 404 to a question about
//!   one object.
//! - A page for people is never taken for an answer of the store.

use std::{borrow::Cow, error::Error, time::Duration};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use super::region;
use crate::store::{
    Failure, StoreError,
    http::{HttpError, find},
};

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) failure: Failure,
    /// The server's word for it; empty where it has none.
    pub(super) code: String,
    pub(super) status: Option<u16>,
    /// Where the bucket is, if the server says so.
    pub(super) region: Option<String>,
    why: String,
    advice: Option<Cow<'static, str>>,
    pause: Option<Duration>,
}

/// What an answer consists of, as far as it matters.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Answer<'a> {
    status: u16,
    code: &'a str,
    message: &'a str,
    body: &'a [u8],
    content_type: &'a str,
    retry_after: &'a str,
    bucket_region: Option<&'a str>,
}

impl Refusal {
    fn new(failure: Failure, why: impl Into<String>) -> Self {
        Self {
            failure,
            code: String::new(),
            status: None,
            region: None,
            why: why.into(),
            advice: None,
            pause: None,
        }
    }

    fn advising(mut self, advice: impl Into<Cow<'static, str>>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// A page that came instead of an object.
    pub(super) fn page(body: &[u8], status: u16) -> Self {
        let title = title(body).map(|title| format!(": {title:?}")).unwrap_or_default();
        let failure = match status {
            // What stands before the service may say so, too.
            429 | 503 => Failure::Throttled,
            500.. => Failure::Transient,
            _ => Failure::Permanent,
        };
        Self::new(failure, format!("a web page came instead of an answer of S3 ({status}){title}"))
            .advising(
                "a proxy or a login page may be in between, or this is not the address of an S3 \
                 service",
            )
    }

    pub(super) fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let raw = match error {
            SdkError::ServiceError(context) => context.raw(),
            SdkError::ResponseError(context) => context.raw(),
            other => return Self::unanswered(other),
        };
        let header = |name| raw.headers().get(name).unwrap_or_default();
        // An answer whose body did not come whole.
        if let Some(http) = find::<HttpError>(error) {
            return Self::of_http(http);
        }
        let (code, message) = match error {
            SdkError::ServiceError(context) => (context.err().code(), context.err().message()),
            _ => (None, None),
        };
        Self::answered(Answer {
            status: raw.status().as_u16(),
            code: code.unwrap_or_default(),
            message: message.unwrap_or_default(),
            body: raw.body().bytes().unwrap_or_default(),
            content_type: header("content-type"),
            retry_after: header("retry-after"),
            bucket_region: raw.headers().get("x-amz-bucket-region"),
        })
    }

    fn of_http(error: &HttpError) -> Self {
        let mut refusal = Self::new(error.failure(), error.to_string());
        refusal.advice = error.advice().map(Cow::Borrowed);
        refusal
    }

    /// No answer came, or the question could not be asked.
    fn unanswered(error: &(dyn Error + 'static)) -> Self {
        let credentials = find::<CredentialsError>(error);
        if let Some(CredentialsError::CredentialsNotLoaded(_)) = credentials {
            return Self::new(Failure::Denied, "there are no credentials for S3").advising(
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for a bucket that everybody \
                 may read, use -o s3.unsafe-anonymous-auth=true",
            );
        }
        let of_http = find::<HttpError>(error).map(Self::of_http);
        match (credentials, of_http) {
            (None, Some(refusal)) => refusal,
            (None, None) => Self::new(Failure::Transient, causes(error)),
            (Some(credentials), of_http) => {
                let timed_out = matches!(credentials, CredentialsError::ProviderTimedOut(_));
                let failure = match of_http {
                    Some(refusal) => refusal.failure,
                    None if timed_out => Failure::Transient,
                    None => Failure::Denied,
                };
                let why = format!("credentials for S3 cannot be had: {}", causes(credentials));
                Self::new(failure, why)
                    .advising("look at the profile, role or token that they come from")
            }
        }
    }

    pub(super) fn answered(answer: Answer<'_>) -> Self {
        let mut refusal = Self::classed(&answer);
        answer.code.clone_into(&mut refusal.code);
        refusal.status = Some(answer.status);
        refusal.region = region::told(answer.bucket_region, answer.body);
        if let Some(region) = &refusal.region
            && matches!(answer.status, 301 | 307 | 400)
        {
            refusal.why = format!("the bucket is in region {region}");
            refusal.advice = Some(format!("use -o s3.region={region}").into());
        }
        refusal.pause = answer.retry_after.trim().parse().ok().map(Duration::from_secs);
        refusal
    }

    fn classed(answer: &Answer<'_>) -> Self {
        let &Answer { status, code, message, body, content_type, .. } = answer;
        if code.is_empty() && is_page(content_type, body) {
            return Self::page(body, status);
        }
        let told = |what: &str| match message {
            "" => what.to_owned(),
            message => format!("{what} ({message})"),
        };
        let denied = |what: &str| Self::new(Failure::Denied, told(what));
        match code {
            "NoSuchKey" => Self::new(Failure::NotFound, "there is no such object"),
            "NoSuchBucket" => Self::new(Failure::NotFound, "the bucket does not exist").advising(
                "look at the bucket's name in the location; `init` creates a missing bucket",
            ),
            "AccessDenied" | "AllAccessDisabled" | "Forbidden" => {
                denied("these credentials may not do this").advising(
                    "look at the policy of the credentials and of the bucket; the guide lists \
                     the permissions that are needed",
                )
            }
            "InvalidAccessKeyId" => denied("the server does not know this access key")
                .advising("look at AWS_ACCESS_KEY_ID, and whether it is for this server"),
            "SignatureDoesNotMatch" => denied("the secret key does not fit the access key")
                .advising("look at AWS_SECRET_ACCESS_KEY"),
            "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => {
                denied("the session token has expired")
                    .advising("get new credentials and set AWS_SESSION_TOKEN along with the keys")
            }
            "InvalidToken" | "InvalidTokenId" => denied("the session token is not valid")
                .advising("AWS_SESSION_TOKEN must be of the same login as the keys, or not be set"),
            "RequestTimeTooSkewed" | "RequestExpired" | "RequestInTheFuture" => {
                denied("this machine's clock is wrong by more than the server allows")
                    .advising("set the clock, best by a time service, and run again")
            }
            "InvalidObjectState" => {
                Self::new(Failure::Denied, "the object is archived and cannot be read now")
                    .advising(
                        "restore it from the archive with the tools of the service, then run again",
                    )
            }
            "InvalidRange" => Self::new(Failure::Short, "the object ends before"),
            "QuotaExceeded" | "XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded" => {
                Self::new(Failure::NoSpace, told("there is no room left"))
            }
            "SlowDown"
            | "SlowDownRead"
            | "SlowDownWrite"
            | "Throttling"
            | "ThrottlingException"
            | "RequestLimitExceeded"
            | "TooManyRequests"
            | "ServiceUnavailable"
            | "Busy"
            | "BandwidthLimitExceeded" => {
                Self::new(Failure::Throttled, told("the server asks for fewer requests"))
            }
            "InternalError"
            | "RequestTimeout"
            | "OperationAborted"
            | "ConditionalRequestConflict"
            | "IncompleteBody"
            | "BadDigest"
            | "XAmzContentSHA256Mismatch"
            | "XMinioServerNotInitialized" => Self::new(Failure::Transient, told(code)),
            "" => Self::by_status(status),
            _ => {
                let why = told(code);
                Self { why, ..Self::by_status(status) }
            }
        }
    }

    fn by_status(status: u16) -> Self {
        let failure = match status {
            401 | 403 => Failure::Denied,
            404 => Failure::NotFound,
            416 => Failure::Short,
            408 => Failure::Transient,
            429 | 503 => Failure::Throttled,
            507 => Failure::NoSpace,
            500.. => Failure::Transient,
            // Success that cannot be read: cut off, or of something that is no S3 service.
            200..300 => Failure::Transient,
            _ => Failure::Permanent,
        };
        let why = match failure {
            Failure::NotFound => "there is no such object".to_owned(),
            _ => format!("the server answered with status {status}"),
        };
        Self::new(failure, why)
    }

    /// As the failure of a call on `object`.
    pub(super) fn on(self, action: &'static str, object: &str) -> StoreError {
        let mut error = StoreError::new(self.failure, action, object, self.why);
        if let Some(advice) = self.advice {
            error = error.advising(advice);
        }
        match self.pause {
            Some(pause) => error.pausing(pause),
            None => error,
        }
    }
}

/// Whether this is for people.
pub(super) fn is_page(content_type: &str, body: &[u8]) -> bool {
    let start: Vec<u8> =
        body.trim_ascii_start().iter().take(14).map(u8::to_ascii_lowercase).collect();
    content_type.starts_with("text/html")
        || start.starts_with(b"<!doctype html")
        || start.starts_with(b"<html")
}

/// The title of a page, as far as it is fit to print.
fn title(body: &[u8]) -> Option<String> {
    let body = String::from_utf8_lossy(body.get(..body.len().min(4096))?);
    let lower = body.to_ascii_lowercase();
    let start = lower.find("<title>")? + "<title>".len();
    let end = start + lower.get(start..)?.find('<')?;
    let title: String = body.get(start..end)?.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(title.chars().take(80).collect()).filter(|title: &String| !title.is_empty())
}

/// An error and what it comes from, in one line.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coded(status: u16, code: &str) -> Refusal {
        Refusal::answered(Answer { status, code, ..Answer::default() })
    }

    #[test]
    fn codes_fall_into_classes() {
        for (status, code, failure) in [
            (404, "NoSuchKey", Failure::NotFound),
            (404, "NoSuchBucket", Failure::NotFound),
            (404, "", Failure::NotFound),
            (404, "NoSuchUpload", Failure::NotFound),
            (403, "AccessDenied", Failure::Denied),
            (403, "InvalidAccessKeyId", Failure::Denied),
            (403, "SignatureDoesNotMatch", Failure::Denied),
            (400, "ExpiredToken", Failure::Denied),
            (403, "RequestTimeTooSkewed", Failure::Denied),
            (403, "", Failure::Denied),
            (416, "InvalidRange", Failure::Short),
            (503, "SlowDown", Failure::Throttled),
            (503, "", Failure::Throttled),
            (429, "", Failure::Throttled),
            (500, "InternalError", Failure::Transient),
            (502, "", Failure::Transient),
            (400, "RequestTimeout", Failure::Transient),
            (409, "OperationAborted", Failure::Transient),
            (400, "InvalidArgument", Failure::Permanent),
            (501, "NotImplemented", Failure::Transient),
            (507, "XMinioStorageFull", Failure::NoSpace),
        ] {
            assert_eq!(coded(status, code).failure, failure, "{status} {code}");
        }
    }

    #[test]
    fn whatever_a_person_can_mend_comes_with_advice() {
        for code in [
            "NoSuchBucket",
            "AccessDenied",
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "ExpiredToken",
            "InvalidToken",
            "RequestTimeTooSkewed",
            "InvalidObjectState",
        ] {
            assert!(coded(403, code).advice.is_some(), "{code}");
        }
    }

    #[test]
    fn a_page_is_not_an_answer() {
        let body = b"<!DOCTYPE html><html><head><title>Please\n log in</title></head>";
        for (status, failure) in [
            (200, Failure::Permanent),
            (403, Failure::Permanent),
            (404, Failure::Permanent),
            (502, Failure::Transient),
        ] {
            let refusal = Refusal::answered(Answer { status, body, ..Answer::default() });
            assert_eq!(refusal.failure, failure, "{status}");
            assert!(refusal.why.contains("\"Please log in\""), "{}", refusal.why);
            assert!(refusal.advice.expect("advice").contains("proxy"));
        }
        assert!(is_page("text/html; charset=utf-8", b""));
        assert!(!is_page("application/xml", b"<?xml version=\"1.0\"?><Error/>"));
    }

    #[test]
    fn a_wrong_region_names_the_right_one() {
        let refusal = Refusal::answered(Answer {
            status: 400,
            code: "AuthorizationHeaderMalformed",
            body: b"<Error><Region>eu-west-3</Region></Error>",
            ..Answer::default()
        });
        assert_eq!(refusal.region.as_deref(), Some("eu-west-3"));
        assert_eq!(refusal.failure, Failure::Permanent);
        assert!(refusal.advice.expect("advice").contains("s3.region=eu-west-3"));
    }

    #[test]
    fn a_pause_that_was_asked_for_is_kept() {
        let refusal = Refusal::answered(Answer {
            status: 503,
            code: "SlowDown",
            retry_after: "7",
            ..Answer::default()
        });
        let error = refusal.on("read", "x");
        assert_eq!(error.pause(), Some(Duration::from_secs(7)));
    }
}
