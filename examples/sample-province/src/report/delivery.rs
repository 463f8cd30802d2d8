use std::{collections::BTreeMap, path::Path};

use serde_json::Value;

use super::{
    figure::{Bar, Chart, Figure},
    read_back,
};
use crate::{GenerateError, feeds, public};

const MODELS_SHOWN: usize = 15;
/// Limit: of a model with fewer messages a share says nothing.
const MESSAGES_LEAST: u32 = 20;
const MMS: &str = "1";

/// The share of multimedia messages that each model did not receive.
pub(super) fn figure(out: &Path) -> Result<Figure, GenerateError> {
    let mut models = BTreeMap::<String, (u32, u32)>::new();
    for text in read_back::texts(out, &feeds::BASE_DELIVERY, None)? {
        for line in text?.text.lines() {
            let Ok(row) = serde_json::from_str::<Value>(line) else { continue };
            if row["content_type"] == MMS
                && let (Some(model), Some(state)) = (row["terminal"].as_str(), row["stat"].as_str())
            {
                let sums = models.entry(model.to_owned()).or_default();
                sums.0 += 1;
                sums.1 += u32::from(state != "DELIVRD");
            }
        }
    }
    let mut bars = models
        .into_iter()
        .filter(|(_, (sent, _))| *sent >= MESSAGES_LEAST)
        .map(|(model, (sent, failed))| {
            let is_planted = public::devices().iter().any(|device| device.model == model && !device.mms);
            Bar { name: format!("{model} ({failed} of {sent})"), value: 100.0 * f64::from(failed) / f64::from(sent), is_planted }
        })
        .collect::<Vec<_>>();
    bars.sort_by(|one, other| other.value.total_cmp(&one.value));
    bars.truncate(MODELS_SHOWN);
    Ok(Figure {
        name: "delivery",
        title: "Multimedia messages that failed, by model".to_owned(),
        caption: "Models with most failures. One cannot receive them at all.".to_owned(),
        chart: Chart::Bars { unit: "percent failed", bars },
    })
}
