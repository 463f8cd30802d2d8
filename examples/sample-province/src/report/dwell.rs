use std::{collections::BTreeMap, path::Path};

use serde_json::Value;

use super::{
    figure::{Bar, Chart, Figure},
    read_back,
};
use crate::{GenerateError, feeds, portal::PLANTED_DWELL};

const STEPS_SHOWN: usize = 16;

/// The median time that visitors stay on each step of the portals' flows.
pub(super) fn figure(out: &Path) -> Result<Figure, GenerateError> {
    let mut dwells = BTreeMap::<(String, i64, i64, String), Vec<i64>>::new();
    for text in read_back::texts(out, &feeds::PORTAL_CLICK, None)? {
        for line in text?.text.lines() {
            let Ok(row) = serde_json::from_str::<Value>(line) else { continue };
            if let (Some(flow), Some(version), Some(step), Some(page), Some(dwell_ms)) =
                (row["flow"].as_str(), row["flow_ver"].as_i64(), row["step"].as_i64(), row["page"].as_str(), row["dwell_ms"].as_i64())
            {
                dwells.entry((flow.to_owned(), version, step, page.to_owned())).or_default().push(dwell_ms);
            }
        }
    }
    let planted = (PLANTED_DWELL.flow_id, i64::from(PLANTED_DWELL.flow_version), i64::from(PLANTED_DWELL.step));
    let mut bars = dwells
        .into_iter()
        .map(|((flow, version, step, page), mut times)| {
            times.sort_unstable();
            let value = times[times.len() / 2] as f64 / 1_000.0;
            Bar { name: format!("{flow} v{version} step {step} {page}"), value, is_planted: (flow.as_str(), version, step) == planted }
        })
        .collect::<Vec<_>>();
    bars.sort_by(|one, other| other.value.total_cmp(&one.value));
    bars.truncate(STEPS_SHOWN);
    Ok(Figure {
        name: "dwell",
        title: "Dwell time by step".to_owned(),
        caption: "Medians of the clicks, longest first. The code page of another flow, which has no fault, takes a sixth of the time.".to_owned(),
        chart: Chart::Bars { unit: "seconds", bars },
    })
}
