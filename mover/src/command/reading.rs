//! What the commands that look into a repository have in common.

use windlass_engine::{
    dump::DumpError, fault::Fault, find::FindError, protocol::object::ObjectError,
};

use crate::{
    failure::{Failure, Outcome},
    output::{self, Output},
};

/// Runs what may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let result = tokio::task::spawn_blocking(work).await;
    result
        .unwrap_or_else(|_panicked| Err(Fault::Bug("looking into the repository panicked").into()))
}

/// Something that cannot be read, while the rest goes on.
pub(super) fn problem(output: &Output, during: &str, path: &[u8], error: &dyn std::error::Error) {
    output::problem::tell(output, during, path, &error.to_string());
}

/// How a command ends that has reported problems.
pub(super) fn whole(problems: u64) -> Result<Outcome, Failure> {
    match problems {
        0 => Ok(Outcome::Done),
        some => Err(errors(some, "all but what is named above was read")),
    }
}

/// What was reported, in one number.
pub(super) fn errors(problems: u64, advice: &str) -> Failure {
    Failure::input(
        match problems {
            1 => "There was 1 error".to_owned(),
            many => format!("There were {many} errors"),
        },
        advice,
    )
}

/// A path that leads nowhere.
pub(super) fn not_found(error: FindError) -> Failure {
    match error {
        FindError::Unreadable { path, fault: Fault::Damaged { object, damage } } => {
            Fault::Damaged { object: format!("path {path}: {object}"), damage }.into()
        }
        FindError::Unreadable { fault, .. } => fault.into(),
        error => Failure::input(error.to_string(), error.advice()),
    }
}

/// A dump that broke off.
pub(super) fn dump_failed(error: DumpError) -> Failure {
    match error {
        DumpError::Write(error) => Failure::io("writing", error),
        DumpError::Fault(fault) => fault.into(),
        DumpError::File { fault: Fault::Cancelled, .. } => Failure::Interrupted,
        DumpError::File { ref fault, .. } => {
            Failure::input(format!("cannot dump file: {error}"), fault.advice())
        }
    }
}

/// An object that cannot be shown.
pub(super) fn no_object(error: ObjectError) -> Failure {
    match error {
        ObjectError::Fault(fault) => fault.into(),
        ObjectError::Ambiguous { .. } => Failure::input(error.to_string(), "write more of the id"),
        error => Failure::input(error.to_string(), "look at the id and the kind of object"),
    }
}
