use std::{fs, path::Path};

use super::{
    agents, arbitrage, complaints, daily_use, delivery, dwell, exclusive, figure::Figure, flaws, growth, kpi_drop, late_adjustments, late_file, moves,
    refunded_more, reused_numbers, silent_value, table::Table, terms,
};
use crate::GenerateError;

type Draw = fn(&Path) -> Result<Figure, GenerateError>;
type List = fn(&Path) -> Result<Table, GenerateError>;

/// Every plot, in the order of the page.
const FIGURES: [Draw; 9] = [
    daily_use::figure,
    complaints::figure,
    agents::figure,
    kpi_drop::figure,
    dwell::figure,
    delivery::figure,
    growth::figure,
    silent_value::figure,
    late_file::figure,
];

/// Every table, after the plots.
const TABLES: [List; 8] =
    [exclusive::table, arbitrage::table, refunded_more::table, late_adjustments::table, moves::table, reused_numbers::table, terms::table, flaws::table];

/// Writes `report/` of a province that stands in `out`.
///
/// # Errors
/// When a file of the province cannot be read or one of the report not be written.
pub(crate) fn write(out: &Path) -> Result<(), GenerateError> {
    let folder = out.join("report");
    fs::create_dir_all(&folder).map_err(|source| GenerateError::Write { path: folder.clone(), source })?;
    let mut page = String::from(HEAD);
    for draw in FIGURES {
        let figure = draw(out)?;
        let path = folder.join(format!("{}.svg", figure.name));
        fs::write(&path, figure.svg()?).map_err(|source| GenerateError::Write { path, source })?;
        page.push_str(&format!("<h2>{}</h2>\n<p>{}</p>\n<img src=\"{}.svg\" alt=\"{}\">\n", figure.title, figure.caption, figure.name, figure.title));
    }
    for list in TABLES {
        page.push_str(&list(out)?.html());
    }
    page.push_str("</main>\n</html>\n");
    let path = folder.join("index.html");
    fs::write(&path, page).map_err(|source| GenerateError::Write { path, source })
}

const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<title>The sample province</title>
<style>
  body { font: 16px/1.5 sans-serif; color: #222; margin: 2rem }
  main { max-width: 62rem; margin: auto }
  img { width: 100%; height: auto }
  table { border-collapse: collapse; font-size: .8rem }
  th, td { border-bottom: 1px solid #ddd; padding: .2rem .6rem; text-align: left }
</style>
<main>
<h1>The sample province</h1>
<p>What is planted, read back from the files. The exact figures stand in <code>answer-key/</code>.</p>
";
