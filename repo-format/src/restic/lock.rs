//! Lock files: who works on a repository.
//!
//! ```text
//! {"time":…,"exclusive":…,"hostname":…,"username":…,"pid":…[,"uid":…][,"gid":…]
//!  [,"windlass_process":…][,"windlass_lineage":…]}
//! ```
//!
//! The last two are ours: restic passes over what it does not know.
//!
//! Stored like an index or snapshot, see [`super::unpacked`]. Checked against
//! `internal/repository/lock_file.go`.
//!
//! Not here: what an empty file means (half written, to be ignored), when a lock is stale, in what
//! order one is taken.

use crate::{
    damage::Damage,
    go_json::{Object, push_bool, push_i64, read::Reader},
    time::Timestamp,
};

/// A decoded lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// When it was taken or last refreshed.
    pub time: Timestamp,
    /// Whether it tolerates no other.
    pub exclusive: bool,
    /// Where its holder runs.
    pub hostname: String,
    /// Who its holder runs as.
    pub username: String,
    /// The holder's process.
    pub pid: i64,
    /// The holder's user id, not written if zero.
    pub uid: u32,
    /// The holder's group id, not written if zero.
    pub gid: u32,
    /// What tells the holder's process from others of the same number, not written if empty.
    pub process: String,
    /// Who of all that share the repository the holder is, not written if empty.
    pub lineage: String,
}

impl Lock {
    /// Reads the JSON of a lock.
    pub fn decode(json: &[u8]) -> Result<Self, Damage> {
        let mut lock = Self {
            time: Timestamp::ZERO,
            exclusive: false,
            hostname: String::new(),
            username: String::new(),
            pid: 0,
            uid: 0,
            gid: 0,
            process: String::new(),
            lineage: String::new(),
        };
        let mut reader = Reader::new("lock", json);
        reader.object(|reader, key| {
            match key {
                "time" => lock.time = reader.timestamp()?,
                "exclusive" => lock.exclusive = reader.bool()?,
                "hostname" => lock.hostname = reader.text()?,
                "username" => lock.username = reader.text()?,
                "pid" => lock.pid = reader.i64()?,
                "uid" => lock.uid = reader.u32()?,
                "gid" => lock.gid = reader.u32()?,
                "windlass_process" => lock.process = reader.text()?,
                "windlass_lineage" => lock.lineage = reader.text()?,
                _ => reader.skip_value()?,
            }
            Ok(())
        })?;
        reader.finish()?;
        Ok(lock)
    }

    /// Writes the JSON, without a newline.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut object = Object::open(&mut out);
        object.timestamp("time", &self.time);
        push_bool(self.exclusive, object.key("exclusive"));
        object.string("hostname", &self.hostname);
        object.string("username", &self.username);
        push_i64(self.pid, object.key("pid"));
        object.u64_unless_zero("uid", self.uid);
        object.u64_unless_zero("gid", self.gid);
        for (key, text) in
            [("windlass_process", &self.process), ("windlass_lineage", &self.lineage)]
        {
            if !text.is_empty() {
                object.string(key, text);
            }
        }
        object.close();
        out
    }
}
