//! Abnormal sources: agents and channels that took far more enrolments on a day, or in a month, than is to be expected of them.
//!
//! What is expected of a source is learned from its own days before the month, or from its like while there are few of those (a Gamma prior with the mean of its like),
//! and raised when all others were busy on the same days. How unlikely its count is then is the tail of the negative binomial, which is what a Poisson count with a
//! Gamma-distributed mean follows (Gelman et al., Bayesian Data Analysis, 2.6); [`SHAPE_MAX`] keeps a mean that is well known from being taken for a constant one. The
//! bar is so high that in a month without anything abnormal a source is reported with a probability of at most `surge_false_alarms_permille` (Bonferroni).
//!
//! What abnormal agents took counts neither for the channel that they belong to nor as a sign of a busy day. A channel that takes nearly everything is left to its agents:
//! no other could tell a busy day from an abnormal one. A level that lasts becomes usual: a flood that goes on is reported in its first months alone.

mod chance;

use std::collections::{BTreeMap, BTreeSet};

use backplane_sdk::{Context, Day, Month, Status};
use chance::at_least;
use serde::Deserialize;

use crate::{configuration::Configuration, datasets::SourceAnomalyRow};

/// Days before the month from which a source's habit is learned.
const HABIT_DAYS: i32 = 90;
/// On so many of them somebody has to have taken something: before that nothing can be called usual in a city.
const HABIT_DAYS_MIN: usize = 28;
/// So many days without any end the habit: what is older is a row that was sent again when it changed, of a time of which the others were never sent.
const GAP_DAYS: i32 = 14;
/// What its like say of a source weighs as much as one enrolment of its own, and at most as so many of its days.
const LIKE_DAYS_MAX: f64 = 30.0;
/// Added to what was taken, so that what never took anything may take something.
const PSEUDO_COUNT: f64 = 0.5;
/// Enrolments by which the comparison of a busy day with a usual one is steadied.
const BUSY_PRIOR: f64 = 10.0;
/// The least share of the city that the other channels have to take for a channel to be judged by them.
const OTHERS_SHARE_MIN: f64 = 0.2;
/// Limit of certainty: the mean of a day varies by a third beyond chance (weekday, weather, campaign), however long the history.
const SHAPE_MAX: f64 = 10.0;

// Those that carry on an enrolment of another city were not taken here.
const TAKEN: &str = "
SELECT channel_id, coalesce(agent_id, '') AS agent_id, day, count(*) AS enrolments
FROM enrolment
WHERE day >= $1 AND day <= $2 AND continues_id IS NULL
GROUP BY 1, 2, 3";

/// What takes enrolments.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
struct Source {
    channel_id: String,
    /// Empty for the channel as a whole.
    agent_id: String,
}

impl Source {
    fn is_of(&self, row: &SourceAnomalyRow) -> bool {
        (&self.channel_id, &self.agent_id) == (&row.channel_id, &row.agent_id)
    }
}

/// What an agent, or a channel without an agent, took on a day.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Taken {
    #[serde(flatten)]
    source: Source,
    day: Day,
    enrolments: i64,
}

/// What counts as abnormal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bar {
    pub(crate) enrolments_min: i64,
    pub(crate) times_expected_min: f64,
    pub(crate) false_alarms: f64,
}

/// The abnormal sources of a month.
pub(crate) fn find(context: &Context, month: Month, snapshot_id: i64, configuration: &Configuration) -> Result<Vec<SourceAnomalyRow>, Status> {
    let from = month.first_day().plus_days(-HABIT_DAYS).unwrap_or(month.first_day());
    let taken = context.warehouse().query(TAKEN).bind(from).bind(month.last_day()).pin(snapshot_id).rows()?.into_vec()?;
    Ok(abnormal(month, &taken, configuration.bar()))
}

fn abnormal(month: Month, taken: &[Taken], bar: Bar) -> Vec<SourceAnomalyRow> {
    let (first, last) = (month.first_day().number(), month.last_day().number());
    let Some(begin) = habit_begins(taken, first) else {
        return Vec::new();
    };
    let taken: Vec<&Taken> = taken.iter().filter(|taken| taken.day.number() >= begin).collect();
    let of_agents = daily(taken.iter().copied().filter(|taken| !taken.source.agent_id.is_empty()), Source::clone);
    let of_channels = daily(taken.iter().copied(), channel_of);
    let tests = (of_agents.len() + of_channels.len()) as f64 * f64::from(last - first + 2);
    let judge = |city: Daily| Judge { month, begin, first, last, bar, chance_max: bar.false_alarms / tests, city };

    let mut of_city = Like::default();
    of_agents.values().for_each(|own| of_city.add(own));
    let mut colleagues: BTreeMap<&str, Like> = BTreeMap::new();
    of_agents.iter().for_each(|(agent, own)| colleagues.entry(&agent.channel_id).or_default().add(own));
    // Alone in its channel it is compared with all agents.
    let like = |agent: &Source| colleagues.get(agent.channel_id.as_str()).copied().filter(|like| like.sources > 1).unwrap_or(of_city);
    let judged = |judge: &Judge| of_agents.iter().flat_map(|(agent, own)| judge.judge(agent, own, like(agent))).collect::<Vec<SourceAnomalyRow>>();
    let without = |rows: &[SourceAnomalyRow]| {
        let is_abnormal = |taken: &Taken| rows.iter().any(|row| taken.source.is_of(row) && (row.first_day..=row.last_day).contains(&taken.day));
        daily(taken.iter().copied().filter(|taken| !is_abnormal(taken)), channel_of)
    };
    // Once more without those that were found, which made the days look busy.
    let found = judged(&judge(sum(of_channels.values())));
    let mut rows = judged(&judge(sum(without(&found).values())));

    let calm = without(&rows);
    let judge = judge(sum(calm.values()));
    let mut channels = Like::default();
    calm.values().for_each(|own| channels.add(own));
    let has_others = |own: &Daily| (channels.enrolments - own.values().sum::<i64>()) as f64 >= OTHERS_SHARE_MIN * channels.enrolments as f64;
    rows.extend(calm.iter().filter(|(_, own)| has_others(own)).flat_map(|(channel, own)| judge.judge(channel, own, channels)));
    rows
}

/// The first day that a city's habits are learned from; `None` while there are too few.
fn habit_begins(taken: &[Taken], first: i32) -> Option<i32> {
    let before: BTreeSet<i32> = taken.iter().map(|taken| taken.day.number()).filter(|day| *day < first).collect();
    let mut begin = first;
    let days = before.iter().rev().take_while(|day| {
        let is_near = begin - **day <= GAP_DAYS;
        begin = if is_near { **day } else { begin };
        is_near
    });
    (days.count() >= HABIT_DAYS_MIN).then_some(begin)
}

/// A source and its like: the agents of a channel or of the city, or all channels.
#[derive(Debug, Clone, Copy, Default)]
struct Like {
    sources: u32,
    enrolments: i64,
}

impl Like {
    fn add(&mut self, daily: &Daily) {
        self.sources += 1;
        self.enrolments += daily.values().sum::<i64>();
    }
}

/// What a source took, day by day.
type Daily = BTreeMap<i32, i64>;

/// What the sources of a month are measured by; days are numbers.
struct Judge {
    month: Month,
    /// The first day that the habit is learned from.
    begin: i32,
    first: i32,
    last: i32,
    bar: Bar,
    chance_max: f64,
    /// What all sources took.
    city: Daily,
}

impl Judge {
    /// The abnormal days of a source, and the month if it is. Its like are counted with it.
    fn judge(&self, source: &Source, own: &Daily, like: Like) -> Vec<SourceAnomalyRow> {
        let Some(habit) = self.habit(own, like) else {
            return Vec::new();
        };
        let days = own.range(self.first..).map(|(day, _)| (*day, *day));
        days.chain([(self.first, self.last)]).filter_map(|(from, to)| self.row(source, own, habit, from, to)).collect()
    }

    fn row(&self, source: &Source, own: &Daily, habit: Habit, from: i32, to: i32) -> Option<SourceAnomalyRow> {
        let enrolments = between(own, from, to);
        let expected = habit.per_day * f64::from(to - from + 1) * self.busy(own, from, to);
        if enrolments < self.bar.enrolments_min || (enrolments as f64) < self.bar.times_expected_min * expected {
            return None;
        }
        let chance = at_least(enrolments, expected, habit.shape);
        let (first_day, last_day) = (Day::from_number(from)?, Day::from_number(to)?);
        let Source { channel_id, agent_id } = source.clone();
        let row = SourceAnomalyRow { month: self.month, channel_id, agent_id, first_day, last_day, enrolments, expected, chance, withdrawn: false };
        (chance <= self.chance_max).then_some(row)
    }

    /// `None` for one that has neither days of its own nor like.
    fn habit(&self, own: &Daily, like: Like) -> Option<Habit> {
        let others_days = f64::from(like.sources.saturating_sub(1)) * f64::from(self.last - self.begin + 1);
        let of_others = (like.enrolments - own.values().sum::<i64>()) as f64;
        // So many days of the others in the mean brought one enrolment.
        let like_days = if of_others > 0.0 { (others_days / of_others).min(LIKE_DAYS_MAX) } else { LIKE_DAYS_MAX };
        let of_like = if others_days > 0.0 { of_others / others_days * like_days } else { 0.0 };
        // Who began later has had fewer days to take any.
        let began = own.keys().next().copied().unwrap_or(self.first).min(self.first);
        if began >= self.first && of_others <= 0.0 {
            return None;
        }
        let shape = PSEUDO_COUNT + of_like + between(own, self.begin, self.first - 1) as f64;
        Some(Habit { per_day: shape / (like_days + f64::from(self.first - began)), shape: shape.min(SHAPE_MAX) })
    }

    /// How much busier than usual all others were on these days; 1 when they were not.
    fn busy(&self, own: &Daily, from: i32, to: i32) -> f64 {
        let others = |from, to| (between(&self.city, from, to) - between(own, from, to)).max(0) as f64;
        let usual = others(self.begin, self.last) / f64::from(self.last - self.begin + 1) * f64::from(to - from + 1);
        ((others(from, to) + BUSY_PRIOR) / (usual + BUSY_PRIOR)).max(1.0)
    }
}

/// What a source usually takes on a day, and how sure that is.
#[derive(Debug, Clone, Copy)]
struct Habit {
    per_day: f64,
    shape: f64,
}

fn between(daily: &Daily, from: i32, to: i32) -> i64 {
    if from > to { 0 } else { daily.range(from..=to).map(|(_, enrolments)| enrolments).sum() }
}

fn daily<'t>(taken: impl Iterator<Item = &'t Taken>, source: impl Fn(&Source) -> Source) -> BTreeMap<Source, Daily> {
    let mut of_sources: BTreeMap<Source, Daily> = BTreeMap::new();
    for taken in taken {
        *of_sources.entry(source(&taken.source)).or_default().entry(taken.day.number()).or_default() += taken.enrolments;
    }
    of_sources
}

fn channel_of(source: &Source) -> Source {
    Source { agent_id: String::new(), ..source.clone() }
}

fn sum<'d>(all: impl Iterator<Item = &'d Daily>) -> Daily {
    let mut sum = Daily::new();
    all.flatten().for_each(|(day, enrolments)| *sum.entry(*day).or_default() += enrolments);
    sum
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const BAR: Bar = Bar { enrolments_min: 5, times_expected_min: 3.0, false_alarms: 0.01 };

    fn month() -> Month {
        "2026-03".parse().unwrap()
    }

    fn taken(channel_id: &str, agent_id: &str, days: impl IntoIterator<Item = i32>, enrolments: i64) -> Vec<Taken> {
        let source = Source { channel_id: channel_id.to_owned(), agent_id: agent_id.to_owned() };
        let first = month().first_day().number();
        days.into_iter().map(|day| Taken { source: source.clone(), day: Day::from_number(first + day).unwrap(), enrolments }).collect()
    }

    /// Ten agents that each take two a day, and the web five.
    fn usual() -> Vec<Taken> {
        let agents = (0..10).flat_map(|agent| taken("agent", &format!("a{agent}"), -90..31, 2));
        agents.chain(taken("web", "", -90..31, 5)).collect()
    }

    fn reported(taken: &[Taken]) -> Vec<(String, String, String, i64)> {
        let rows = abnormal(month(), taken, BAR).into_iter();
        rows.map(|row| (row.agent_id, row.first_day.to_string(), row.last_day.to_string(), row.enrolments)).collect()
    }

    #[test]
    fn usual_days_are_not_reported() {
        assert_eq!(reported(&usual()), []);
        assert_eq!(reported(&[]), []);
    }

    #[test]
    fn an_agent_who_floods_a_day_is_reported_with_the_day() {
        let mut rows = usual();
        rows.extend(taken("agent", "a3", [10], 60));
        assert_eq!(reported(&rows), [("a3".to_owned(), "2026-03-11".to_owned(), "2026-03-11".to_owned(), 62)]);
    }

    #[test]
    fn who_never_took_any_is_compared_with_its_like() {
        let mut rows = usual();
        rows.extend(taken("agent", "new", 5..11, 60));
        let new: Vec<_> = reported(&rows).into_iter().filter(|(agent, ..)| agent == "new").collect();
        assert_eq!(new.len(), 6, "its days: {new:?}");
        let mut rows = usual();
        rows.extend(taken("agent", "new", 5..11, 3));
        assert_eq!(reported(&rows), [], "a new agent who takes what others take");
    }

    #[test]
    fn a_day_on_which_everybody_is_busy_is_not_reported() {
        let mut rows = usual();
        for agent in 0..10 {
            rows.extend(taken("agent", &format!("a{agent}"), [10], 10));
        }
        rows.extend(taken("web", "", [10], 25));
        assert_eq!(reported(&rows), []);
    }

    #[test]
    fn many_days_below_the_bar_make_a_month_above_it() {
        let mut rows: Vec<Taken> = (0..10).flat_map(|agent| taken("agent", &format!("a{agent}"), (agent * 2 - 90..31).step_by(20), 1)).collect();
        rows.extend(taken("agent", "slow", [-90, -40], 1));
        assert_eq!(reported(&rows), []);
        rows.extend(taken("agent", "slow", (0..30).step_by(2), 1));
        assert_eq!(reported(&rows), [("slow".to_owned(), "2026-03-01".to_owned(), "2026-03-31".to_owned(), 15)]);
    }

    #[test]
    fn a_channel_is_reported_for_what_no_agent_explains() {
        let mut rows = usual();
        rows.extend(taken("web", "", [10], 200));
        assert_eq!(reported(&rows), [(String::new(), "2026-03-11".to_owned(), "2026-03-11".to_owned(), 205)]);
    }

    #[test]
    fn a_city_without_a_habit_is_not_judged() {
        for (begin, found) in [(0, 0), (-27, 0), (-28, 1)] {
            let mut rows: Vec<Taken> = (0..10).flat_map(|agent| taken("agent", &format!("a{agent}"), begin..31, 2)).collect();
            rows.extend(taken("agent", "a3", [10], 60));
            // A row of long ago that was sent again when it changed begins no habit.
            rows.extend(taken("agent", "a1", [-80], 1));
            assert_eq!(reported(&rows).len(), found, "from {begin}");
        }
    }

    #[test]
    fn a_new_channel_with_one_agent_is_compared_with_the_citys_agents() {
        let mut rows = usual();
        rows.extend(taken("kiosk", "only", 0..31, 6));
        assert_eq!(reported(&rows), []);
    }

    #[test]
    fn a_flood_does_not_hide_another_as_a_busy_day() {
        let mut rows = usual();
        rows.extend(taken("agent", "a3", [10], 400));
        rows.extend(taken("agent", "a4", [10], 20));
        let agents: Vec<String> = reported(&rows).into_iter().filter(|(_, first, last, _)| first == last).map(|(agent, ..)| agent).collect();
        assert_eq!(agents, ["a3", "a4"]);
    }

    #[test]
    fn a_channel_that_takes_nearly_everything_is_left_to_its_agents() {
        let mut rows: Vec<Taken> = taken("web", "", -90..31, 20);
        rows.extend(taken("ivr", "", (-90..31).step_by(2), 1));
        rows.extend(taken("web", "", [10], 100));
        assert_eq!(reported(&rows), [], "a campaign: nobody else could be busy");
    }
}
