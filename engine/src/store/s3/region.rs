//! Which region requests are signed for, and which host they go to.
//!
//! Invariants: a region that somebody set is never changed; one that was guessed gives way to what
//! the server says.

/// The service's own hosts.
const AWS: [&str; 2] = [".amazonaws.com", ".amazonaws.com.cn"];
/// Services that want the bucket in the host's name.
const BY_HOST: [&str; 4] =
    [".amazonaws.com", ".amazonaws.com.cn", ".aliyuncs.com", "storage.googleapis.com"];
/// What every server but the service itself takes.
const USUAL: &str = "us-east-1";

/// A host as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Host and, where given, port.
    authority: String,
    plain_http: bool,
}

impl Endpoint {
    /// `authority` may be a mere region of the service.
    pub(super) fn new(authority: &str, plain_http: bool) -> Self {
        let authority = match is_region(authority) {
            true => regional(authority),
            false => authority.to_owned(),
        };
        Self { authority, plain_http }
    }

    fn host(&self) -> &str {
        match self.authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => &self.authority,
        }
    }

    fn is_aws(&self) -> bool {
        AWS.iter().any(|domain| self.host().ends_with(domain))
    }

    /// The region that the host's name says.
    fn named_region(&self) -> Option<&str> {
        let host = self.host();
        let name = AWS.iter().find_map(|domain| host.strip_suffix(domain))?;
        let region = name.rsplit(['.', '/']).next().unwrap_or_default();
        let region = region.strip_prefix("s3-").unwrap_or(region);
        is_region(region).then_some(region)
    }

    /// The region to begin with.
    pub(super) fn first_region(&self, set: Option<&str>) -> String {
        set.or(self.named_region()).unwrap_or(USUAL).to_owned()
    }

    /// The URL for buckets of a region.
    pub(super) fn url(&self, region: &str) -> String {
        let scheme = if self.plain_http { "http" } else { "https" };
        let general = self.host() == "s3.amazonaws.com"
            || self.named_region().is_some_and(|named| self.authority == regional(named));
        match general && is_region(region) {
            true => format!("{scheme}://{}", regional(region)),
            false => format!("{scheme}://{}", self.authority),
        }
    }

    /// Whether the bucket's name goes into the host's where nobody says.
    pub(super) fn wants_bucket_in_host(&self) -> bool {
        self.is_aws() || BY_HOST.iter().any(|domain| self.host().ends_with(domain))
    }
}

/// The service's host for a region.
fn regional(region: &str) -> String {
    let china = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("s3.{region}.amazonaws.com{china}")
}

/// Whether text looks like `eu-central-1`.
fn is_region(text: &str) -> bool {
    let mut parts = text.split('-');
    let letters =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let last = parts.next_back().unwrap_or_default();
    number(last) && parts.clone().count() >= 2 && parts.all(letters)
}

/// The region that an answer names, in its header or in words: `<Region>x</Region>`, or
/// `expecting 'x'`.
pub(super) fn told(header: Option<&str>, body: &[u8]) -> Option<String> {
    if let Some(region) = header {
        return Some(region.to_owned());
    }
    let body = String::from_utf8_lossy(body);
    let between = |start: &str, end: char| {
        let (_, rest) = body.split_once(start)?;
        rest.split_once(end).map(|(region, _)| region.to_owned())
    };
    between("<Region>", '<')
        .or_else(|| between("expecting '", '\''))
        .or_else(|| between("expecting &#39;", '&'))
        .filter(|region| !region.is_empty() && region.len() < 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_tell_their_region() {
        for (host, region) in [
            ("s3.amazonaws.com", "us-east-1"),
            ("s3.eu-central-1.amazonaws.com", "eu-central-1"),
            ("s3-eu-west-2.amazonaws.com", "eu-west-2"),
            ("s3.dualstack.eu-west-2.amazonaws.com", "eu-west-2"),
            ("s3.cn-north-1.amazonaws.com.cn", "cn-north-1"),
            ("eu-central-1", "eu-central-1"),
            ("localhost:9000", "us-east-1"),
            ("s3.us-west-004.backblazeb2.com", "us-east-1"),
        ] {
            assert_eq!(Endpoint::new(host, false).first_region(None), region, "{host}");
        }
        assert_eq!(Endpoint::new("localhost:9000", true).first_region(Some("garage")), "garage");
    }

    #[test]
    fn a_bucket_elsewhere_is_looked_for_there_and_only_at_the_service_itself() {
        for (host, region, url) in [
            ("s3.amazonaws.com", "eu-west-1", "https://s3.eu-west-1.amazonaws.com"),
            ("s3.eu-central-1.amazonaws.com", "eu-west-1", "https://s3.eu-west-1.amazonaws.com"),
            ("eu-central-1", "eu-central-1", "https://s3.eu-central-1.amazonaws.com"),
            (
                "s3.cn-north-1.amazonaws.com.cn",
                "cn-north-1",
                "https://s3.cn-north-1.amazonaws.com.cn",
            ),
            (
                "s3.dualstack.eu-west-2.amazonaws.com",
                "eu-west-2",
                "https://s3.dualstack.eu-west-2.amazonaws.com",
            ),
            ("host:9000", "eu-west-1", "https://host:9000"),
            ("[::1]:9000", "eu-west-1", "https://[::1]:9000"),
        ] {
            assert_eq!(Endpoint::new(host, false).url(region), url, "{host}");
        }
        assert_eq!(Endpoint::new("host", true).url("x"), "http://host");
    }

    #[test]
    fn only_some_services_want_the_bucket_in_the_host() {
        for (host, by_host) in [
            ("s3.amazonaws.com", true),
            ("eu-central-1", true),
            ("oss-eu-central-1.aliyuncs.com", true),
            ("storage.googleapis.com", true),
            ("minio.example.com:9000", false),
            ("localhost", false),
        ] {
            assert_eq!(Endpoint::new(host, false).wants_bucket_in_host(), by_host, "{host}");
        }
    }

    #[test]
    fn answers_tell_where_the_bucket_is() {
        let body = b"<Error><Region>eu-west-3</Region></Error>";
        assert_eq!(told(None, body).as_deref(), Some("eu-west-3"));
        assert_eq!(told(Some("x"), body).as_deref(), Some("x"));
        let words = b"the region 'us-east-1' is wrong; expecting 'eu-west-3'";
        assert_eq!(told(None, words).as_deref(), Some("eu-west-3"));
        assert_eq!(told(None, b"<Region></Region>"), None);
        assert_eq!(told(None, b""), None);
    }
}
