//! Where a repository is, as it was typed.

pub(crate) use windlass_engine::store::location::Location;
use windlass_engine::store::location::LocationError;

use crate::failure::Failure;

/// Reads a location: a path, `local:path` or `scheme:rest`.
pub(crate) fn parse(text: &str) -> Result<Location, Failure> {
    Location::parse(text).map_err(|error| {
        let advice = match &error {
            LocationError::UnknownScheme(_) => {
                "if the repository is in a local directory, write `local:` before it"
            }
            LocationError::Malformed { .. } => "look at the location; the guide has an example",
        };
        Failure::input(format!("parsing repository location failed: {error}"), advice)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_that_cannot_be_read_comes_with_advice() {
        let refused = |text| parse(text).expect_err("refused");
        assert!(refused("foo:bar").message().contains("invalid backend"));
        assert!(refused("foo:bar").advice().expect("advice").contains("local:"));
        assert!(refused("s3:host").message().contains("bucket name not found"));
        assert_eq!(parse("/a/b").expect("parses"), Location::Local("/a/b".into()));
    }
}
