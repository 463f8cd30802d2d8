use std::{fs, path::Path};

use super::{agents, complaints, daily_use, delivery, dwell, figure::Figure, growth, kpi_drop, silent_value};
use crate::GenerateError;

type Draw = fn(&Path) -> Result<Figure, GenerateError>;

/// Every plot, in the order of the page.
const FIGURES: [Draw; 8] =
    [daily_use::figure, complaints::figure, agents::figure, kpi_drop::figure, dwell::figure, delivery::figure, growth::figure, silent_value::figure];

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
</style>
<main>
<h1>The sample province</h1>
<p>What is planted, read back from the files. The exact figures stand in <code>answer-key/</code>.</p>
";
