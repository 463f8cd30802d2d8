//! The rows of a city, as billing, enrolment and the platforms would append them.

use backplane_tests::{Call, Columns};

#[derive(Clone)]
pub(super) struct Enrolment {
    pub(super) enrolment_id: String,
    pub(super) customer_id: i64,
    /// The enrolment of another city that it carries on.
    pub(super) continues_id: Option<String>,
    pub(super) at: i64,
    pub(super) package_id: String,
    pub(super) starts_on: i32,
    pub(super) ends_on: i32,
    pub(super) cancelled_at: Option<i64>,
}

pub(super) struct Line {
    pub(super) customer_id: i64,
    pub(super) enrolment_id: Option<String>,
    pub(super) month: i32,
    pub(super) kind: &'static str,
    pub(super) amount_fen: i64,
}

pub(super) struct Use {
    pub(super) customer_id: i64,
    pub(super) product_id: String,
    pub(super) day: i32,
    pub(super) source_feed: &'static str,
    /// Events, items, seconds and KB.
    pub(super) counts: [i64; 4],
}

/// A customer's tariff for some time.
pub(super) struct Description {
    pub(super) customer_id: i64,
    pub(super) valid_from: i32,
    pub(super) valid_to: Option<i32>,
    pub(super) tariff_id: String,
}

#[derive(Default)]
pub(super) struct Rows {
    pub(super) enrolments: Vec<Enrolment>,
    pub(super) lines: Vec<Line>,
    pub(super) uses: Vec<Use>,
    pub(super) descriptions: Vec<Description>,
}

impl Rows {
    /// Appends them in the city of the call, each dataset as one batch.
    pub(super) async fn append(&self, city: &Call, key: &str) {
        append_enrolments(city, key, &self.enrolments).await;
        append_lines(city, key, &self.lines).await;
        append_uses(city, key, &self.uses).await;
        append_descriptions(city, key, &self.descriptions).await;
    }
}

pub(super) async fn append_enrolments(city: &Call, key: &str, rows: &[Enrolment]) {
    let columns = Columns::of(rows)
        .text("enrolment_id", |row| &row.enrolment_id)
        .integer("customer_id", |row| row.customer_id)
        .optional_text("continues_id", |row| row.continues_id.as_deref())
        .instant("at", |row| row.at)
        .text("package_id", |row| &row.package_id)
        .text("channel_id", |_| "store")
        .day("starts_on", |row| row.starts_on)
        .day("ends_on", |row| row.ends_on)
        // Whatever it says: only days count.
        .text("status", |_| "active")
        .optional_instant("cancelled_at", |row| row.cancelled_at);
    append(city, "enrolment", key, rows.len(), columns).await;
}

async fn append_lines(city: &Call, key: &str, lines: &[Line]) {
    let numbered: Vec<(i64, &Line)> = (1..).zip(lines).collect();
    let columns = Columns::of(&numbered)
        .text("bill_id", |_| key)
        .integer("line_no", |(number, _)| *number)
        .integer("customer_id", |(_, line)| line.customer_id)
        .day("month", |(_, line)| line.month)
        // 20 November 2026, whatever the month.
        .instant("posted_at", |_| 1_795_176_000_000_000)
        .optional_text("enrolment_id", |(_, line)| line.enrolment_id.as_deref())
        .text("item", |(_, line)| line.kind)
        .integer("amount_fen", |(_, line)| line.amount_fen)
        .text("kind", |(_, line)| line.kind);
    append(city, "charge", key, lines.len(), columns).await;
}

async fn append_uses(city: &Call, key: &str, rows: &[Use]) {
    let columns = Columns::of(rows)
        .integer("customer_id", |row| row.customer_id)
        .text("product_id", |row| &row.product_id)
        .day("day", |row| row.day)
        .text("source_feed", |row| row.source_feed)
        .integer("events", |row| row.counts[0])
        .integer("quantity", |row| row.counts[1])
        .integer("seconds", |row| row.counts[2])
        .integer("kb", |row| row.counts[3])
        .integer("fee_fen", |_| 0)
        // Failures count as use.
        .integer("ok_events", |_| 0)
        .integer("failed_events", |row| row.counts[0]);
    append(city, "usage", key, rows.len(), columns).await;
}

async fn append_descriptions(city: &Call, key: &str, rows: &[Description]) {
    let columns = Columns::of(rows)
        .integer("customer_id", |row| row.customer_id)
        .day("valid_from", |row| row.valid_from)
        .optional_day("valid_to", |row| row.valid_to)
        .integer("account_id", |row| row.customer_id)
        .text("brand", |_| "gotone")
        .text("gender", |_| "unknown")
        .day("birth_date", |_| 0)
        .day("joined_on", |_| 0)
        .text("status", |_| "active")
        .text("tariff_id", |row| &row.tariff_id)
        .text("value_tier", |_| "standard");
    append(city, "subscriber", key, rows.len(), columns).await;
}

async fn append<T>(city: &Call, dataset: &str, key: &str, rows: usize, columns: Columns<'_, T>) {
    if rows > 0 {
        // A key is of one batch, whatever its dataset and city.
        let key = format!("{}-{dataset}-{key}", city.city.as_deref().unwrap_or_default());
        city.append(dataset, &key, columns).await.unwrap();
    }
}
