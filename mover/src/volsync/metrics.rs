//! The result as Prometheus text: in a file, or sent to a push gateway.
//!
//! Invariants: only where it was asked for; a file is whole or as it was; a gateway that does not
//! answer costs a few seconds and nothing else.

use std::{
    fmt::Write as _,
    fs,
    io::{Read, Write as _},
    net::{TcpStream, ToSocketAddrs},
    path::Path,
    time::Duration,
};

use super::{ending::Outcome, result::Told};
use crate::settings::environment::Variables;

const PATIENCE: Duration = Duration::from_secs(5);
/// What is looked at of an answer.
const MOST_ANSWER_BYTES: u64 = 1024;

/// Hands metrics out to whoever asked, and gives what did not work.
pub(super) fn publish(told: &Told, variables: &Variables) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(file) = variables.path_of("WINDLASS_", "METRICS_FILE")
        && let Err(error) = replace(&file, &text(told))
    {
        problems.push(format!("WINDLASS_METRICS_FILE: cannot write {}: {error}", file.display()));
    }
    match variables.of("WINDLASS_", "PUSHGATEWAY") {
        Ok(None) => {}
        Ok(Some(url)) => {
            if let Err(why) = push(&url, &text(told)) {
                problems.push(format!("WINDLASS_PUSHGATEWAY: {why}"));
            }
        }
        Err(failure) => problems.push(failure.message()),
    }
    problems
}

/// Those who read the file see the old one or the new one.
fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let new = Path::new(&name);
    fs::write(new, text)?;
    fs::rename(new, file)
}

fn text(told: &Told) -> String {
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, value: f64| {
        let _into_memory = write!(
            text,
            "# HELP windlass_{name} {help}\n# TYPE windlass_{name} gauge\nwindlass_{name} {value}\n"
        );
    };
    let is = |outcome| f64::from(u8::from(told.outcome == Some(outcome)));
    gauge("success", "Whether all was done.", is(Outcome::Success));
    gauge("partial", "Whether something could not be read.", is(Outcome::Partial));
    gauge("empty_volume", "Whether there was nothing to back up.", is(Outcome::EmptyVolume));
    gauge("nothing_restored", "Whether no snapshot was eligible.", is(Outcome::NothingRestored));
    gauge("exit_code", "What the mover ended with.", told.exit_code.into());
    gauge("duration_seconds", "From start to end.", told.duration_seconds);
    gauge("lock_wait_seconds", "Waiting for locks of others.", told.lock_wait_seconds);
    let held = f64::from(u8::from(told.expiry_held.is_some()));
    gauge("expiry_held", "Whether nothing expires because the volume shrank.", held);
    let mut count = |name: &str, help: &str, value: u64| gauge(name, help, value as f64);
    if let Some(bytes) = told.peak_memory_bytes {
        count("peak_memory_bytes", "The most memory that was in use.", bytes);
    }
    if let Some(backup) = &told.backup {
        count("backup_files", "Files in the volume.", backup.files);
        count("backup_files_new", "Files that were not there before.", backup.files_new);
        count("backup_files_changed", "Files that differ.", backup.files_changed);
        count("backup_files_unreadable", "Items left out.", backup.unreadable);
        count("backup_bytes", "Bytes in the volume.", backup.bytes);
        count("backup_read_bytes", "Bytes read of the volume.", backup.bytes_read);
        count("backup_added_bytes", "Bytes new to the repository.", backup.bytes_added);
        count("backup_stored_bytes", "Bytes they take there.", backup.bytes_stored);
    }
    if let Some(snapshots) = told.snapshots_removed {
        count("snapshots_removed", "Snapshots that expired.", snapshots);
    }
    if let Some(packs) = told.packs_removed {
        count("packs_removed", "Packs that were cleaned up.", packs);
    }
    if let Some(restore) = &told.restore {
        count("restore_files_written", "Files that were written.", restore.files_written);
        count("restore_files_unchanged", "Files that were there.", restore.files_unchanged);
        count("restore_files_failed", "Items not as they should be.", restore.failed);
        count("restore_written_bytes", "Bytes that were written.", restore.bytes_written);
        count("restore_deleted", "Items that were removed.", restore.deleted);
    }
    let name = "windlass_phase_seconds";
    let _into_memory = write!(text, "# HELP {name} Time of each step.\n# TYPE {name} gauge\n");
    for (phase, seconds) in &told.phase_seconds {
        let _into_memory = writeln!(text, "{name}{{phase=\"{phase}\"}} {seconds}");
    }
    text
}

/// Puts the text to `http://HOST:PORT/PATH`, which replaces what a group had.
fn push(url: &str, text: &str) -> Result<(), String> {
    let rest = url.strip_prefix("http://").ok_or("only http:// can be sent to")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let failed = |error: std::io::Error| format!("{host}: {error}");
    let addresses = address.to_socket_addrs().map_err(failed)?;
    let mut last = Err(format!("{host} has no address"));
    for address in addresses {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(failed);
        last = stream.and_then(|stream| put(stream, host, path, text).map_err(failed));
        if last.is_ok() {
            break;
        }
    }
    match last?.split(' ').nth(1) {
        Some(status) if status.starts_with('2') => Ok(()),
        Some(status) => Err(format!("{host} answers with status {status}")),
        None => Err(format!("{host} does not answer as a push gateway does")),
    }
}

fn put(mut stream: TcpStream, host: &str, path: &str, text: &str) -> std::io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let length = text.len();
    write!(
        stream,
        "PUT /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: text/plain; version=0.0.4\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{text}"
    )?;
    let mut answer = Vec::new();
    stream.take(MOST_ANSWER_BYTES).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
