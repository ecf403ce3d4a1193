//! What a refusal of a WebDAV server means.
//!
//! Invariants: absence is said only by a status of the server itself, not by a page.

use opendal_core::{Error, ErrorKind};

use crate::store::{
    Failure, StoreError,
    http::{Meaning, Seen},
};

/// The failure of a call on `name`.
pub(super) fn failed(
    action: &'static str,
    name: &str,
    error: Error,
    seen: Option<Seen>,
) -> StoreError {
    match seen {
        Some(seen) => seen.failed(action, name, |status, _body, is_page| {
            let (failure, why, advice) = meaning(action, status, is_page);
            Meaning { failure, why, advice, remark: String::new() }
        }),
        // The answer was a success that the library does not understand.
        None => {
            let failure = match error.kind() {
                ErrorKind::NotFound => Failure::NotFound,
                _ => Failure::Permanent,
            };
            StoreError::new(failure, action, name, error.message().to_owned())
                .advising("see that the location's URL leads to a WebDAV server")
        }
    }
}

fn meaning(action: &str, status: u16, is_page: bool) -> (Failure, &'static str, &'static str) {
    const LOGIN: &str = "give user and password in the location or in WINDLASS_WEBDAV_USERNAME and \
                         WINDLASS_WEBDAV_PASSWORD";
    const NO_SERVER: &str = "see that the location's URL leads to a WebDAV server and not to a web \
                             site or the login page of a proxy";
    match status {
        401 => (Failure::Denied, "the server does not accept this user and password", LOGIN),
        407 => (Failure::Denied, "the proxy asks for a user and a password", ""),
        403 if action == "delete" => {
            (Failure::Denied, "the server does not let anything be deleted", "")
        }
        403 => (Failure::Denied, "the server refuses this", "look at what this user may do there"),
        408 | 423 | 425 | 500 | 502 | 504 => (Failure::Transient, "the server is in trouble", ""),
        429 | 503 => (Failure::Throttled, "the server asks for fewer requests", ""),
        507 => (Failure::NoSpace, "the server has no space left", "make room on the server"),
        413 => (
            Failure::Permanent,
            "the server does not let so large objects through",
            "raise its limit, or use a smaller --pack-size",
        ),
        300..=399 => (
            Failure::Permanent,
            "the server is somewhere else",
            "use the address that it redirects to in the location",
        ),
        _ if is_page => (Failure::Permanent, "a web page came instead of an answer", NO_SERVER),
        404 => (Failure::NotFound, "the server does not have it", ""),
        409 => (Failure::Permanent, "a directory on the way is missing", ""),
        416 => (Failure::Short, "the object has fewer bytes", ""),
        405 | 501 => (Failure::Permanent, "the server does not speak this protocol", NO_SERVER),
        _ => (Failure::Permanent, "the server answered as it should not", NO_SERVER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_fall_into_classes() {
        for (status, failure) in [
            (401, Failure::Denied),
            (403, Failure::Denied),
            (404, Failure::NotFound),
            (409, Failure::Permanent),
            (423, Failure::Transient),
            (429, Failure::Throttled),
            (301, Failure::Permanent),
            (507, Failure::NoSpace),
        ] {
            assert_eq!(meaning("read", status, false).0, failure, "{status}");
        }
        assert_eq!(meaning("read", 404, true).0, Failure::Permanent);
    }
}
