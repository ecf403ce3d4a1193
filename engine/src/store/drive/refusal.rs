//! What a refusal of Google Drive, or of the service that gives tokens, means.
//!
//! Invariants: absence is said only by a status of the service itself, not by a page, and only of
//! what was asked for by its id. That the service shows an account no such folder is not absence:
//! it says the same of folders that are not shared (`folders`).

use bytes::Bytes;
use http::response::Parts;
use serde::Deserialize;

use crate::store::{
    Failure, StoreError,
    http::{Meaning, Seen, is_page},
};

/// Longer remarks are cut: services explain themselves in a line.
const REMARK_LETTERS: usize = 300;

/// An error as the service writes it; the other one as the service of tokens does.
#[derive(Debug, Default, Deserialize)]
struct Said {
    #[serde(default)]
    error_description: String,
    #[serde(default)]
    error: serde_json::Value,
}

/// The failure that an answer stands for.
pub(super) fn refused(
    action: &'static str,
    object: &str,
    head: &Parts,
    body: &Bytes,
) -> StoreError {
    let page = is_page(&head.headers);
    Seen::refusal("Google", head, body, page).failed(action, object, |status, body, is_page| {
        let (reason, remark) = if is_page { Default::default() } else { explained(body) };
        let (failure, why, advice) = meaning(action, status, is_page, &reason);
        Meaning { failure, why, advice, remark }
    })
}

/// Why, in one word and in words.
fn explained(body: &[u8]) -> (String, String) {
    let said: Said = serde_json::from_slice(body).unwrap_or_default();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let (reason, remark) = match &said.error {
        serde_json::Value::String(reason) => (reason.clone(), said.error_description),
        error => (text(&error["errors"][0]["reason"]), text(&error["message"])),
    };
    let remark = if remark.is_empty() { reason.clone() } else { remark };
    let line = remark.lines().next().unwrap_or_default();
    let line = line.chars().filter(|letter| !letter.is_control()).take(REMARK_LETTERS).collect();
    (reason, line)
}

fn meaning(
    action: &str,
    status: u16,
    is_page: bool,
    reason: &str,
) -> (Failure, &'static str, &'static str) {
    const LOGIN: &str = "look at the credentials, at whether the account or its key still is there, \
                         and at this machine's clock";
    const ADDRESS: &str = "see that no proxy asks for a login";
    match (status, reason) {
        (408 | 500 | 502 | 504, _) => (Failure::Transient, "the service is in trouble", ""),
        (429 | 503, _) => (Failure::Throttled, "the service asks for fewer requests", ""),
        _ if is_page => (Failure::Permanent, "a web page came instead of an answer", ADDRESS),
        (
            403,
            "userRateLimitExceeded"
            | "rateLimitExceeded"
            | "sharingRateLimitExceeded"
            | "quotaExceeded",
        ) => (Failure::Throttled, "the service asks for fewer requests", ""),
        (400 | 401 | 403, _) if action == "log in" => {
            (Failure::Denied, "this login is not accepted", LOGIN)
        }
        (401, _) => (Failure::Denied, "the service does not accept the token", LOGIN),
        (403, "storageQuotaExceeded") => (
            Failure::NoSpace,
            "the account has no space left",
            "a service account has none of its own: use a folder in a shared drive, or make room",
        ),
        (403, "teamDriveFileLimitExceeded" | "numChildrenInNonRootLimitExceeded") => {
            (Failure::NoSpace, "the drive or folder holds as many files as it may", "make room")
        }
        (403, "dailyLimitExceeded" | "uploadLimitExceeded") => {
            (Failure::NoSpace, "the account's quota for today is used up", "try again tomorrow")
        }
        (403, "accessNotConfigured" | "SERVICE_DISABLED") => (
            Failure::Denied,
            "the project that the credentials belong to does not use the Drive API",
            "enable the Google Drive API in that project",
        ),
        (403, _) if action == "delete" => (
            Failure::Denied,
            "these credentials may not delete",
            "backups need no more; prune with credentials that may delete",
        ),
        (403, _) => (
            Failure::Denied,
            "these credentials do not allow it",
            "share the folder with the account, as an editor where it is to write",
        ),
        (404, _) => (Failure::NotFound, "the service does not have it", ""),
        (416, _) => (Failure::Short, "the object has fewer bytes", ""),
        _ => (Failure::Permanent, "the service refuses it", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_fall_into_classes() {
        for (action, status, reason, failure) in [
            ("read", 403, "userRateLimitExceeded", Failure::Throttled),
            ("read", 429, "", Failure::Throttled),
            ("read", 403, "insufficientFilePermissions", Failure::Denied),
            ("write", 403, "storageQuotaExceeded", Failure::NoSpace),
            ("log in", 400, "invalid_grant", Failure::Denied),
            ("read", 400, "badRequest", Failure::Permanent),
            ("read", 401, "authError", Failure::Denied),
            ("read", 404, "notFound", Failure::NotFound),
            ("read", 416, "", Failure::Short),
            ("read", 503, "backendError", Failure::Throttled),
            ("read", 500, "internalError", Failure::Transient),
        ] {
            assert_eq!(meaning(action, status, false, reason).0, failure, "{status} {reason}");
        }
        assert_eq!(meaning("read", 404, true, "").0, Failure::Permanent);
    }

    #[test]
    fn both_services_explain_themselves() {
        let drive = br#"{"error":{"errors":[{"domain":"usageLimits","reason":"rateLimitExceeded",
            "message":"Slow down"}],"code":403,"message":"Slow down.\nPlease."}}"#;
        assert_eq!(explained(drive), ("rateLimitExceeded".into(), "Slow down.".into()));
        let tokens = br#"{"error":"invalid_grant","error_description":"Token has been revoked."}"#;
        assert_eq!(explained(tokens), ("invalid_grant".into(), "Token has been revoked.".into()));
        assert_eq!(explained(b"<html>"), (String::new(), String::new()));
    }
}
