use serde_json::{Value, json};

use super::setup::{Account, DONGGUAN, FOSHAN, Setup};
use crate::{
    client::Connection,
    output::{say, table},
    plugin,
};

const SERVICE: &str = "package_monitor.v1.PackageMonitor";

/// What package-monitor found in the two cities, asked through its service.
pub(super) struct Findings {
    month: String,
    /// Foshan's packages, those first of which most was paid for and never used.
    packages: Vec<Value>,
    /// Of Foshan, in the last month that has any.
    conflicts: Option<(String, Vec<Value>)>,
    /// Of Dongguan with their months, the least likely first.
    anomalies: Vec<(String, Value)>,
}

impl Findings {
    /// Asks for them; `month` is one that is valued.
    pub(super) async fn ask(setup: &Setup, month: &str) -> anyhow::Result<Findings> {
        let packages = listed(setup, &FOSHAN, "ListPackages", "packages", &json!({"month": month, "pageSize": 5})).await?;
        let mut conflicts = None;
        for month in valued_months(setup, &FOSHAN).await? {
            let found = listed(setup, &FOSHAN, "ListConflicts", "conflicts", &json!({"month": month, "pageSize": 1000})).await?;
            conflicts = if found.is_empty() { conflicts } else { Some((month, found)) };
        }
        let mut anomalies = Vec::new();
        for month in valued_months(setup, &DONGGUAN).await? {
            let found = listed(setup, &DONGGUAN, "ListSourceAnomalies", "anomalies", &json!({"month": month})).await?;
            anomalies.extend(found.into_iter().map(|anomaly| (month.clone(), anomaly)));
        }
        anomalies.sort_by(|(_, one), (_, other)| real(&one["chance"]).total_cmp(&real(&other["chance"])));
        Ok(Findings { month: month.to_owned(), packages, conflicts, anomalies })
    }

    pub(super) fn month(&self) -> &str {
        &self.month
    }

    /// An enrolment that must not be, with its month, customer, package and day: the customer holds a package that excludes it.
    pub(super) fn forbidden(&self) -> Option<[String; 4]> {
        let (month, conflicts) = self.conflicts.as_ref()?;
        let conflict = conflicts.first()?;
        let [customer, package, day] = [&conflict["customerId"], &conflict["other"]["packageId"], &conflict["until"]].map(text);
        Some([month.clone(), customer, package, day])
    }

    /// The month of the most abnormal source.
    pub(super) fn abnormal_month(&self) -> Option<&str> {
        self.anomalies.first().map(|(month, _)| month.as_str())
    }

    pub(super) fn print(&self) {
        let Findings { month, packages, conflicts, anomalies } = self;
        say(format!("\nWhat package-monitor says of Foshan in {month}: of each package's booked yuan so many per cent are"));
        let head = ["package", "name", "enrolments", "booked", "real %", "never used %", "gifted %", "swapped for voice %"];
        table(&head, packages.iter().map(package));
        if let Some((month, conflict)) = conflicts.as_ref().and_then(|(month, conflicts)| Some((month, conflicts.first()?))) {
            let (first, other) = (&conflict["first"], &conflict["other"]);
            say(format!(
                "\nPackages that exclude each other were held together there in {month}, such as {} and {} by customer {} since {}: {}",
                text(&first["nameZh"]),
                text(&other["nameZh"]),
                text(&conflict["customerId"]),
                text(&conflict["since"]),
                text(&conflict["reason"])
            ));
        }
        if let Some((month, anomaly)) = anomalies.first() {
            let (agent, channel) = (text(&anomaly["agentId"]), text(&anomaly["channelId"]));
            let source = if agent.is_empty() { format!("channel {channel}") } else { format!("agent {agent} of channel {channel}") };
            say(format!(
                "In Dongguan {source} took {} enrolments from {} to {} ({month}), where {:.1} were to be expected; {} of them were cancelled soon.",
                text(&anomaly["enrolments"]),
                text(&anomaly["firstDay"]),
                text(&anomaly["lastDay"]),
                real(&anomaly["expected"]),
                text(&anomaly["cancelledSoon"])
            ));
        }
    }
}

/// Oldest first.
async fn valued_months(setup: &Setup, account: &Account) -> anyhow::Result<Vec<String>> {
    let months = listed(setup, account, "ListMonths", "months", &json!({})).await?;
    Ok(months.iter().filter(|month| month["valued"] == true).map(|month| text(&month["month"])).collect())
}

async fn listed(setup: &Setup, account: &Account, method: &str, field: &str, request: &Value) -> anyhow::Result<Vec<Value>> {
    let connection = Connection { token: Some(setup.token(account).to_owned()), ..setup.administrator.clone() };
    let answer = plugin::call(&connection, &format!("{SERVICE}/{method}"), &request.to_string()).await?;
    let mut answer: Value = serde_json::from_str(&answer)?;
    Ok(match answer[field].take() {
        Value::Array(rows) => rows,
        _ => Vec::new(),
    })
}

fn package(package: &Value) -> Vec<String> {
    let value = &package["value"];
    let booked = whole(&value["bookedFen"]);
    // Shares are for reading; the amounts are in the answer.
    let share = |part: &str| format!("{:.1}", whole(&value[part]) as f64 * 100.0 / booked.max(1) as f64);
    let yuan = format!("{}.{:02}", booked / 100, booked % 100);
    let names = [text(&package["packageId"]), text(&package["nameZh"]), text(&package["enrolments"]), yuan];
    names.into_iter().chain(["realFen", "virtualFen", "giftedFen", "swappedFen"].map(share)).collect()
}

/// Numbers of 64 bits are texts in JSON.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn whole(value: &Value) -> i64 {
    text(value).parse().unwrap_or(0)
}

fn real(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0)
}
