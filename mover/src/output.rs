//! The only place that prints.
//!
//! Invariants
//! - Results, progress and JSON messages go to standard output; warnings and errors to standard
//!   error. With `--json` standard output has JSON lines and nothing else.
//! - Lines that scripts and wrappers match are worded as restic words them.
//! - A status line is on the terminal only between other lines, never in the middle of one.
//! - A reader that goes away ends the output, not the work.

pub(crate) mod backup;
pub(crate) mod node;
pub(crate) mod notices;
pub(crate) mod problem;
pub(crate) mod progress;
pub(crate) mod quote;
pub(crate) mod restore;
pub(crate) mod store;
pub(crate) mod table;

use std::{
    fmt,
    io::{self, BufWriter, ErrorKind, IsTerminal, Stdout, Write},
    process::ExitCode,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;

use crate::{
    args::GlobalArgs,
    failure::{Failure, Outcome},
    settings::environment::Variables,
};

/// What a command prints with. Used from any thread.
pub(crate) struct Output {
    verbosity: u8,
    json: bool,
    /// Progress is JSON, whatever else is.
    json_status: bool,
    terminal: bool,
    /// Asked for, instead of ten in a second.
    frames_per_second: Option<f64>,
    screen: Mutex<Screen>,
}

struct Screen {
    out: BufWriter<Stdout>,
    status_shown: bool,
    failed: Option<io::Error>,
}

const MOST_FRAMES_PER_SECOND: f64 = 60.0;
const USUAL_FRAMES_PER_SECOND: f64 = 10.0;
const OUT_BYTES: usize = 64 << 10;

impl Output {
    pub(crate) fn new(global: &GlobalArgs, variables: &Variables) -> Self {
        let out = io::stdout();
        let frames = variables.get("RESTIC_PROGRESS_FPS").and_then(|text| text.to_str());
        let frames = frames.and_then(|text| text.parse().ok()).filter(|fps: &f64| *fps > 0.0);
        Self {
            verbosity: global.verbosity(),
            json: global.json,
            json_status: global.json
                || variables.get("WINDLASS_PROGRESS").is_some_and(|how| how == "json"),
            terminal: out.is_terminal(),
            frames_per_second: frames.map(|fps| fps.min(MOST_FRAMES_PER_SECOND)),
            screen: Mutex::new(Screen {
                out: BufWriter::with_capacity(OUT_BYTES, out),
                status_shown: false,
                failed: None,
            }),
        }
    }

    /// Whether messages are JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether progress is told in JSON.
    pub(crate) fn is_status_json(&self) -> bool {
        self.json_status
    }

    /// Whether a person is looking.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether `-q` was given, or `-v` how often: 0, 1, 2 or 3.
    pub(crate) fn verbosity(&self) -> u8 {
        self.verbosity
    }

    /// What was asked for: printed even with `-q`. Never with `--json`.
    pub(crate) fn result(&self, line: &str) {
        self.text(0, line);
    }

    /// A line for people.
    pub(crate) fn line(&self, line: &str) {
        self.text(1, line);
    }

    /// A line for those who asked for more, with `-v`.
    pub(crate) fn detail(&self, line: &str) {
        self.text(2, line);
    }

    /// A line for those who asked for every item, with `-vv`.
    pub(crate) fn item(&self, line: &str) {
        self.text(3, line);
    }

    /// One JSON message, or a whole JSON document, on a line.
    pub(crate) fn json<T: Serialize + ?Sized>(&self, message: &T) {
        self.screen().write_line(json_line(message).as_bytes());
    }

    /// Bytes as they are.
    pub(crate) fn raw(&self, bytes: &[u8]) {
        self.screen().write(bytes);
    }

    /// Hands over what is buffered.
    pub(crate) fn flush(&self) {
        self.screen().flush();
    }

    /// A warning or an error that does not end the command, on standard error.
    pub(crate) fn warn(&self, line: &str) {
        self.screen().on_stderr(line);
    }

    /// A JSON message that is no result, on standard error.
    pub(crate) fn json_error<T: Serialize>(&self, message: &T) {
        self.screen().on_stderr(&json_line(message));
    }

    /// Puts a status line at the bottom of the terminal, in place of the last one. Where there is
    /// no terminal and it was asked for all the same, it is a line.
    pub(crate) fn status(&self, line: &str) {
        let mut screen = self.screen();
        if !self.terminal {
            screen.write_line(line.as_bytes());
            screen.flush();
            return;
        }
        let width = terminal_width();
        let fitting: String = line.chars().take(width).collect();
        screen.clear_status();
        screen.write(fitting.as_bytes());
        screen.flush();
        screen.status_shown = true;
    }

    /// Takes the status line away.
    pub(crate) fn end_status(&self) {
        let mut screen = self.screen();
        screen.clear_status();
        screen.flush();
    }

    /// How often a status is due; `None` for never.
    pub(crate) fn status_interval(&self) -> Option<Duration> {
        let usual = (self.json || self.terminal).then_some(USUAL_FRAMES_PER_SECOND);
        let frames = self.frames_per_second.or(usual).filter(|_| self.verbosity > 0)?;
        Some(Duration::from_secs_f64(1.0 / frames))
    }

    /// Writes out what is left. An error here means that the reader did not get everything.
    pub(crate) fn finish(&self) -> Result<(), Failure> {
        let mut screen = self.screen();
        screen.clear_status();
        screen.flush();
        match screen.failed.take() {
            Some(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Failure::io("writing to standard output", error))
            }
            _ => Ok(()),
        }
    }

    /// Says how the command ended, and with which code.
    pub(crate) fn report(&self, result: &Result<Outcome, Failure>) -> u8 {
        let (code, message, advice) = match result {
            Ok(Outcome::Done) => return 0,
            Ok(Outcome::Partial(warning)) => (3, format!("Warning: {warning}"), None),
            Err(failure) => {
                (failure.exit_code(), format!("Fatal: {}", failure.message()), failure.advice())
            }
        };
        if self.json {
            #[derive(Serialize)]
            struct ExitError<'a> {
                message_type: &'static str,
                code: u8,
                message: &'a str,
                #[serde(skip_serializing_if = "Option::is_none")]
                advice: Option<&'a str>,
            }
            let (message, advice) = (message.as_str(), advice.as_deref());
            self.json_error(&ExitError { message_type: "exit_error", code, message, advice });
        } else {
            self.warn(&message);
            if let Some(advice) = advice {
                self.warn(&advice);
            }
        }
        code
    }

    fn text(&self, verbosity: u8, line: &str) {
        if self.json || self.verbosity < verbosity {
            return;
        }
        let mut screen = self.screen();
        screen.write_line(line.as_bytes());
        // Results and items come by the thousand, the lines between them tell where the work is.
        if self.terminal || (1..=2).contains(&verbosity) {
            screen.flush();
        }
    }

    fn screen(&self) -> MutexGuard<'_, Screen> {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("verbosity", &self.verbosity).finish_non_exhaustive()
    }
}

/// What was typed cannot be understood, or help was asked for.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let _nowhere_to_say_it = error.print();
    // clap's own code for errors means something else here.
    ExitCode::from(u8::from(error.use_stderr()))
}

impl Screen {
    fn write_line(&mut self, line: &[u8]) {
        self.clear_status();
        self.write(line);
        self.write(b"\n");
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.failed = self.out.write_all(bytes).err();
        }
    }

    fn flush(&mut self) {
        if self.failed.is_none() {
            self.failed = self.out.flush().err();
        }
    }

    fn on_stderr(&mut self, line: &str) {
        self.clear_status();
        self.flush();
        let _nowhere_to_say_it = writeln!(io::stderr().lock(), "{line}");
    }

    fn clear_status(&mut self) {
        if std::mem::take(&mut self.status_shown) {
            self.write(b"\r\x1b[K");
        }
    }
}

/// Whether a field is left out of messages, as Go leaves out what is zero, false or empty.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn json_line<T: Serialize + ?Sized>(message: &T) -> String {
    serde_json::to_string(message).unwrap_or_default()
}

fn terminal_width() -> usize {
    rustix::termios::tcgetwinsize(io::stdout())
        .ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns > 0)
        .unwrap_or(80)
}
