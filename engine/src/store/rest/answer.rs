//! What it means when a server does not do what it was asked for.
//!
//! Invariants: absence is said only by an answer without a page; what may pass by itself is a
//! failure of the server or a request to wait, everything else is final.

use bytes::Bytes;
use http::{Method, Response, StatusCode, header::LOCATION};

use super::{
    super::{
        Failure, StoreError,
        http::{asked_pause, is_page},
    },
    Call,
};

/// Longer remarks are cut: servers explain themselves in a line.
const REMARK_LETTERS: usize = 200;

/// The failure that an answer stands for.
pub(super) fn refusal(
    call: Call<'_>,
    method: &Method,
    answer: &Response<Bytes>,
    with_login: bool,
) -> StoreError {
    let status = answer.status();
    let is_page = is_page(answer.headers());
    let (failure, why, advice) = meaning(status, method, is_page, with_login);
    let mut why = format!("{why} ({status})");
    if let Some(target) = answer.headers().get(LOCATION).filter(|_| status.is_redirection()) {
        why = format!("{why} to {}", String::from_utf8_lossy(target.as_bytes()));
    }
    let remark = remark(answer.body());
    if !is_page && !remark.is_empty() && Some(remark.as_str()) != status.canonical_reason() {
        why = format!("{why}: {remark}");
    }
    let error = StoreError::new(failure, call.action, call.object, why);
    let error = match asked_pause(answer.headers()) {
        Some(pause) => error.pausing(pause),
        None => error,
    };
    if advice.is_empty() { error } else { error.advising(advice) }
}

fn meaning(
    status: StatusCode,
    method: &Method,
    is_page: bool,
    with_login: bool,
) -> (Failure, &'static str, &'static str) {
    const NO_SERVER: &str = "see that the location's URL leads to a REST server and not to a web \
                             site or the login page of a proxy";
    const LOGIN: &str = "give them in the location or in RESTIC_REST_USERNAME and \
                         RESTIC_REST_PASSWORD";
    match status.as_u16() {
        401 if with_login => {
            (Failure::Denied, "the server does not accept this user and password", LOGIN)
        }
        401 => (Failure::Denied, "the server asks for a user and a password", LOGIN),
        407 => (
            Failure::Denied,
            "the proxy asks for a user and a password",
            "give them in HTTPS_PROXY or HTTP_PROXY: http://user:password@host:port",
        ),
        403 if *method == Method::DELETE => (
            Failure::Denied,
            "the server does not let anything be deleted",
            "if it is append-only, delete with access that is not",
        ),
        403 => (Failure::Denied, "the server refuses this", "look at what this user may do there"),
        408 | 425 | 500 | 502 | 504 => (Failure::Transient, "the server is in trouble", ""),
        429 | 503 => (Failure::Throttled, "the server asks for fewer requests", ""),
        507 => (
            Failure::NoSpace,
            "the server has no space left",
            "make room on the server, or raise the limit of the repository",
        ),
        413 if !is_page => (
            Failure::NoSpace,
            "the repository is as large as the server lets it become",
            "make room, or raise the limit of the repository on the server",
        ),
        413 => (
            Failure::Permanent,
            "something before the server does not let so large objects through",
            "raise its limit (nginx: client_max_body_size), or use a smaller --pack-size",
        ),
        _ if status.is_redirection() => (
            Failure::Permanent,
            "the server is somewhere else",
            "use the address that it names in the location",
        ),
        _ if is_page => (Failure::Permanent, "a web page came instead of an answer", NO_SERVER),
        404 => (Failure::NotFound, "the server does not have it", ""),
        416 => (Failure::Short, "the object has fewer bytes", ""),
        // The server got other bytes than were sent.
        400 if *method == Method::POST => {
            (Failure::Transient, "the server did not get the object as it was sent", "")
        }
        405 | 501 => (Failure::Permanent, "the server does not speak this protocol", NO_SERVER),
        _ => (Failure::Permanent, "the server answered as it should not", NO_SERVER),
    }
}

fn remark(body: &Bytes) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.trim().lines().next().unwrap_or_default();
    line.chars().filter(|letter| !letter.is_control()).take(REMARK_LETTERS).collect()
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;

    use super::*;

    fn answer(status: u16, headers: &[(http::HeaderName, &str)], body: &str) -> Response<Bytes> {
        let mut answer = Response::builder().status(status);
        for (name, value) in headers {
            answer = answer.header(name, *value);
        }
        answer.body(Bytes::copy_from_slice(body.as_bytes())).expect("an answer")
    }

    fn refused(method: &Method, answer: &Response<Bytes>) -> StoreError {
        refusal(Call { action: "read", object: "x" }, method, answer, true)
    }

    const HTML: (http::HeaderName, &str) = (CONTENT_TYPE, "text/html; charset=utf-8");

    #[test]
    fn only_an_answer_without_a_page_says_absent() {
        let plain = answer(404, &[(CONTENT_TYPE, "text/plain")], "Not Found\n");
        assert_eq!(refused(&Method::GET, &plain).failure, Failure::NotFound);
        let page = answer(404, &[HTML], "<html>nothing here</html>");
        assert_eq!(refused(&Method::GET, &page).failure, Failure::Permanent);
        let page = answer(200, &[HTML], "<html>please log in</html>");
        let error = refused(&Method::POST, &page);
        assert_eq!(error.failure, Failure::Permanent);
        assert!(error.to_string().contains("a web page came"), "{error}");
    }

    #[test]
    fn statuses_fall_into_classes() {
        for (status, failure) in [
            (401, Failure::Denied),
            (403, Failure::Denied),
            (407, Failure::Denied),
            (400, Failure::Transient),
            (413, Failure::NoSpace),
            (416, Failure::Short),
            (429, Failure::Throttled),
            (500, Failure::Transient),
            (501, Failure::Permanent),
            (502, Failure::Transient),
            (503, Failure::Throttled),
            (507, Failure::NoSpace),
            (418, Failure::Permanent),
        ] {
            assert_eq!(
                refused(&Method::POST, &answer(status, &[], "")).failure,
                failure,
                "{status}"
            );
        }
        assert_eq!(refused(&Method::GET, &answer(400, &[], "")).failure, Failure::Permanent);
        let page = answer(413, &[HTML], "<html>nginx</html>");
        assert_eq!(refused(&Method::POST, &page).failure, Failure::Permanent);
    }

    #[test]
    fn a_redirect_names_its_target() {
        let moved = answer(301, &[(LOCATION, "https://other/"), HTML], "<html>");
        let error = refused(&Method::GET, &moved);
        assert_eq!(error.failure, Failure::Permanent);
        assert!(error.to_string().ends_with("to https://other/"), "{error}");
    }
}
