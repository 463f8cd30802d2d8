use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use super::{
    figure::{Bar, Chart, Figure},
    read_back,
};
use crate::{GenerateError, feeds, places, planted};

const AGENTS_SHOWN: usize = 15;

/// Of each agent the month with most enrolments.
pub(super) fn figure(out: &Path) -> Result<Figure, GenerateError> {
    let mut seen = HashSet::new();
    let mut months = HashMap::<(String, String), f64>::new();
    for text in read_back::texts(out, &feeds::BOSS_ENROLMENT, None)? {
        for line in text?.text.lines() {
            let fields = line.split('|').collect::<Vec<_>>();
            if let [enrolment, _, _, at, _, _, agent, ..] = fields[..]
                && agent.starts_with('A')
                && let Some(month) = at.get(..7)
                && seen.insert(enrolment.to_owned())
            {
                *months.entry((agent.to_owned(), month.to_owned())).or_default() += 1.0;
            }
        }
    }
    let flooding = places::agent_id(planted::FLOOD_CITY, planted::FLOOD_AGENT);
    let mut months = months.into_iter().collect::<Vec<_>>();
    months.sort_by(|(one, one_count), (other, other_count)| other_count.total_cmp(one_count).then_with(|| one.cmp(other)));
    let mut shown = HashSet::new();
    months.retain(|((agent, _), _)| shown.insert(agent.clone()));
    let bars =
        months.into_iter().take(AGENTS_SHOWN).map(|((agent, month), value)| Bar { is_planted: agent == flooding, name: format!("{agent} in {month}"), value });
    Ok(Figure {
        name: "agents",
        title: "Enrolments of an agent in a month".to_owned(),
        caption: format!("Each agent's busiest month. {flooding} enrols customers who never asked."),
        chart: Chart::Bars { unit: "enrolments", bars: bars.collect() },
    })
}
