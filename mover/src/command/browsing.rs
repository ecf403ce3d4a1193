//! What the commands that show snapshots as a tree have in common.

use std::sync::Arc;

use windlass_engine::{
    browse::{self, Browser, Notice, Options, USUAL_TIME},
    repository::Repository,
};

use crate::{
    failure::Failure,
    output::Output,
    session::Session,
    snapshot::filter::{Filter, FilterArgs},
};

/// Which snapshots are shown, and where.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct BrowseArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Where snapshots are shown, may be given several times: %i and %I are the short and the whole
    /// id, %u user, %h host, %t each tag, %T the time [default: ids/%i, snapshots/%T,
    /// hosts/%h/%T, tags/%t/%T]
    #[arg(long, value_name = "TEMPLATE")]
    path_template: Vec<String>,
    /// How times are written, as 2006-01-02T15:04:05Z07:00 would be
    #[arg(long, value_name = "TEMPLATE", default_value = USUAL_TIME, hide_default_value = true)]
    #[arg(alias = "snapshot-template")]
    time_template: String,
}

/// What is shown, as it was asked for.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    filter: Filter,
    templates: Vec<String>,
    time_layout: String,
}

impl BrowseArgs {
    /// Refuses what can be no name.
    pub(super) fn choice(&self, session: &Session) -> Result<Choice, Failure> {
        if !browse::is_usable_time(&self.time_template) {
            return Err(Failure::input(
                format!("the time template {:?} makes no name", self.time_template),
                "write it like 2006-01-02_15-04-05, without a slash at either end",
            ));
        }
        Ok(Choice {
            filter: self.filter.filter(&session.settings)?,
            templates: self.path_template.clone(),
            time_layout: self.time_template.clone(),
        })
    }
}

impl Choice {
    /// Lists the snapshots and loads the index.
    pub(super) async fn browser(
        self,
        repository: &Arc<Repository>,
        session: &Session,
    ) -> Result<Browser, Failure> {
        let output = Arc::clone(&session.output);
        let filter = self.filter;
        let options = Options {
            templates: self.templates,
            time_layout: self.time_layout,
            choose: Arc::new(move |root| filter.matches(root)),
            tell: Arc::new(move |notice| tell(&output, notice)),
            ..Options::new(repository)
        };
        Ok(Browser::new(Arc::clone(repository), options, &session.cancel).await?)
    }
}

fn tell(output: &Output, notice: Notice<'_>) {
    output.warn(&match notice {
        Notice::Root(id, fault) => format!("could not read snapshot {}: {fault}", id.short()),
        Notice::Refresh(fault) => {
            format!("could not look for new snapshots, showing those that were there: {fault}")
        }
    });
}
