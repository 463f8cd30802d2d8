use std::fmt::Display;

/// Facts of which a plot would say nothing, with what they tell.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) title: &'static str,
    pub(super) caption: String,
    pub(super) columns: &'static [&'static str],
    pub(super) rows: Vec<Vec<String>>,
}

/// Limit: a reader looks at some and takes the count for the rest.
const ROWS_SHOWN: usize = 25;

impl Table {
    /// The first rows and how many there are. Invariant: cells are ids, names, days and amounts of the province, so that nothing needs escaping.
    pub(super) fn html(&self) -> String {
        let head = row("th", self.columns.iter().copied());
        let body = self.rows.iter().take(ROWS_SHOWN).map(|cells| row("td", cells.iter().map(String::as_str))).collect::<String>();
        let Table { title, caption, .. } = self;
        format!("<h2>{title}</h2>\n<p>{caption} {}</p>\n<table>\n{head}{body}</table>\n", self.count())
    }

    fn count(&self) -> String {
        match self.rows.len() {
            count @ ..=ROWS_SHOWN => format!("{count} in all."),
            count => format!("The first {ROWS_SHOWN} of {count}."),
        }
    }
}

fn row<'a>(tag: &str, cells: impl Iterator<Item = &'a str>) -> String {
    format!("<tr>{}</tr>\n", cells.map(|cell| format!("<{tag}>{cell}</{tag}>")).collect::<String>())
}

pub(super) fn cells<const CELLS: usize>(cells: [&dyn Display; CELLS]) -> Vec<String> {
    cells.map(ToString::to_string).to_vec()
}

/// `-12.50`.
pub(super) fn yuan(fen: i64) -> String {
    format!("{}{}.{:02}", if fen < 0 { "-" } else { "" }, fen.abs() / 100, fen.abs() % 100)
}
