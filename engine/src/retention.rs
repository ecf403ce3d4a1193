//! Which roots of a group are kept and which may go: a decision, and nothing is done about it.
//!
//! Invariants
//! - Nothing here reads a store or a clock; the same roots, policy and moment give the same answer.
//! - Roots are judged newest first, every rule for itself; what any rule keeps is kept.
//! - Hours, days, weeks, months and years are those of the zone each root was written in.
//! - A rule that counts keeps the newest root of each period; as long as it has some left to keep
//!   it also keeps the oldest root of all.
//! - A [pinned](PIN) root is kept whatever the policy says.
//!
//! Not here: which roots form a group, and removing anything (`forget`).

mod period;
#[cfg(test)]
mod tests;

use std::fmt;

use windlass_format::time::{Civil, Timestamp};

pub use self::period::{Period, PeriodError};
use crate::clock::Zone;

/// The tag of a root that is never forgotten.
pub const PIN: &str = "windlass-pin";

const DAY: i64 = 86_400;

/// How many roots a rule keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Count {
    /// None: there is no such rule.
    #[default]
    None,
    /// That many, from one on.
    Of(u64),
    /// One of every period there is.
    All,
}

/// A stretch of the calendar of which one root is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unit {
    /// No stretch: each root counts.
    Last,
    /// An hour of a day.
    Hourly,
    /// A day.
    Daily,
    /// A week of ISO 8601.
    Weekly,
    /// A month.
    Monthly,
    /// A year.
    Yearly,
}

/// What is to be kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The newest ones.
    pub last: Count,
    /// One of an hour.
    pub hourly: Count,
    /// One of a day.
    pub daily: Count,
    /// One of a week.
    pub weekly: Count,
    /// One of a month.
    pub monthly: Count,
    /// One of a year.
    pub yearly: Count,
    /// All since this long before the newest.
    pub within: Period,
    /// One of an hour since this long before the newest.
    pub within_hourly: Period,
    /// One of a day.
    pub within_daily: Period,
    /// One of a week.
    pub within_weekly: Period,
    /// One of a month.
    pub within_monthly: Period,
    /// One of a year.
    pub within_yearly: Period,
    /// Those that have all tags of any of these lists. An empty tag stands for having none.
    pub tags: Vec<Vec<String>>,
}

/// One rule of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// All that have these tags.
    Tags(Vec<String>),
    /// All within a period.
    Within(Period),
    /// A number of one unit.
    Count(Unit),
    /// One of each unit within a period.
    UnitWithin(Unit, Period),
}

/// What a rule says of a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Keep it.
    Keeps {
        /// Only because it is the oldest of all and the rule had some left.
        oldest: bool,
    },
    /// The rule has kept as many as it should before it came to this one.
    Spent,
    /// The rule has kept a newer one of the same hour, day, week, month or year.
    SamePeriod {
        /// Its place in the list that was given.
        newer: usize,
    },
    /// It is not within the period, which begins after this moment.
    TooOld {
        /// Seconds since the Unix epoch.
        cut_off_seconds: i64,
    },
    /// It does not have the tags.
    OtherTags,
}

/// A root that is to be judged.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// When it was made.
    pub time: Timestamp,
    /// Its tags.
    pub tags: &'a [String],
}

/// What becomes of a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Its place in the list that was given.
    pub at: usize,
    /// Whether it is pinned.
    pub pinned: bool,
    /// What every rule of the policy says.
    pub verdicts: Vec<(Rule, Verdict)>,
}

impl Decision {
    /// Whether any rule keeps it.
    #[must_use]
    pub fn is_kept_by_rule(&self) -> bool {
        self.verdicts.iter().any(|(_, verdict)| matches!(verdict, Verdict::Keeps { .. }))
    }

    /// Whether it is kept.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.pinned || self.is_kept_by_rule()
    }

    /// The rules that keep it, and whether each does so only because it is the oldest.
    pub fn reasons(&self) -> impl Iterator<Item = (&Rule, bool)> {
        self.verdicts.iter().filter_map(|(rule, verdict)| match verdict {
            Verdict::Keeps { oldest } => Some((rule, *oldest)),
            _ => None,
        })
    }
}

impl Policy {
    /// Whether it has no rule at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules().is_empty()
    }

    /// Its rules, in the order in which they are told.
    #[must_use]
    pub fn rules(&self) -> Vec<Rule> {
        self.running().into_iter().map(|running| running.rule).collect()
    }

    fn running(&self) -> Vec<Running> {
        let tags = self.tags.iter().map(|list| Running::new(Rule::Tags(list.clone()), None));
        let within = (!self.within.is_zero()).then_some(Rule::Within(self.within));
        let counts = [
            (Unit::Last, self.last),
            (Unit::Hourly, self.hourly),
            (Unit::Daily, self.daily),
            (Unit::Weekly, self.weekly),
            (Unit::Monthly, self.monthly),
            (Unit::Yearly, self.yearly),
        ];
        let counts = counts.into_iter().filter_map(|(unit, count)| match count {
            Count::None | Count::Of(0) => None,
            Count::Of(count) => Some(Running::new(Rule::Count(unit), Some(count))),
            Count::All => Some(Running::new(Rule::Count(unit), None)),
        });
        let periods = [
            (Unit::Hourly, self.within_hourly),
            (Unit::Daily, self.within_daily),
            (Unit::Weekly, self.within_weekly),
            (Unit::Monthly, self.within_monthly),
            (Unit::Yearly, self.within_yearly),
        ];
        let periods = periods.into_iter().filter(|(_, period)| !period.is_zero());
        tags.chain(within.map(|rule| Running::new(rule, None)))
            .chain(counts)
            .chain(periods.map(|(unit, period)| Running::new(Rule::UnitWithin(unit, period), None)))
            .collect()
    }
}

/// Judges the roots of one group; newest first, those of the same moment in the order given.
///
/// `now` is for roots from the future, from which no period is reckoned. `zone` is that of this
/// machine: going back by months from a root that was written in it follows its summer time.
#[must_use]
pub fn decide(
    policy: &Policy,
    roots: &[Candidate<'_>],
    now: &Timestamp,
    zone: &Zone,
) -> Vec<Decision> {
    let mut order: Vec<usize> = (0..roots.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(roots[*at].time.instant()));
    let newest = order
        .iter()
        .map(|at| roots[*at].time)
        .find(|time| time.instant() < now.instant())
        .unwrap_or(Timestamp::ZERO);
    let mut rules = policy.running();
    for rule in &mut rules {
        rule.cut_off = match &rule.rule {
            Rule::Within(period) | Rule::UnitWithin(_, period) => {
                Some(cut_off(&newest, period, zone))
            }
            Rule::Tags(_) | Rule::Count(_) => None,
        };
    }
    let last = order.len().saturating_sub(1);
    let decide = |(number, at): (usize, usize)| {
        let judged = rules
            .iter_mut()
            .map(|rule| (rule.rule.clone(), rule.judge(&roots[at], at, number, number == last)));
        let pinned = roots[at].tags.iter().any(|tag| tag == PIN);
        Decision { at, pinned, verdicts: judged.collect() }
    };
    order.into_iter().enumerate().map(decide).collect()
}

/// A rule on its way through the roots.
struct Running {
    rule: Rule,
    /// How many it may still keep; `None` for no limit.
    left: Option<u64>,
    cut_off: Option<(i64, u32)>,
    /// The period of the last one it kept, and that one's place.
    kept: Option<(i64, usize)>,
}

impl Running {
    fn new(rule: Rule, left: Option<u64>) -> Self {
        Self { rule, left, cut_off: None, kept: None }
    }

    fn judge(
        &mut self,
        root: &Candidate<'_>,
        at: usize,
        number: usize,
        is_oldest: bool,
    ) -> Verdict {
        if let Some(cut_off) = self.cut_off
            && root.time.instant() <= cut_off
        {
            return Verdict::TooOld { cut_off_seconds: cut_off.0 };
        }
        let unit = match &self.rule {
            Rule::Tags(tags) if !has_tags(root.tags, tags) => return Verdict::OtherTags,
            Rule::Tags(_) | Rule::Within(_) => return Verdict::Keeps { oldest: false },
            Rule::Count(unit) | Rule::UnitWithin(unit, _) => *unit,
        };
        if self.left == Some(0) {
            return Verdict::Spent;
        }
        let period = unit.period(&root.time, number);
        let newer = self.kept.filter(|(kept, _)| *kept == period).map(|(_, at)| at);
        if let Some(newer) = newer
            && !is_oldest
        {
            return Verdict::SamePeriod { newer };
        }
        self.kept = Some((period, at));
        self.left = self.left.map(|left| left - 1);
        Verdict::Keeps { oldest: newer.is_some() }
    }
}

impl Unit {
    /// A number that moments of the same period share.
    fn period(self, time: &Timestamp, number: usize) -> i64 {
        let civil = time.civil();
        let Civil { year, month, day, second } = civil;
        match self {
            Self::Last => number as i64,
            Self::Hourly => ((year * 100 + month) * 100 + day) * 100 + second / 3600,
            Self::Daily => (year * 100 + month) * 100 + day,
            Self::Weekly => {
                let (year, week) = civil.iso_week();
                year * 100 + week
            }
            Self::Monthly => year * 100 + month,
            Self::Yearly => year,
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Last => "last",
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
        })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tags(tags) => write!(f, "has tags [{}]", tags.join(", ")),
            Self::Within(period) => write!(f, "within {period}"),
            Self::Count(unit) => write!(f, "{unit} snapshot"),
            Self::UnitWithin(unit, period) => write!(f, "{unit} within {period}"),
        }
    }
}

/// Whether a root has all of these tags. An empty one matches a root without tags, however the
/// list goes on; the tags before it have to be there.
fn has_tags(tags: &[String], wanted: &[String]) -> bool {
    for tag in wanted {
        if tag.is_empty() && tags.is_empty() {
            return true;
        }
        if !tags.contains(tag) {
            return false;
        }
    }
    true
}

/// The moment after which a period that ends at `newest` begins.
///
/// Years, months and days are taken from the date, hours from the moment. What a date less some
/// months means in a zone with summer time is asked of `zone` where `newest` may have been written
/// in it, and else reckoned with the offset it bears.
fn cut_off(newest: &Timestamp, period: &Period, zone: &Zone) -> (i64, u32) {
    let civil = newest.civil();
    let earlier = Civil {
        year: civil.year - i64::from(period.years),
        month: civil.month - i64::from(period.months),
        day: civil.day - i64::from(period.days),
        second: civil.second,
    };
    let local = earlier.days() * DAY + earlier.second;
    let offset = newest.offset_seconds;
    let utc = if offset != 0 && zone.offset_seconds(newest.seconds) == offset {
        // Of two moments that a clock shows the same, and of an hour that it leaves out, this
        // gives what the format's own tool gives.
        match zone.offset_seconds(local) {
            0 => local,
            guess => local - i64::from(zone.offset_seconds(local - i64::from(guess))),
        }
    } else {
        local - i64::from(offset)
    };
    (utc - i64::from(period.hours) * 3600, newest.nanos)
}
