//! Decisions compared with a model that is written another way, and the traps one by one.

use proptest::prelude::*;

use super::*;

/// A year of hours around the turn of a year and a change of summer time.
const START: i64 = 1_700_000_000;

fn moment(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("a time")
}

fn far_future() -> Timestamp {
    moment("2100-01-01T00:00:00Z")
}

fn judge(policy: &Policy, times: &[&str], zone: &Zone) -> Vec<(usize, Vec<String>)> {
    let candidates: Vec<Candidate<'_>> =
        times.iter().map(|text| Candidate { time: moment(text), tags: &[] }).collect();
    let decisions = decide(policy, &candidates, &far_future(), zone);
    let kept = decisions.iter().filter(|decision| decision.is_kept());
    kept.map(|decision| (decision.at, reasons(decision))).collect()
}

fn reasons(decision: &Decision) -> Vec<String> {
    let told = |(rule, oldest): (&Rule, bool)| match oldest {
        true => format!("oldest {rule}"),
        false => rule.to_string(),
    };
    decision.reasons().map(told).collect()
}

/// Which places are kept.
fn kept(policy: &Policy, times: &[&str]) -> Vec<usize> {
    judge(policy, times, &Zone::utc()).into_iter().map(|(at, _)| at).collect()
}

#[test]
fn a_day_is_that_of_the_zone_the_root_was_written_in() {
    let policy = Policy { daily: Count::Of(2), ..Policy::default() };
    // Half past midnight in Berlin is still yesterday in UTC.
    let times = ["2024-07-02T00:30:00+02:00", "2024-07-01T23:30:00+02:00", "2024-06-01T00:00:00Z"];
    assert_eq!(kept(&policy, &times), [0, 1]);
    let times = ["2024-07-01T22:30:00Z", "2024-07-01T21:30:00Z", "2024-06-01T00:00:00Z"];
    assert_eq!(kept(&policy, &times), [0, 2]);
}

#[test]
fn the_oldest_is_kept_while_a_rule_has_some_left() {
    let policy = Policy { yearly: Count::Of(2), ..Policy::default() };
    let times = ["2024-03-01T00:00:00Z", "2024-02-01T00:00:00Z", "2024-01-01T00:00:00Z"];
    let told = judge(&policy, &times, &Zone::utc());
    let words = |text: &str| vec![text.to_owned()];
    assert_eq!(told, [(0, words("yearly snapshot")), (2, words("oldest yearly snapshot"))]);
    let policy = Policy { yearly: Count::Of(1), ..Policy::default() };
    assert_eq!(kept(&policy, &times), [0]);
    let policy = Policy { within_monthly: "1y".parse().expect("a period"), ..Policy::default() };
    let times = ["2024-03-09T00:00:00Z", "2024-03-08T00:00:00Z", "2024-03-07T00:00:00Z"];
    let told = judge(&policy, &times, &Zone::utc());
    assert_eq!(told, [(0, words("monthly within 1y")), (2, words("oldest monthly within 1y"))]);
}

#[test]
fn a_month_before_the_31st_of_march_is_in_march() {
    let policy = Policy { within: "1m".parse().expect("a period"), ..Policy::default() };
    let times = ["2023-03-31T12:00:00Z", "2023-03-03T12:00:01Z", "2023-03-03T12:00:00Z"];
    assert_eq!(kept(&policy, &times), [0, 1]);
    let times = ["2024-03-31T12:00:00Z", "2024-03-02T12:00:01Z", "2024-03-02T12:00:00Z"];
    assert_eq!(kept(&policy, &times), [0, 1]);
}

#[test]
fn going_back_by_months_follows_summer_time_only_in_the_zone_of_this_machine() {
    let policy = Policy { within: "6m".parse().expect("a period"), ..Policy::default() };
    // In winter 12:00 there is 11:00 UTC; with the offset of summer it is 10:00.
    let times = ["2024-07-01T12:00:00+02:00", "2024-01-01T10:30:00Z"];
    assert_eq!(kept(&policy, &times), [0, 1]);
    let berlin = Zone::named("Europe/Berlin").expect("a zone");
    assert_eq!(judge(&policy, &times, &berlin).len(), 1);
}

#[test]
fn periods_are_not_reckoned_from_the_future() {
    let policy = Policy { within: "1d".parse().expect("a period"), ..Policy::default() };
    let times = ["2200-01-01T00:00:00Z", "2024-01-02T00:00:00Z", "2024-01-01T00:00:00Z"];
    assert_eq!(kept(&policy, &times), [0, 1]);
    // Where all are from the future, they are within any period.
    let times = ["2200-01-01T00:00:00Z", "2190-01-02T00:00:00Z"];
    assert_eq!(kept(&policy, &times), [0, 1]);
}

#[test]
fn tags_are_all_of_any_list_and_an_empty_one_is_for_none() {
    let tags = |list: &[&str]| -> Vec<String> { list.iter().map(|tag| (*tag).into()).collect() };
    let check = |has: &[&str], wanted: &[&str]| has_tags(&tags(has), &tags(wanted));
    assert!(check(&["a", "b"], &["b", "a"]) && check(&[], &[""]) && check(&[], &["", "x"]));
    assert!(check(&["a"], &[]) && check(&[], &[]));
    assert!(!check(&["a"], &["a", "b"]) && !check(&["a"], &[""]) && !check(&[], &["a", ""]));
}

#[test]
fn a_pin_keeps_and_counts_for_no_rule() {
    let policy = Policy { last: Count::Of(1), ..Policy::default() };
    let pin = [PIN.to_owned()];
    let at = |seconds, tags| Candidate { time: Timestamp::utc(seconds, 0), tags };
    let roots = [at(3, &[][..]), at(2, &pin[..]), at(1, &[][..])];
    let decisions = decide(&policy, &roots, &far_future(), &Zone::utc());
    let kept: Vec<bool> = decisions.iter().map(Decision::is_kept).collect();
    assert_eq!(kept, [true, true, false]);
    assert!(!decisions[1].is_kept_by_rule());
    assert_eq!(decisions[2].verdicts[0].1, Verdict::Spent);
}

#[test]
fn every_drop_has_its_explanation() {
    let policy = Policy {
        daily: Count::Of(3),
        within: "1h".parse().expect("a period"),
        tags: vec![vec!["x".into()]],
        ..Policy::default()
    };
    let at = |seconds| Candidate { time: Timestamp::utc(seconds, 0), tags: &[] };
    let roots = [at(50_000), at(70_000), at(0)];
    let decisions = decide(&policy, &roots, &far_future(), &Zone::utc());
    assert_eq!(decisions[1].at, 0);
    let verdicts: Vec<Verdict> = decisions[1].verdicts.iter().map(|(_, it)| *it).collect();
    let expected = [
        Verdict::OtherTags,
        Verdict::TooOld { cut_off_seconds: 70_000 - 3600 },
        Verdict::SamePeriod { newer: 1 },
    ];
    assert_eq!(verdicts, expected);
}

/// What a rule that counts keeps: the first of each run, and the last root while some are left.
fn model_count(count: Count, periods: &[String]) -> Vec<usize> {
    let Some(limit) = (match count {
        Count::None | Count::Of(0) => None,
        Count::Of(count) => Some(usize::try_from(count).expect("small")),
        Count::All => Some(usize::MAX),
    }) else {
        return Vec::new();
    };
    let starts = (0..periods.len()).filter(|at| *at == 0 || periods[*at] != periods[*at - 1]);
    let mut kept: Vec<usize> = starts.collect();
    if kept.len() < limit && !periods.is_empty() {
        kept.push(periods.len() - 1);
    }
    kept.truncate(limit);
    kept.dedup();
    kept
}

fn model_period(unit: Unit, time: &Timestamp, number: usize) -> String {
    let offset = jiff::tz::Offset::from_seconds(time.offset_seconds).expect("an offset");
    let moment = jiff::Timestamp::from_second(time.seconds).expect("a moment");
    let local = offset.to_datetime(moment);
    let week = local.date().iso_week_date();
    match unit {
        Unit::Last => number.to_string(),
        Unit::Hourly => local.strftime("%Y-%m-%d %H").to_string(),
        Unit::Daily => local.strftime("%Y-%m-%d").to_string(),
        Unit::Weekly => format!("{} {}", week.year(), week.week()),
        Unit::Monthly => local.strftime("%Y-%m").to_string(),
        Unit::Yearly => local.strftime("%Y").to_string(),
    }
}

/// The seconds after which a period begins, reckoned from the first of the month.
fn model_cut_off(newest: &Timestamp, period: &Period) -> i64 {
    let offset = jiff::tz::Offset::from_seconds(newest.offset_seconds).expect("an offset");
    let moment = jiff::Timestamp::from_second(newest.seconds).expect("a moment");
    let local = offset.to_datetime(moment);
    let months = i64::from(local.year()) * 12 + i64::from(local.month())
        - 1
        - i64::from(period.years) * 12
        - i64::from(period.months);
    let year = i16::try_from(months.div_euclid(12)).expect("a year");
    let month = i8::try_from(months.rem_euclid(12) + 1).expect("a month");
    let first = jiff::civil::Date::new(year, month, 1).expect("a date");
    let days = i64::from(local.day()) - 1 - i64::from(period.days);
    let date = first.checked_add(jiff::Span::new().days(days)).expect("a date");
    let then = date.to_datetime(local.time());
    let then = offset.to_timestamp(then).expect("a moment").as_second();
    then - i64::from(period.hours) * 3600
}

/// The places in `times`, which are newest first, that a policy keeps.
fn model(policy: &Policy, times: &[Timestamp]) -> Vec<usize> {
    let periods = |unit, within: usize| -> Vec<String> {
        times[..within].iter().enumerate().map(|(at, time)| model_period(unit, time, at)).collect()
    };
    let within = |period: &Period| {
        if period.is_zero() || times.is_empty() {
            return 0;
        }
        let cut_off = (model_cut_off(&times[0], period), times[0].nanos);
        times.iter().filter(|time| time.instant() > cut_off).count()
    };
    let mut kept: Vec<usize> = (0..within(&policy.within)).collect();
    for (unit, count) in [
        (Unit::Last, policy.last),
        (Unit::Hourly, policy.hourly),
        (Unit::Daily, policy.daily),
        (Unit::Weekly, policy.weekly),
        (Unit::Monthly, policy.monthly),
        (Unit::Yearly, policy.yearly),
    ] {
        kept.extend(model_count(count, &periods(unit, times.len())));
    }
    for (unit, period) in [
        (Unit::Hourly, policy.within_hourly),
        (Unit::Daily, policy.within_daily),
        (Unit::Weekly, policy.within_weekly),
        (Unit::Monthly, policy.within_monthly),
        (Unit::Yearly, policy.within_yearly),
    ] {
        let inside = within(&period);
        let mut of_rule = model_count(Count::All, &periods(unit, inside));
        // The oldest of those inside is only kept for being the oldest of all.
        let oldest = inside > 0 && inside < times.len();
        if oldest {
            let all = periods(unit, inside);
            of_rule.retain(|at| *at == 0 || all[*at] != all[*at - 1]);
        }
        kept.extend(of_rule);
    }
    kept.sort_unstable();
    kept.dedup();
    kept
}

fn count() -> impl Strategy<Value = Count> {
    prop_oneof![
        3 => Just(Count::None),
        4 => (0_u64..6).prop_map(Count::Of),
        1 => Just(Count::All),
    ]
}

fn period() -> impl Strategy<Value = Period> {
    prop_oneof![
        3 => Just(Period::default()),
        2 => (0_u32..3, 0_u32..15, 0_u32..40, 0_u32..50)
            .prop_map(|(years, months, days, hours)| Period { years, months, days, hours }),
    ]
}

proptest! {
    #[test]
    fn decisions_are_those_of_the_model(
        counts in proptest::array::uniform6(count()),
        periods in proptest::array::uniform6(period()),
        gaps in proptest::collection::vec(
            prop_oneof![0_i64..7200, 0_i64..200_000, 0_i64..5_000_000], 0..40),
        offsets in proptest::collection::vec(-12_i32..15, 40),
        nanos in 0_u32..1_000_000_000,
    ) {
        let [last, hourly, daily, weekly, monthly, yearly] = counts;
        let [within, within_hourly, within_daily, within_weekly, within_monthly, within_yearly] =
            periods;
        let policy = Policy {
            last, hourly, daily, weekly, monthly, yearly, within, within_hourly, within_daily,
            within_weekly, within_monthly, within_yearly, tags: Vec::new(),
        };
        let mut seconds = START;
        let times: Vec<Timestamp> = gaps.iter().zip(&offsets).map(|(gap, hours)| {
            seconds -= gap;
            Timestamp { seconds, nanos, offset_seconds: hours * 3600 }
        }).collect();
        let roots: Vec<Candidate<'_>> =
            times.iter().map(|time| Candidate { time: *time, tags: &[] }).collect();
        let decisions = decide(&policy, &roots, &far_future(), &Zone::utc());
        let kept = decisions.iter().enumerate().filter(|(_, decision)| decision.is_kept());
        let kept: Vec<usize> = kept.map(|(number, _)| number).collect();
        prop_assert_eq!(kept, model(&policy, &times));
    }
}
