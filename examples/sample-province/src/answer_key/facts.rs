use std::{collections::BTreeMap, fs, path::Path};

use serde::Serialize;
use serde_json::{Value, json};

use super::CityKey;
use crate::{FileTotal, GenerateError, city::BRANDS, places, planted, portal, public, world::World};

/// Writes `answer-key/*.json`, one file a fact.
pub(crate) fn write(world: &World, keys: &[CityKey], files: &[FileTotal], out: &Path) -> Result<(), GenerateError> {
    let facts = [
        ("silent", silent(world, keys)),
        ("exclusive", listed("Two enrolments of one customer that exclude each other, in force on the same days", keys.iter().flat_map(|key| &key.exclusive))),
        ("agent-flood", agent_flood(world, keys)),
        (
            "arbitrage",
            listed("Customers who take a package for its gift credit and cancel it within days, again and again", keys.iter().flat_map(|key| &key.arbitrage)),
        ),
        (
            "refunded-more",
            listed("Enrolments whose third month is refunded with more than its amount: a negative month to carry", keys.iter().flat_map(|key| &key.refunded)),
        ),
        ("complaint-burst", complaint_burst(world, keys)),
        ("kpi-drop", kpi_drop(world, keys)),
        ("handset-without-mms", handset(keys)),
        ("moves", listed("Customers who move on the first of a month; what they hold is closed and opened again", keys.iter().flat_map(|key| &key.moves))),
        ("reused-numbers", listed("Numbers that a second customer has after the first left", keys.iter().flat_map(|key| &key.reused))),
        ("late-adjustments", listed("Bill lines that come with the file of a later month", keys.iter().flat_map(|key| &key.adjustments))),
        ("portal-dwell", json!({ "what": "A step of a portal flow on which visitors stay far longer than on its like", "step": portal::PLANTED_DWELL })),
        ("late-file", late_file(files)),
        ("flaws", flaws(files)),
        ("charges", charges(world, keys)),
        ("catalogue", catalogue(world)),
    ];
    for (name, fact) in &facts {
        write_json(&out.join("answer-key").join(format!("{name}.json")), fact)?;
    }
    Ok(())
}

pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), GenerateError> {
    let text = serde_json::to_string_pretty(value).map_err(|source| GenerateError::Json { path: path.to_owned(), source })?;
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    folder.and_then(|()| fs::write(path, text + "\n")).map_err(|source| GenerateError::Write { path: path.to_owned(), source })
}

fn listed<'a, T: Serialize + 'a>(what: &str, rows: impl Iterator<Item = &'a T>) -> Value {
    let rows: Vec<Value> = rows.map(|row| json!(row)).collect();
    json!({ "what": what, "count": rows.len(), "rows": rows })
}

fn silent(world: &World, keys: &[CityKey]) -> Value {
    let mut rows = Vec::new();
    for key in keys {
        for (month, sums) in key.silence.months.iter().enumerate() {
            rows.push(json!({ "city": key.code(), "month": world.month(month as i32).to_string(), "sums": sums }));
        }
    }
    json!({
        "what": "Components of enrolments in force whose product was not used, or to less than 0.3 of the entitlement; row by row in silent.<city>.csv.gz. The late file is counted.",
        "theta": "0.3",
        "rows": rows,
    })
}

fn agent_flood(world: &World, keys: &[CityKey]) -> Value {
    let ids: Vec<&String> = keys.iter().flat_map(|key| &key.flood).collect();
    json!({
        "what": "One agent enrols a list of customers who never asked, within six evenings",
        "city": planted::FLOOD_CITY,
        "agent_id": places::agent_id(planted::FLOOD_CITY, planted::FLOOD_AGENT),
        "package_id": planted::FLOOD_PACKAGE,
        "month": world.month(planted::FLOOD_MONTH).to_string(),
        "count": ids.len(),
        "enrolment_ids": ids,
    })
}

fn complaint_burst(world: &World, keys: &[CityKey]) -> Value {
    let ids: Vec<&String> = keys.iter().flat_map(|key| &key.burst).collect();
    let month = world.month(planted::BURST_MONTH);
    json!({
        "what": "Complaints about unknown charges for one product in one city",
        "city": planted::BURST_CITY,
        "product_id": planted::BURST_PRODUCT,
        "code": "V301",
        "first_day": month.day(planted::BURST_FIRST_DAY).to_string(),
        "last_day": month.day(planted::BURST_FIRST_DAY + planted::BURST_DAYS - 1).to_string(),
        "count": ids.len(),
        "ticket_ids": ids,
    })
}

fn kpi_drop(world: &World, keys: &[CityKey]) -> Value {
    let by_brand: BTreeMap<_, _> = keys.iter().flat_map(|key| &key.drop).collect();
    let month = world.month(planted::DROP_MONTH);
    json!({
        "what": "Use of one product falls in one city, because it fails for one brand; as many days before are given for comparison",
        "city": planted::DROP_CITY,
        "product_id": planted::DROP_PRODUCT,
        "driver": { "dimension": "brand", "value": BRANDS[usize::from(planted::DROP_BRAND) - 1] },
        "first_day": month.day(planted::DROP_FIRST_DAY).to_string(),
        "last_day": month.day(planted::DROP_FIRST_DAY + planted::DROP_DAYS - 1).to_string(),
        "by_brand": by_brand,
    })
}

fn handset(keys: &[CityKey]) -> Value {
    let mut models: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (model, (sent, failed)) in keys.iter().flat_map(|key| &key.deliveries) {
        let sums = models.entry(model).or_default();
        *sums = (sums.0 + sent, sums.1 + failed);
    }
    let is_deaf = |model: &str| public::devices().iter().any(|device| device.model == model && !device.mms);
    let (deaf, others): (Vec<_>, Vec<_>) = models.into_iter().partition(|(model, _)| is_deaf(model));
    let others = others.into_iter().fold((0, 0), |sums, (_, (sent, failed))| (sums.0 + sent, sums.1 + failed));
    json!({
        "what": "Multimedia messages to a model that cannot receive them, and to all others",
        "reason_code": "MMS_UNSUPPORTED",
        "models": deaf.iter().map(|(model, (sent, failed))| json!({ "device_model": model, "sent": sent, "failed": failed })).collect::<Vec<_>>(),
        "others": { "sent": others.0, "failed": others.1 },
    })
}

fn late_file(files: &[FileTotal]) -> Value {
    let late: Vec<&FileTotal> = files.iter().filter(|file| file.file.starts_with(planted::LATE_FOLDER)).collect();
    json!({ "what": "A file that waits outside the folders of the feeds and comes late; all other facts count its rows", "count": late.len(), "rows": late })
}

/// By feed; by file they stand in `totals.json`.
fn flaws(files: &[FileTotal]) -> Value {
    let mut feeds: BTreeMap<&str, [u64; 4]> = BTreeMap::new();
    for file in files {
        let sums = feeds.entry(file.feed).or_default();
        for (sum, rows) in sums.iter_mut().zip([file.rows_good, file.rows_duplicate, file.rows_corrupt, file.rows_unknown_number]) {
            *sum += rows;
        }
    }
    let rows: Vec<Value> =
        feeds.iter().map(|(feed, [good, duplicate, corrupt, unknown])| json!({ "feed": feed, "good": good, "duplicate": duplicate, "corrupt": corrupt, "unknown_number": unknown })).collect();
    json!({ "what": "Rows that come twice, that break the contract, and that name a number which nobody has", "rows": rows })
}

/// By the month that the lines count for, not that of the file.
fn charges(world: &World, keys: &[CityKey]) -> Value {
    let mut rows = Vec::new();
    for key in keys {
        for ((month, kind), amount) in &key.charges {
            rows.push(json!({ "city": key.code(), "month": world.month(*month).to_string(), "kind": kind, "amount_fen": amount }));
        }
    }
    json!({ "what": "Sums of bill lines by city, month that they count for, and kind, with and without an enrolment", "rows": rows })
}

/// What of the catalogue a plugin for packages has to get right.
fn catalogue(world: &World) -> Value {
    let components = || world.catalogue.packages.iter().flat_map(|package| &package.components);
    let ids = |is_it: &dyn Fn(&crate::catalogue::Component) -> bool| {
        components().filter(|component| is_it(component)).map(|component| component.id).collect::<Vec<_>>()
    };
    let changes: Vec<Value> = components()
        .filter(|component| component.from > 0)
        .filter(|component| components().any(|earlier| earlier.id == component.id && earlier.from < component.from))
        .map(|component| {
            let overlaps = components().any(|earlier| earlier.id == component.id && earlier.from < component.from && earlier.to.is_none());
            json!({ "component_id": component.id, "from": world.month(component.from).to_string(), "list_price_fen": component.list_price_fen, "earlier_row_stays_open": overlaps })
        })
        .collect();
    json!({
        "what": "Components with changed terms, without a price, and without an entitlement; packages sold before their components are valid",
        "changed": changes,
        "zero_price": ids(&|component| component.list_price_fen == 0),
        "no_entitlement": ids(&|component| component.entitlement.is_none_or(|entitlement| entitlement == 0)),
        "sold_before_valid": world.catalogue.packages.iter().filter(|package| package.components.iter().all(|component| component.from > package.sold_from)).map(|package| package.id).collect::<Vec<_>>(),
    })
}
