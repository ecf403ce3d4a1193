//! Real servers for tests, each on a loopback port of its own.
//!
//! Invariants
//! - A server ends with its handle, by its id; it listens on loopback alone and keeps what it has in
//!   a directory of the test.
//! - A server that is not installed fails the test where `WINDLASS_REQUIRE_PEERS` is set, unless it
//!   is one that cannot be had everywhere; otherwise the test says what it leaves out.

pub mod azurite;
pub mod certificates;
pub mod fake_gcs;
pub mod nginx;
pub mod rclone;
pub mod rest_server;
pub mod sshd;

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A running server. It ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddrV4,
    log: PathBuf,
}

/// How long a server may take to listen. Azurite is slow on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Attempts at a port that nobody takes in the meantime.
const ATTEMPTS: usize = 5;

/// Whether a program can be had wherever an unattended run sets a machine up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// It is among the packages that are installed for the tests.
    Always,
    /// It depends on tools that not every machine has.
    Perhaps,
}

impl Server {
    /// Starts a server whose command is made for a port that is free, and waits until it listens.
    ///
    /// # Panics
    /// Where it does not.
    pub fn start(scratch: &Path, mut command: impl FnMut(SocketAddrV4) -> Command) -> Self {
        for attempt in 1..=ATTEMPTS {
            let address = free_address();
            let log = scratch.join(format!("server-{}.log", address.port()));
            let output = fs::File::create(&log).expect("a log");
            let mut child = command(address)
                .stdin(Stdio::null())
                .stdout(output.try_clone().expect("a second handle"))
                .stderr(output)
                .spawn()
                .expect("the server starts");
            let began = Instant::now();
            while began.elapsed() < PATIENCE {
                if TcpStream::connect(address).is_ok() {
                    return Self { child, address, log };
                }
                if child.try_wait().expect("its status").is_some() {
                    break;
                }
                thread::sleep(Duration::from_millis(20));
            }
            let _ended = (child.kill(), child.wait());
            let told = fs::read_to_string(&log).unwrap_or_default();
            assert!(attempt < ATTEMPTS, "the server does not listen: {told}");
        }
        unreachable!("the last attempt panics")
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// What it wrote about itself.
    ///
    /// # Panics
    /// Where that is not UTF-8.
    #[must_use]
    pub fn told(&self) -> String {
        fs::read_to_string(&self.log).expect("UTF-8")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = (self.child.kill(), self.child.wait());
    }
}

/// An address on loopback that nobody listens on now.
fn free_address() -> SocketAddrV4 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
}

/// A program on PATH or at one of `places`. Where it is missing this says what is skipped, or
/// fails.
///
/// # Panics
/// Where the program is missing and has to be there.
pub fn find(program: &str, places: &[&str], availability: Availability) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .map(|directory| directory.join(program))
        .chain(places.iter().map(PathBuf::from))
        .find(|file| file.is_file());
    if found.is_none() {
        let required = env::var_os("WINDLASS_REQUIRE_PEERS").is_some();
        assert!(
            !(required && availability == Availability::Always),
            "there is no {program}, and WINDLASS_REQUIRE_PEERS asks for it"
        );
        #[expect(clippy::print_stderr, reason = "whoever runs the tests must see it")]
        {
            eprintln!("skipped: there is no {program} (`cargo xtask test` installs it if it can)");
        }
    }
    found
}
