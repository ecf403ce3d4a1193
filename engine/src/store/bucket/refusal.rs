//! What a refusal of a service means.
//!
//! Invariants: absence is said only by a status of the service itself, not by a page.

use object_store::Error;

use crate::store::{
    Failure, StoreError,
    http::{Meaning, Seen},
};

/// Longer remarks are cut: services explain themselves in a line.
const REMARK_LETTERS: usize = 300;

/// The failure of a call on `name`.
pub(super) fn failed(
    action: &'static str,
    name: &str,
    error: Error,
    seen: Option<Seen>,
) -> StoreError {
    match seen {
        Some(seen) => seen.failed(action, name, |status, body, is_page| {
            let remark =
                if is_page { String::new() } else { remark(&String::from_utf8_lossy(body)) };
            let (failure, why, advice) = meaning(action, status, is_page, &remark);
            Meaning { failure, why, advice, remark }
        }),
        // Nothing was asked, or the answer was not understood.
        None => match error {
            Error::NotFound { .. } => StoreError::new(Failure::NotFound, action, name, error),
            error => StoreError::new(Failure::Permanent, action, name, error)
                .advising("look at the credentials and the location"),
        },
    }
}

fn meaning(
    action: &str,
    status: u16,
    is_page: bool,
    remark: &str,
) -> (Failure, &'static str, &'static str) {
    const CREDENTIALS: &str = "look at the account's name, its key or signature, whether a \
                               signature or token has expired, and at this machine's clock";
    match status {
        408 | 500 | 502 | 504 => (Failure::Transient, "the service is in trouble", ""),
        429 | 503 => (Failure::Throttled, "the service asks for fewer requests", ""),
        _ if is_page => (
            Failure::Permanent,
            "a web page came instead of an answer",
            "see that the endpoint is right and that no proxy asks for a login",
        ),
        404 if remark.contains("Container") || remark.contains("Bucket") => {
            (Failure::NotFound, "the service has no such bucket", "")
        }
        404 => (Failure::NotFound, "the service does not have it", ""),
        400 | 401 => {
            (Failure::Denied, "the service does not accept these credentials", CREDENTIALS)
        }
        403 if remark.contains("AuthenticationFailed")
            || remark.contains("SignatureDoesNotMatch") =>
        {
            (Failure::Denied, "the service does not accept these credentials", CREDENTIALS)
        }
        403 if action == "delete" => (
            Failure::Denied,
            "these credentials may not delete",
            "backups need no more; prune with credentials that may delete",
        ),
        403 => (
            Failure::Denied,
            "these credentials do not allow it",
            "give them the right to read, list and create objects in this bucket",
        ),
        409 if remark.contains("BeingDeleted") => {
            (Failure::Transient, "the service is still deleting a bucket of this name", "")
        }
        416 => (Failure::Short, "the object has fewer bytes", ""),
        _ => (Failure::Permanent, "the service refuses it", ""),
    }
}

/// The code and the message out of XML or JSON, on one line.
fn remark(body: &str) -> String {
    let element = |name: &str| {
        let (_, rest) = body.split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0)
    };
    let member = |name: &str| {
        let (_, rest) = body.split_once(&format!("\"{name}\""))?;
        let rest = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
        Some(rest.split_once('"')?.0)
    };
    let found = [
        element("Code").or_else(|| member("error")),
        element("Message").or_else(|| member("error_description")).or_else(|| member("message")),
    ];
    let found: Vec<&str> = found.into_iter().flatten().collect();
    let text = if found.is_empty() { body.trim().to_owned() } else { found.join(": ") };
    let line = text.lines().next().unwrap_or_default();
    line.chars().filter(|letter| !letter.is_control()).take(REMARK_LETTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_are_found_in_xml_and_json() {
        let xml = "<?xml version=\"1.0\"?><Error><Code>BlobNotFound</Code><Message>No.\nMore\
                   </Message></Error>";
        assert_eq!(remark(xml), "BlobNotFound: No.");
        let json = "{\"error\": \"invalid_client\", \"error_description\": \"wrong secret\"}";
        assert_eq!(remark(json), "invalid_client: wrong secret");
        assert_eq!(remark("not found\n"), "not found");
        assert_eq!(remark(""), "");
    }

    #[test]
    fn statuses_fall_into_classes() {
        for (status, remark, failure) in [
            (404, "BlobNotFound", Failure::NotFound),
            (404, "ContainerNotFound", Failure::NotFound),
            (403, "AuthorizationPermissionMismatch", Failure::Denied),
            (401, "", Failure::Denied),
            (429, "", Failure::Throttled),
            (503, "ServerBusy", Failure::Throttled),
            (500, "", Failure::Transient),
            (409, "ContainerBeingDeleted", Failure::Transient),
            (409, "LeaseIdMissing", Failure::Permanent),
            (416, "InvalidRange", Failure::Short),
        ] {
            assert_eq!(meaning("read", status, false, remark).0, failure, "{status} {remark}");
        }
        assert_eq!(meaning("read", 404, true, "").0, Failure::Permanent);
    }
}
