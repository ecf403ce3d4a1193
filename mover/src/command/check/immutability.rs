//! `check --immutability`: what could be deleted.

use std::time::SystemTime;

use serde::Serialize;
use windlass_engine::{
    format::time::Timestamp,
    immutability::{self, ImmutabilityError, Options, Report},
};

use crate::{
    failure::{Failure, Outcome},
    output::Output,
    session::Session,
    units,
};

#[derive(Serialize)]
struct SummaryJson {
    message_type: &'static str,
    kept: u64,
    kept_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_until: Option<String>,
    renewed: u64,
    unprotected: Vec<String>,
}

/// Looks at every object that is to stay. Nothing is read, so no lock is needed: what others remove
/// meanwhile is none of it.
pub(super) async fn run(renew: bool, session: &Session) -> Result<Outcome, Failure> {
    let repository = session.open_uncached().await?;
    let looking = immutability::run(&repository, Options { renew }, &session.cancel);
    let report = looking.await.map_err(|error| match error {
        ImmutabilityError::NoPeriod => Failure::input(
            "nothing says for how long objects are to be kept",
            "give -o s3.object-lock=governance (or compliance) and -o s3.object-lock-days=N",
        ),
        ImmutabilityError::Fault(fault) => fault.into(),
    })?;
    tell(&session.output, &report);
    match report.unprotected.len() {
        0 => Ok(Outcome::Done),
        objects => Err(Failure::input(
            format!("{objects} objects can be deleted by whoever may delete"),
            "keep them with `check --immutability --renew` and -o s3.object-lock=… \
             -o s3.object-lock-days=…, and give backups the same two options",
        )),
    }
}

fn tell(output: &Output, report: &Report) {
    let until = report.earliest.map(timestamp);
    if output.is_json() {
        output.json(&SummaryJson {
            message_type: "summary",
            kept: report.kept,
            kept_bytes: report.kept_bytes,
            kept_until: until.as_ref().map(units::rfc3339),
            renewed: report.renewed,
            unprotected: report.unprotected.iter().map(ToString::to_string).collect(),
        });
        return;
    }
    for key in &report.unprotected {
        output.line(&format!("{key} can be deleted"));
    }
    if report.renewed > 0 {
        output.line(&format!("{} objects are kept longer than before", report.renewed));
    }
    if let Some(until) = until {
        let (bytes, until) = (units::bytes(report.kept_bytes), units::local_time(&until));
        output.line(&format!(
            "{} objects of {bytes} cannot be deleted before {until}, or later",
            report.kept
        ));
    }
}

fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::utc(i64::try_from(since.as_secs()).unwrap_or(i64::MAX), 0)
}
