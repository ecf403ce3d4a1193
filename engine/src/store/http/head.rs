//! What the heads of requests and answers say, whoever sent them.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{
    HeaderMap,
    header::{CONTENT_TYPE, DATE, RETRY_AFTER},
};
use jiff::fmt::rfc2822;

use crate::store::location::Login;

/// Whether a person is meant to read this in a browser.
pub(in crate::store) fn is_page(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let kind = kind.trim().to_ascii_lowercase();
    kind.starts_with("text/html") || kind.starts_with("application/xhtml")
}

/// A user and a password, as they are shown to a server. Nothing prints it.
pub(in crate::store) fn authorization(login: &Login) -> Result<http::HeaderValue, &'static str> {
    let mut plain = format!("{}:", login.user).into_bytes();
    plain.extend_from_slice(login.password.expose());
    let value = format!("Basic {}", STANDARD.encode(plain));
    let mut value =
        http::HeaderValue::try_from(value).map_err(|_| "user and password are too long")?;
    value.set_sensitive(true);
    Ok(value)
}

/// How long the server wants to be left alone, by its own clock where it names a time.
pub(in crate::store) fn asked_pause(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok();
    let asked = text(RETRY_AFTER)?.trim();
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = rfc2822::parse(asked).ok()?;
    let now = rfc2822::parse(text(DATE)?).ok()?;
    Duration::try_from(until.timestamp() - now.timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(rows: &[(http::HeaderName, &'static str)]) -> HeaderMap {
        let row = |(name, value): &(http::HeaderName, &'static str)| {
            (name.clone(), HeaderValue::from_static(value))
        };
        rows.iter().map(row).collect()
    }

    #[test]
    fn a_server_can_ask_for_a_pause_in_seconds_or_until_a_time() {
        let pause = |rows: &[_]| asked_pause(&headers(rows));
        assert_eq!(pause(&[(RETRY_AFTER, "7")]), Some(Duration::from_secs(7)));
        let until = (RETRY_AFTER, "Sun, 06 Nov 1994 08:50:37 GMT");
        let now = (DATE, "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(pause(&[until.clone(), now]), Some(Duration::from_secs(60)));
        let past = (DATE, "Sun, 06 Nov 1994 08:59:37 GMT");
        assert_eq!(pause(&[until, past]), None);
        assert_eq!(pause(&[]), None);
    }

    #[test]
    fn pages_are_told_by_their_type() {
        assert!(is_page(&headers(&[(CONTENT_TYPE, "Text/HTML; charset=utf-8")])));
        assert!(!is_page(&headers(&[(CONTENT_TYPE, "application/xml")])));
        assert!(!is_page(&headers(&[])));
    }
}
