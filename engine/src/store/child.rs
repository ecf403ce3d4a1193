//! A program that is run to reach a store, spoken to over its standard input and output.
//!
//! Invariants
//! - It is ended with the last handle on it, by its own id, never by name: first its input is
//!   closed and it gets time to come to its own end.
//! - A Ctrl-C is for this process alone; the program stays, so that what is under way can be
//!   finished or taken back. While it starts it may ask its user on the terminal.
//! - What it complains of is kept, the last lines only, for the error that follows from it.
//!
//! Not here: what is said to it (`sftp`, `rclone`).

mod foreground;
#[cfg(all(feature = "rclone", feature = "webdav"))]
mod handed;
mod words;

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    fmt, io,
    path::Path,
    pin::{Pin, pin},
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader, ReadBuf},
    process::{ChildStderr, ChildStdin, ChildStdout, Command},
    runtime::Handle,
    task::JoinHandle,
    time::timeout,
};

use self::foreground::Foreground;
#[cfg(all(feature = "rclone", feature = "webdav"))]
pub(super) use self::handed::Handed;
pub(super) use self::words::split;

/// A running program. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Child {
    name: String,
    process: Option<tokio::process::Child>,
    complaints: Arc<Complaints>,
    listener: JoinHandle<()>,
    foreground: Option<Foreground>,
    progress: Progress,
}

/// Both directions of what is said to it.
#[derive(Debug)]
pub(super) struct Pipes {
    stdout: ChildStdout,
    stdin: ChildStdin,
    progress: Progress,
}

/// How many bytes have gone through the pipes. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(Arc<AtomicU64>);

/// The last lines that the program wrote to its standard error.
#[derive(Default)]
struct Complaints(Mutex<VecDeque<String>>);

/// What is worth repeating of a program that failed.
const KEPT_LINES: usize = 6;
/// Longer lines are cut: nobody reads them.
const LINE_BYTES: usize = 400;
/// How long a program may take to end by itself.
const GRACE: Duration = Duration::from_secs(2);

impl Child {
    /// Runs `command`: a program and its arguments.
    pub(super) fn start(
        command: &[OsString],
        environment: &[(OsString, OsString)],
    ) -> io::Result<(Self, Pipes)> {
        Self::start_overheard(command, environment, |_line| true)
    }

    /// The same, where not all that it writes to its standard error is a complaint: every line is
    /// shown to `is_complaint`.
    pub(super) fn start_overheard(
        command: &[OsString],
        environment: &[(OsString, OsString)],
        is_complaint: impl FnMut(&str) -> bool + Send + 'static,
    ) -> io::Result<(Self, Pipes)> {
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut started = Command::new(program);
        started
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut process = started.spawn().map_err(|error| {
            let why = format!("the program {program:?} cannot be started: {error}");
            io::Error::new(error.kind(), why)
        })?;
        let missing = || io::Error::other("a pipe to the program is missing");
        let stdin = process.stdin.take().ok_or_else(missing)?;
        let stdout = process.stdout.take().ok_or_else(missing)?;
        let stderr = process.stderr.take().ok_or_else(missing)?;
        let foreground = process.id().and_then(Foreground::give_to);
        let complaints = Arc::new(Complaints::default());
        let listener = tokio::spawn(listen(stderr, Arc::clone(&complaints), is_complaint));
        let name = name_of(program);
        let progress = Progress::default();
        let pipes = Pipes { stdout, stdin, progress: progress.clone() };
        Ok((
            Self { name, process: Some(process), complaints, listener, foreground, progress },
            pipes,
        ))
    }

    /// What has gone through its pipes.
    pub(super) fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Whether it runs no more.
    #[cfg(all(feature = "rclone", feature = "webdav"))]
    pub(super) fn has_ended(&mut self) -> bool {
        self.process.as_mut().is_none_or(|process| !matches!(process.try_wait(), Ok(None)))
    }

    /// It has started: from here on the terminal is ours again.
    pub(super) fn is_ready(&mut self) {
        self.foreground = None;
    }

    /// Why a conversation broke off, as far as its end and its complaints tell.
    pub(super) async fn epitaph(&mut self) -> String {
        self.foreground = None;
        let ended = match &mut self.process {
            Some(process) => timeout(GRACE, process.wait()).await,
            None => return format!("{} has ended", self.name),
        };
        // All it had to say comes before the end of the pipe; a grandchild may keep that open.
        let _heard = timeout(GRACE, &mut self.listener).await;
        let said = self.complaints.text();
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        match ended {
            Ok(Ok(status)) => format!("{} ended ({status}){said}", self.name),
            Ok(Err(error)) => format!("{} cannot be waited for: {error}{said}", self.name),
            Err(_elapsed) => format!("{} does not answer as it should{said}", self.name),
        }
    }

    /// The last of what it complained of, on one line.
    pub(super) fn complaints(&self) -> String {
        self.complaints.text()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.foreground = None;
        let Some(mut process) = self.process.take() else { return };
        // Its input is closed by whoever holds the pipes. Outside a runtime, and when the runtime
        // ends before the grace is over, dropping the process kills it.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                let _ended = timeout(GRACE, process.wait()).await;
                drop(process);
            });
        }
    }
}

impl Progress {
    /// Waits for `answer` as long as anything goes through the pipes; `None` where nothing did for
    /// so long.
    pub(super) async fn watch<T>(
        &self,
        stuck_after: Duration,
        answer: impl Future<Output = T>,
    ) -> Option<T> {
        let mut answer = pin!(answer);
        loop {
            let before = self.0.load(Ordering::Relaxed);
            match timeout(stuck_after, &mut answer).await {
                Ok(answer) => return Some(answer),
                Err(_elapsed) if self.0.load(Ordering::Relaxed) != before => {}
                Err(_elapsed) => return None,
            }
        }
    }

    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl AsyncRead for Pipes {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stdout).poll_read(context, buffer))?;
        self.progress.add(buffer.filled().len().saturating_sub(before));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipes {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stdin).poll_write(context, bytes))?;
        self.progress.add(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdin).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdin).poll_shutdown(context)
    }
}

/// What a program is called in messages.
fn name_of(program: &OsStr) -> String {
    let path = Path::new(program);
    path.file_name().unwrap_or(program).to_string_lossy().into_owned()
}

async fn listen(
    stderr: ChildStderr,
    complaints: Arc<Complaints>,
    mut is_complaint: impl FnMut(&str) -> bool,
) {
    let mut lines = BufReader::new(stderr).split(b'\n');
    // A pipe that cannot be read any more has nothing left to tell.
    while let Ok(Some(line)) = lines.next_segment().await {
        let line = String::from_utf8_lossy(&line);
        if is_complaint(&line) {
            complaints.add(&line);
        }
    }
}

impl Complaints {
    fn add(&self, line: &str) {
        let line: String = line.trim().chars().filter(|letter| !letter.is_control()).collect();
        if line.is_empty() {
            return;
        }
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT_LINES {
            lines.pop_front();
        }
        lines.push_back(line.chars().take(LINE_BYTES).collect());
    }

    fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join("; ")
    }
}

impl fmt::Debug for Complaints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn command(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    fn run(work: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(work);
    }

    #[test]
    fn what_is_said_to_it_and_by_it_goes_through_the_pipes() {
        run(async {
            let variable = ("GREETING".into(), "hello ".into());
            let echo = command(&["sh", "-c", "printf \"$GREETING\"; cat"]);
            let (mut child, mut pipes) = Child::start(&echo, &[variable]).expect("started");
            child.is_ready();
            pipes.write_all(b"world").await.expect("written");
            let mut back = [0; 11];
            pipes.read_exact(&mut back).await.expect("read");
            assert_eq!(&back, b"hello world");
            drop(pipes);
            assert!(child.epitaph().await.contains("sh ended (exit status: 0)"));
        });
    }

    #[test]
    fn its_last_complaints_explain_its_end() {
        run(async {
            let fail = command(&["sh", "-c", "seq 1 9 >&2; echo no route >&2; exit 255"]);
            let (mut child, _pipes) = Child::start(&fail, &[]).expect("started");
            let why = child.epitaph().await;
            assert_eq!(why, "sh ended (exit status: 255): 5; 6; 7; 8; 9; no route");
        });
    }

    #[test]
    fn it_ends_with_its_handle_even_if_it_does_not_want_to() {
        run(async {
            let stubborn = command(&["sh", "-c", "trap '' TERM INT PIPE; sleep 60"]);
            let (child, pipes) = Child::start(&stubborn, &[]).expect("started");
            let id = child.process.as_ref().and_then(tokio::process::Child::id).expect("runs");
            drop((child, pipes));
            for _ in 0..100 {
                if !Path::new(&format!("/proc/{id}")).exists() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            panic!("process {id} still runs");
        });
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        run(async {
            let error = Child::start(&command(&["/no/such/program"]), &[]).expect_err("missing");
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        });
    }
}
