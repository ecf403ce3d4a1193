//! Which process this is, and whether another one still is: the only place that asks the system.
//!
//! Invariants
//! - A process counts as gone only where that is certain: it ran on the same host since the same
//!   boot, its number was given in the same namespace, and nobody has that number now, or somebody
//!   who began at another moment. Host and boot together, because copies of a running virtual
//!   machine have the same boot, and containers on different machines may have the same name.
//! - What cannot be found out is not known, never gone.

use std::fs;

use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
};

/// What is known about a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It runs.
    Alive,
    /// It does not any more.
    Gone,
    /// It ran elsewhere, or that cannot be told.
    Unknown,
}

/// What tells this process from every other with the same number: its host, the boot of its kernel,
/// the namespace of its number and the moment it began at. `None` where the system tells none of it.
#[must_use]
pub(crate) fn own_birth() -> Option<String> {
    birth_of("self")
}

/// Whether the process of this number and birth is still there.
#[must_use]
pub(crate) fn life_of(pid: i64, birth: &str) -> Life {
    let (Some(own), Some((where_born, began))) = (own_birth(), birth.rsplit_once('/')) else {
        return Life::Unknown;
    };
    if own.rsplit_once('/').map(|(here, _)| here) != Some(where_born) {
        return Life::Unknown;
    }
    let Some(number) = i32::try_from(pid).ok().filter(|pid| *pid > 0).and_then(Pid::from_raw)
    else {
        return Life::Unknown;
    };
    match test_kill_process(number) {
        Err(Errno::SRCH) => Life::Gone,
        // It may be hidden from those who look at files; then nothing more is known of it.
        _ => match stat_of(&pid.to_string()) {
            Some(stat) if stat.began != began || stat.is_dead => Life::Gone,
            _ => Life::Alive,
        },
    }
}

struct Stat {
    began: String,
    /// It ended and nobody has asked how.
    is_dead: bool,
}

fn birth_of(process: &str) -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link(format!("/proc/{process}/ns/pid")).ok()?;
    let Stat { began, .. } = stat_of(process)?;
    let host = rustix::system::uname();
    let host = host.nodename().to_str().ok()?;
    Some(format!("{host}/{}/{}/{began}", boot.trim(), namespace.to_str()?))
}

fn stat_of(process: &str) -> Option<Stat> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // A name may hold anything, closing parentheses too.
    let (_name, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let is_dead = matches!(fields.next()?, "Z" | "X" | "x");
    // The third field was the first of these; the moment is the 22nd.
    let began = fields.nth(18)?.to_owned();
    Some(Stat { began, is_dead })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_is_gone_only_where_that_is_certain() {
        let own = own_birth().expect("known");
        let pid = i64::from(std::process::id());
        assert_eq!(life_of(pid, &own), Life::Alive);
        // Another process that has the number now.
        let (here, _) = own.rsplit_once('/').expect("four parts");
        assert_eq!(life_of(pid, &format!("{here}/1")), Life::Gone);
        // No process has this number: the largest is 2^22.
        assert_eq!(life_of(0x7FFF_FFFF, &own), Life::Gone);
        // Of another boot or namespace, and what is no birth at all.
        let elsewhere = own.replace("pid:[", "pid:[9");
        assert_eq!(life_of(0x7FFF_FFFF, &elsewhere), Life::Unknown);
        assert_eq!(life_of(0x7FFF_FFFF, &format!("x{own}")), Life::Unknown);
        for nonsense in ["", "/", "x"] {
            assert_eq!(life_of(0x7FFF_FFFF, nonsense), Life::Unknown);
        }
        for number in [0, -1, i64::MAX] {
            assert_eq!(life_of(number, &own), Life::Unknown);
        }
    }

    #[test]
    fn a_killed_process_is_gone_before_anybody_has_asked_how_it_ended() {
        let mut child =
            Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().expect("started");
        let pid = i64::from(child.id());
        let birth = birth_of(&pid.to_string()).expect("known");
        assert_eq!(life_of(pid, &birth), Life::Alive);
        child.kill().expect("killed");
        let began = std::time::Instant::now();
        while life_of(pid, &birth) == Life::Alive {
            assert!(began.elapsed().as_secs() < 60, "it stays");
            std::thread::yield_now();
        }
        assert_eq!(life_of(pid, &birth), Life::Gone);
        child.wait().expect("ended");
        assert_eq!(life_of(pid, &birth), Life::Gone);
    }
}
