//! `version`: what this program is.

use serde::Serialize;

use crate::{
    failure::{Failure, Outcome},
    session::Session,
};

/// Under the names that restic has for them: programs look for these.
#[derive(Serialize)]
struct Version {
    message_type: &'static str,
    version: &'static str,
    /// Nothing here is written in Go.
    go_version: &'static str,
    go_os: &'static str,
    go_arch: &'static str,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What Go calls the processor.
const ARCH: &str = match std::env::consts::ARCH.as_bytes() {
    b"x86_64" => "amd64",
    b"x86" => "386",
    b"aarch64" => "arm64",
    _ => std::env::consts::ARCH,
};

pub(crate) fn run(session: &Session) -> Result<Outcome, Failure> {
    let output = &session.output;
    if output.is_json() {
        output.json(&Version {
            message_type: "version",
            version: VERSION,
            go_version: "",
            go_os: std::env::consts::OS,
            go_arch: ARCH,
        });
    } else {
        output.result(&format!("windlass {VERSION} on {}/{ARCH}", std::env::consts::OS));
    }
    Ok(Outcome::Done)
}
