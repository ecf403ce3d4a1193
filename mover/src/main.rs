//! `windlass`: the command line.
//!
//! Invariants
//! - What an error is decides the exit code ([`failure::Failure::exit_code`]), nothing else does.
//! - The first SIGINT or SIGTERM cancels, so that locks are taken back; the second one ends the
//!   process at once.
//!
//! Not here: words for people (`output`, `failure`), what a command does (`command`).

mod args;
mod command;
mod default_repository;
mod failure;
mod location;
mod output;
mod scan;
mod session;
mod settings;
mod snapshot;
mod units;
mod volsync;

use std::{process::ExitCode, sync::Arc};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use windlass_engine::{cancel::Cancel, repository::Environment};

use args::Cli;
use failure::{Failure, Outcome};
use output::Output;
use session::{LockWait, Session};
use settings::{Settings, environment::Variables};

fn main() -> ExitCode {
    windlass_engine::heap::return_large_blocks();
    open_many_files();
    if let Some(mover) = volsync::Mover::of_process() {
        return volsync::main(mover);
    }
    let cli = match Cli::of_process() {
        Ok(cli) => cli,
        Err(error) => return output::usage(&error),
    };
    let variables = Variables::of_process();
    let output = Arc::new(Output::new(&cli.global, &variables));
    let result = Settings::new(cli.global, variables).and_then(|settings| {
        let session = Session {
            settings: Arc::new(settings),
            output: Arc::clone(&output),
            cancel: Cancel::new(),
            environment: Environment::system(),
            lock_wait: LockWait::default(),
        };
        run(cli.command, session)
    });
    let result = output.finish().and(result);
    ExitCode::from(output.report(&result))
}

fn run(command: args::Command, session: Session) -> Result<Outcome, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(session.environment.resources.cpus)
        .enable_all()
        .build()
        .map_err(|error| Failure::io("starting threads", error))?;
    let result = runtime.block_on(async {
        let _watcher = tokio::spawn(watch_signals(session.cancel.clone())?);
        command::run(command, &session).await
    });
    // What was cancelled may sit in a system call; nobody waits for it.
    runtime.shutdown_background();
    result
}

/// Raises the limit of open files as far as is allowed and sensible: each level of a deep tree whose
/// directories wait holds one. What cannot be raised stays.
fn open_many_files() {
    const MOST: u64 = 1 << 16;
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(MOST).min(MOST);
    if limit.current.is_some_and(|current| current < most) {
        let _stays = setrlimit(Resource::Nofile, Rlimit { current: Some(most), ..limit });
    }
}

/// Cancels at the first signal, leaves at the second.
fn watch_signals(cancel: Cancel) -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::io("listening for signals", error));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    // Being listened for, a limit on the size of files is an error of the write, not the end.
    let _stays_installed = listen(SignalKind::from_raw(Signal::XFSZ.as_raw()))?;
    Ok(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if cancel.is_cancelled() {
                std::process::exit(failure::INTERRUPTED.into());
            }
            cancel.cancel();
        }
    })
}
