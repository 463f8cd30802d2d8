use backplane_proto::ingest::v1::{RetractFileRequest, ingest_client::IngestClient};
use clap::Args;

use crate::{
    client::Connection,
    output::{self, say},
};

#[derive(Args)]
pub(crate) struct RetractArguments {
    feed: String,
    /// Period of the file, yyyyMMdd or yyyyMM
    #[arg(long, required_unless_present = "file_sha256", default_value = "")]
    period: String,
    /// Part of a split extract
    #[arg(long, default_value_t = 0)]
    part: i64,
    /// Digest of the file, instead of its period
    #[arg(long, default_value = "")]
    file_sha256: String,
    /// Why the file is taken back; it is kept in the log
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(arguments: RetractArguments) -> anyhow::Result<()> {
    let RetractArguments { feed, period, part, file_sha256, reason, connection } = arguments;
    let request = RetractFileRequest { feed, period, part, file_sha256, reason };
    let answer = IngestClient::new(connection.open().await?).retract_file(request).await?.into_inner();
    if connection.json {
        return output::json("backplane.ingest.v1.RetractFileResponse", &answer);
    }
    let restored = if answer.rows_restored == 0 { String::new() } else { format!(", {} are as they were before", answer.rows_restored) };
    say(format!("{} is taken back: {} rows left{restored}, snapshot {}", answer.file_name, answer.rows_removed, answer.snapshot_id));
    Ok(())
}
