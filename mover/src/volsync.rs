//! The movers that VolSync's controller starts, each under the path of the program whose place it
//! takes.
//!
//! ```text
//!  environment, arguments ─► request, checked ─► steps ─► ending ─► exit code, result as data
//!                                                  └──────► lines that the controller keeps
//! ```
//!
//! Invariants
//! - What is wrong with what was asked for is said before anything is touched.
//! - The first step that fails ends the run; none after it is begun.
//! - A signal ends the run within ten seconds, with its locks taken back where the store answers.
//! - Nothing secret is an argument, in a file or printed.
//!
//! To add a mover: a variant of [`Mover`] with its path, and a file that makes steps of its
//! environment, as `restic` does.

mod container;
mod ending;
mod gate;
mod lineage;
mod metrics;
mod restic;
mod result;
mod signals;
mod volume;

use std::{path::Path, process::ExitCode, sync::Arc, time::Instant};

use windlass_engine::{cancel::Cancel, repository::Environment};

use crate::{
    args::GlobalArgs,
    failure::Failure,
    output::Output,
    session::{LockWait, Session},
    settings::{Settings, environment::Variables},
};
use container::Container;
use ending::{Ending, Halt};
use result::Ledger;
use signals::Signals;

/// A program whose place is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mover {
    /// For restic repositories.
    Restic,
}

impl Mover {
    /// The one under whose name this process was started.
    pub(crate) fn of_process() -> Option<Self> {
        let name = std::env::args_os().next()?;
        let path = Path::new(&name);
        // A link that the gate made leads to the name.
        Self::at(path).or_else(|| Self::at(&std::fs::read_link(path).ok()?))
    }

    fn at(path: &Path) -> Option<Self> {
        path.ends_with("mover-restic/entry.sh").then_some(Self::Restic)
    }

    /// As messages and results name it.
    fn word(self) -> &'static str {
        match self {
            Self::Restic => "restic",
        }
    }

    /// The same at the beginning of a line.
    fn title(self) -> &'static str {
        match self {
            Self::Restic => "Restic",
        }
    }

    /// Where the controller looks for it.
    fn path(self) -> &'static Path {
        match self {
            Self::Restic => Path::new("/mover-restic/entry.sh"),
        }
    }
}

/// One run of a mover.
struct Run {
    mover: Mover,
    words: Vec<String>,
    variables: Variables,
    output: Arc<Output>,
    cancel: Cancel,
    ledger: Ledger,
}

/// Does what the container was started for.
pub(crate) fn main(mover: Mover) -> ExitCode {
    let mut variables = Variables::of_process();
    // Once in ten seconds: whoever reads is a log.
    variables.set_default("RESTIC_PROGRESS_FPS", "0.1");
    let words = std::env::args_os().skip(1);
    let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    let output = Arc::new(Output::new(&GlobalArgs::default(), &variables));
    let ledger = Ledger::new(mover.word(), &words, &variables);
    let run = Run { mover, words, variables, output, cancel: Cancel::new(), ledger };
    let environment = Environment::system();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(environment.resources.cpus)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            return run.end(Err(Failure::io("starting threads", error).into()), None);
        }
    };
    let code = runtime.block_on(run.whole(environment));
    // What was cancelled may sit in a system call; nobody waits for it.
    runtime.shutdown_background();
    code
}

impl Run {
    async fn whole(self, environment: Environment) -> ExitCode {
        let signals = match Signals::listen(&self.cancel, &self.output, &self.ledger) {
            Ok(signals) => signals,
            Err(failure) => return self.end(Err(failure.into()), None),
        };
        self.greet();
        if let Some(gate) = gate::closed(self.mover, &self.variables) {
            let held = gate.hold(&self.words, &self.output, &self.cancel).await;
            return self.end(held, signals.first());
        }
        let worked = self.work(environment).await;
        self.end(worked, signals.first())
    }

    /// Says who this is and what it was told.
    fn greet(&self) {
        let output = &self.output;
        let version = self.variables.get("version").map(|it| it.to_string_lossy().into_owned());
        let version = version.unwrap_or_else(|| "unknown".into());
        output.line("Starting container");
        output.line(&format!("VolSync {} container version: {version}", self.mover.word()));
        output.line(&self.words.join(" "));
        output.line(&format!("windlass {}", env!("CARGO_PKG_VERSION")));
    }

    async fn work(&self, environment: Environment) -> Result<Ending, Halt> {
        let output = &self.output;
        if self.variables.get("CUSTOM_CA").is_some() {
            output.line("Using custom CA.");
        }
        output.line("Testing mandatory env variables");
        let container = Container::of(&self.variables, &restic::MANDATORY)?;
        let request = restic::Request::of(&self.words, &self.variables)?;
        let lineage = match lineage::given(&self.variables) {
            true => None,
            false => lineage::of(&container.cache, &environment.entropy),
        };
        let settings = Settings::new(container.global(lineage)?, self.variables.clone())?;
        // What would be found out later, when something was done already.
        settings.source_threads(None)?;
        settings.store_settings(&settings.chosen()?)?;
        let session = Session {
            settings: Arc::new(settings),
            output: Arc::clone(output),
            cancel: self.cancel.clone(),
            environment,
            lock_wait: LockWait::default(),
        };
        let begun = Instant::now();
        let ended = restic::run(request, &container, &session, &self.ledger).await;
        self.ledger.note(|told| told.lock_wait_seconds = session.lock_wait.total().as_secs_f64());
        if matches!(ended, Ok(Ending::Done | Ending::NothingRestored)) {
            let seconds = begun.elapsed().as_secs();
            output.line(&format!("{} completed in {seconds}s", self.mover.title()));
            output.line("=== Done ===");
        }
        ended
    }

    /// Says how it ended, in words, as data and as an exit code.
    fn end(&self, ended: Result<Ending, Halt>, signal: Option<signals::Stop>) -> ExitCode {
        let halt = match ended {
            Ok(ending) => Halt::from(ending),
            Err(halt) => halt.caused_by(signal),
        };
        for line in &halt.lines {
            self.output.result(line);
        }
        let written = self.output.finish();
        self.ledger.close(&halt);
        for problem in self.ledger.publish(&self.variables) {
            self.output.warn(&problem);
        }
        ExitCode::from(match written {
            Err(_nobody_reads) if halt.code == 0 => 1,
            _ => halt.code,
        })
    }
}
