//! MinIO on loopback, for as long as a comparison lasts.
//!
//! Invariants: it is ended by its process id when its owner is dropped; nothing but its own
//! directory is written to.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::workspace;

/// The keys that are let in.
pub(super) const KEY_ID: &str = "compare-key";
pub(super) const SECRET_KEY: &str = "compare-secret";

/// Built where no MinIO is found.
const MODULE: &str = "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c";
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server.
pub(super) struct Server {
    address: SocketAddr,
    child: Child,
}

impl Server {
    /// Serves the directories in `directory` as buckets.
    pub(super) fn start(program: &Path, directory: &Path, log: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", program.display());
        // Free now; nobody else on this machine asks for just this one.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|it| it.local_addr());
        let address = port.map_err(failed)?;
        let output = fs::File::create(log).map_err(failed)?;
        let errors = output.try_clone().map_err(failed)?;
        let mut command = Command::new(program);
        command.arg("server").arg(directory).arg("--address").arg(address.to_string());
        command.env_clear().env("HOME", directory).env("MINIO_BROWSER", "off");
        command.env("MINIO_ROOT_USER", KEY_ID).env("MINIO_ROOT_PASSWORD", SECRET_KEY);
        let child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
        let mut server = Self { address, child: child.map_err(failed)? };
        let began = Instant::now();
        while !server.is_ready() {
            if let Ok(Some(status)) = server.child.try_wait() {
                let said = fs::read_to_string(log).unwrap_or_default();
                return Err(format!("MinIO ended ({status}): {}", said.trim()));
            }
            if began.elapsed() > PATIENCE {
                return Err("MinIO does not answer".into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    fn is_ready(&self) -> bool {
        let asked = || -> std::io::Result<bool> {
            let mut stream = TcpStream::connect(self.address)?;
            stream.write_all(
                b"GET /minio/health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            )?;
            let mut answer = [0; 12];
            stream.read_exact(&mut answer)?;
            Ok(answer.ends_with(b"200"))
        };
        asked().unwrap_or(false)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _it_may_have_ended = self.child.kill();
        let _already = self.child.wait();
    }
}

/// MinIO among `peers`, on PATH, or built from its module where Go is there.
pub(super) fn find(peers: Option<&Path>) -> Result<PathBuf, String> {
    let beside = peers.map(|peers| peers.join("minio")).filter(|program| program.is_file());
    if let Some(program) = beside.or_else(|| workspace::find_on_path("minio")) {
        return Ok(program);
    }
    let directory = workspace::target_dir()?.join("minio");
    let program = directory.join("minio");
    if program.is_file() {
        return Ok(program);
    }
    let go = workspace::find_on_path("go")
        .ok_or("neither MinIO nor Go, which could build it, is on PATH")?;
    eprintln!("xtask compare: building {MODULE}");
    let mut install = Command::new(go);
    install.args(["install", "-ldflags", "-s -w", MODULE]).env("GOBIN", &directory);
    workspace::run(&mut install)?;
    Ok(program)
}
