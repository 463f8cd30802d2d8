use backplane_proto::ingest::v1::{ListCompletenessRequest, ingest_client::IngestClient};
use clap::Args;

use crate::{client::Connection, output};

#[derive(Args)]
pub(crate) struct CompletenessArguments {
    /// Month, yyyyMM
    month: String,
    /// Only these feeds
    feeds: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(arguments: CompletenessArguments) -> anyhow::Result<()> {
    let request = ListCompletenessRequest { month: arguments.month, feeds: arguments.feeds };
    let answer = IngestClient::new(arguments.connection.open().await?).list_completeness(request).await?.into_inner();
    if arguments.connection.json {
        return output::json("backplane.ingest.v1.ListCompletenessResponse", &answer);
    }
    let rows = answer.rows.into_iter().map(|row| {
        let complete = if row.complete { "yes" } else { "no" };
        vec![row.feed, row.city, complete.to_owned(), row.rows_waiting.to_string(), some(&row.missing), some(&row.late)]
    });
    output::table(&["feed", "city", "complete", "rows waiting", "missing", "late"], rows);
    Ok(())
}

/// The first few of many.
fn some(periods: &[String]) -> String {
    const SHOWN: usize = 4;
    match periods.len() {
        0..=SHOWN => periods.join(", "),
        count => format!("{}, … {count} in all", periods[..SHOWN].join(", ")),
    }
}
