//! What a refusal of a Swift server, or of the service that lets people in, means.
//!
//! Invariants: absence is said only by a status of the server itself, not by a page.

use bytes::Bytes;
use http::{HeaderMap, Response};

use crate::store::{
    Failure, StoreError,
    http::{Meaning, Seen, is_page},
};

/// What numbers an answer.
const NUMBERS: [&str; 2] = ["x-trans-id", "x-openstack-request-id"];

/// The failure that an answer stands for.
pub(super) fn refused(action: &'static str, object: &str, answer: Response<Bytes>) -> StoreError {
    let (head, body) = answer.into_parts();
    let page = is_foreign(&head.headers);
    Seen::refusal("Swift", &head, &body, page).failed(action, object, |status, _body, page| {
        let (failure, why, advice) = meaning(action, status, page);
        Meaning { failure, why, advice, remark: String::new() }
    })
}

/// Whether a page came that is not of such a server: those say with pages, too, what is not there,
/// and number every answer.
pub(super) fn is_foreign(headers: &HeaderMap) -> bool {
    is_page(headers) && !NUMBERS.iter().any(|name| headers.contains_key(*name))
}

fn meaning(action: &str, status: u16, is_page: bool) -> (Failure, &'static str, &'static str) {
    const LOGIN: &str = "look at OS_USERNAME and OS_PASSWORD, or ST_USER and ST_KEY, and at the \
                         project and domains";
    const ADDRESS: &str = "look at OS_AUTH_URL or ST_AUTH, and at OS_STORAGE_URL if it is set";
    match status {
        401 if action == "log in" => (Failure::Denied, "this login is not accepted", LOGIN),
        401 => (Failure::Denied, "the server does not accept the token", LOGIN),
        _ if is_page => (Failure::Permanent, "a web page came instead of an answer", ADDRESS),
        403 => (Failure::Denied, "the server refuses this", "look at what this user may do there"),
        404 if action == "log in" => (Failure::Permanent, "nobody can log in there", ADDRESS),
        404 => (Failure::NotFound, "the server does not have it", ""),
        408 | 500 | 502 | 504 => (Failure::Transient, "the server is in trouble", ""),
        422 => (Failure::Transient, "the server did not get the object as it was sent", ""),
        413 => (Failure::NoSpace, "the container or account is full", "raise its quota"),
        416 => (Failure::Short, "the object has fewer bytes", ""),
        429 | 498 | 503 => (Failure::Throttled, "the server asks for fewer requests", ""),
        507 => (Failure::NoSpace, "the server has no space left", ""),
        _ => (Failure::Permanent, "the server answered as it should not", ADDRESS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_the_server_itself_are_told_from_others() {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/html"));
        assert!(is_foreign(&headers));
        headers.insert("x-trans-id", http::HeaderValue::from_static("tx1"));
        assert!(!is_foreign(&headers));
    }

    #[test]
    fn statuses_fall_into_classes() {
        for (action, status, failure) in [
            ("read", 401, Failure::Denied),
            ("log in", 401, Failure::Denied),
            ("read", 404, Failure::NotFound),
            ("log in", 404, Failure::Permanent),
            ("write", 422, Failure::Transient),
            ("write", 413, Failure::NoSpace),
            ("read", 416, Failure::Short),
            ("read", 503, Failure::Throttled),
            ("read", 302, Failure::Permanent),
        ] {
            assert_eq!(meaning(action, status, false).0, failure, "{action} {status}");
        }
        assert_eq!(meaning("read", 404, true).0, Failure::Permanent);
    }
}
