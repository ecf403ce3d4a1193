//! `version`: what this program is.

use serde::Serialize;

use crate::{
    failure::{Failure, Outcome},
    session::Session,
};

#[derive(Serialize)]
struct Version {
    message_type: &'static str,
    version: &'static str,
    os: &'static str,
    arch: &'static str,
}

const THIS: Version = Version {
    message_type: "version",
    version: env!("CARGO_PKG_VERSION"),
    os: std::env::consts::OS,
    arch: std::env::consts::ARCH,
};

pub(crate) fn run(session: &Session) -> Result<Outcome, Failure> {
    let output = &session.output;
    if output.is_json() {
        output.json(&THIS);
    } else {
        output.result(&format!("windlass {} on {}/{}", THIS.version, THIS.os, THIS.arch));
    }
    Ok(Outcome::Done)
}
