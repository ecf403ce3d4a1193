//! Snapshots by host, tags and paths.

use windlass_engine::model::root::Root;

use crate::{failure::Failure, settings::Settings};

/// Options that choose snapshots.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct FilterArgs {
    /// Only snapshots of this host, may be given several times; empty for all [env:
    /// WINDLASS_HOST, RESTIC_HOST]
    #[arg(short = 'H', long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// Only snapshots with all of these tags; given several times, with any of the lists
    #[arg(long = "tag", value_name = "TAG[,TAG,...]")]
    tags: Vec<String>,
    /// Only snapshots of this absolute path; given several times, of all of them
    #[arg(long = "path", value_name = "PATH")]
    paths: Vec<String>,
}

/// The same without the letter for the host, where it stands for something else.
#[derive(Clone, Debug, Default)]
pub(crate) struct LongFilterArgs(pub(crate) FilterArgs);

impl clap::FromArgMatches for LongFilterArgs {
    fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
        FilterArgs::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl clap::Args for LongFilterArgs {
    fn augment_args(command: clap::Command) -> clap::Command {
        FilterArgs::augment_args(command).mut_arg("hosts", |hosts| hosts.short(None))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        FilterArgs::augment_args_for_update(command).mut_arg("hosts", |hosts| hosts.short(None))
    }
}

/// What snapshots have to be like.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Any of these.
    hosts: Vec<String>,
    /// All tags of any of these; an empty list is for snapshots without tags.
    tags: Vec<Vec<String>>,
    /// All of these.
    paths: Vec<String>,
}

impl FilterArgs {
    /// Whether any of the options was given.
    pub(crate) fn is_typed(&self) -> bool {
        !(self.hosts.is_empty() && self.tags.is_empty() && self.paths.is_empty())
    }

    /// With the host from the environment where none was typed.
    pub(crate) fn filter(&self, settings: &Settings) -> Result<Filter, Failure> {
        let mut hosts = self.hosts.clone();
        if hosts.is_empty()
            && let Some((_name, host)) = settings.variables.text("HOST")?
        {
            hosts.push(host);
        }
        hosts.retain(|host| !host.is_empty());
        let paths = self.paths.iter().map(|path| absolute(path)).collect();
        Ok(Filter { hosts, tags: self.tags.iter().map(|list| split_tags(list)).collect(), paths })
    }
}

impl Filter {
    /// Those of one host.
    pub(crate) fn of_host(host: &str) -> Self {
        Self { hosts: vec![host.to_owned()], ..Self::default() }
    }

    /// Whether it lets everything through.
    pub(crate) fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.tags.is_empty() && self.paths.is_empty()
    }

    /// Whether a snapshot is like that.
    pub(crate) fn matches(&self, root: &Root) -> bool {
        let has = |tags: &Vec<String>| match tags.as_slice() {
            [] => root.tags.is_empty(),
            tags => tags.iter().all(|tag| root.tags.contains(tag)),
        };
        (self.hosts.is_empty() || self.hosts.contains(&root.hostname))
            && (self.tags.is_empty() || self.tags.iter().any(has))
            && self.paths.iter().all(|path| root.paths.contains(path))
    }
}

/// The tags in `a,b`.
pub(crate) fn split_tags(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
}

fn absolute(path: &str) -> String {
    let absolute = std::path::absolute(path).map(|path| path.to_string_lossy().into_owned());
    let absolute = absolute.unwrap_or_else(|_error| path.to_owned());
    match absolute.trim_end_matches('/') {
        "" => "/".to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use windlass_engine::{format::time::Timestamp, model::chunk::ChunkKey};

    use super::*;

    pub(crate) fn root(seconds: i64, host: &str, tags: &[&str], paths: &[&str]) -> Root {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Root {
            time: Timestamp::utc(seconds, 0),
            parent: None,
            tree: ChunkKey::full(0, [0; 32]),
            top: None,
            paths: owned(paths),
            hostname: host.into(),
            username: "me".into(),
            uid: 0,
            gid: 0,
            excludes: Vec::new(),
            tags: owned(tags),
            original: None,
            description: String::new(),
            program: String::new(),
            summary: None,
        }
    }

    #[test]
    fn hosts_are_any_tags_all_of_any_list_paths_all() {
        let root = root(0, "a", &["x", "y"], &["/p", "/q"]);
        let matches = |hosts: &[&str], tags: &[&str], paths: &[&str]| {
            let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
            let tags = tags.iter().map(|list| split_tags(list)).collect();
            Filter { hosts: owned(hosts), tags, paths: owned(paths) }.matches(&root)
        };
        assert!(matches(&[], &[], &[]));
        assert!(matches(&["b", "a"], &["x,y"], &["/q", "/p"]));
        assert!(matches(&[], &["x,z", "y"], &[]));
        assert!(!matches(&["b"], &[], &[]));
        assert!(!matches(&[], &["x,z"], &[]));
        assert!(!matches(&[], &[""], &[]));
        assert!(!matches(&[], &[], &["/p", "/r"]));
    }
}
