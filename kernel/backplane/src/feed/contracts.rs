use std::path::PathBuf;

use anyhow::{Context, bail};
use arrow_ipc::reader::StreamReader;
use backplane_proto::ingest::v1::{ListFeedsResponse, PutFeedRequest, TryFeedRequest, ingest_client::IngestClient};
use clap::Args;
use kernel_base::City;

use super::folder::feeds;
use crate::{
    client::Connection,
    output::{self, say},
};

// Limit: bytes of a file that are tried, as the contract of TryFeed says.
const SAMPLE_BYTES: usize = 1 << 20;

#[derive(Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args)]
pub(crate) struct ShowArguments {
    feed: String,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args)]
pub(crate) struct PutArguments {
    /// The contract, YAML
    file: PathBuf,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args)]
pub(crate) struct TryArguments {
    /// Name of a feed in force, or path of a contract that is being written
    contract: String,
    /// A file of the platform; its first mebibyte is read
    sample: PathBuf,
    /// Data day yyyyMMdd or month yyyyMM, when the file's name does not say it
    #[arg(long, default_value = "")]
    period: String,
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn list(arguments: ListArguments) -> anyhow::Result<()> {
    let feeds = feeds(&arguments.connection).await?;
    if arguments.connection.json {
        return output::json("backplane.ingest.v1.ListFeedsResponse", &ListFeedsResponse { feeds, next_page_token: String::new() });
    }
    let rows = feeds.into_iter().map(|feed| vec![feed.name, feed.platform, feed.dataset, feed.file_name, feed.revision.to_string()]);
    output::table(&["feed", "platform", "dataset", "file name", "revision"], rows);
    Ok(())
}

pub(super) async fn show(arguments: ShowArguments) -> anyhow::Result<()> {
    let feeds = feeds(&arguments.connection).await?;
    let feed = feeds.into_iter().find(|feed| feed.name == arguments.feed).with_context(|| format!("there is no feed '{}'", arguments.feed))?;
    if arguments.connection.json {
        return output::json("backplane.ingest.v1.Feed", &feed);
    }
    say(feed.document.trim_end());
    Ok(())
}

/// Puts the contract after the revision that is in force now.
pub(super) async fn put(arguments: PutArguments) -> anyhow::Result<()> {
    let document = std::fs::read_to_string(&arguments.file).with_context(|| format!("cannot read {}", arguments.file.display()))?;
    let name = contract_name(&document)?;
    let after_revision = feeds(&arguments.connection).await?.into_iter().find(|feed| feed.name == name).map_or(0, |feed| feed.revision);
    let request = PutFeedRequest { document, after_revision };
    let answer = IngestClient::new(arguments.connection.open().await?).put_feed(request).await?.into_inner();
    if arguments.connection.json {
        return output::json("backplane.ingest.v1.PutFeedResponse", &answer);
    }
    say(format!("{} is in force as revision {}", answer.name, answer.revision));
    Ok(())
}

/// The name that a contract gives itself, which says whose revision it follows; the kernel reads the rest.
pub(crate) fn contract_name(document: &str) -> anyhow::Result<String> {
    let name = document.lines().find_map(|line| line.strip_prefix("name:"));
    let name = name.context("the contract has no line 'name: …'")?;
    Ok(name.split('#').next().unwrap_or(name).trim().trim_matches(['"', '\'']).to_owned())
}

pub(super) async fn try_feed(arguments: TryArguments) -> anyhow::Result<()> {
    let mut sample = std::fs::read(&arguments.sample).with_context(|| format!("cannot read {}", arguments.sample.display()))?;
    let is_beginning = sample.len() > SAMPLE_BYTES;
    sample.truncate(SAMPLE_BYTES);
    let (feed, document) = match std::fs::read_to_string(&arguments.contract) {
        Ok(document) => (String::new(), document),
        Err(_) if arguments.contract.ends_with(".yaml") => bail!("cannot read the contract {}", arguments.contract),
        Err(_) => (arguments.contract.clone(), String::new()),
    };
    let file_name = arguments.sample.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let city = arguments.connection.city.map_or_else(String::new, |city: City| city.to_string());
    let request = TryFeedRequest { feed, document, sample: sample.into(), file_name, city, period: arguments.period, is_beginning };
    let answer = IngestClient::new(arguments.connection.open().await?).try_feed(request).await?.into_inner();
    if arguments.connection.json {
        return output::json("backplane.ingest.v1.TryFeedResponse", &answer);
    }
    say(format!("{} records: {} good, {} bad; nothing was written", answer.records, answer.rows_good, answer.records - answer.rows_good));
    if answer.is_cut {
        say("the sample holds more than 64 MiB of text: only its beginning was read");
    }
    if !answer.ipc.is_empty() {
        // A look, not a listing.
        const SHOWN: usize = 10;
        let batches = StreamReader::try_new(answer.ipc.as_ref(), None)?.map(|batch| batch.map(|batch| batch.slice(0, batch.num_rows().min(SHOWN))));
        crate::query::print_table(&batches.collect::<Result<Vec<_>, _>>()?)?;
    }
    if !answer.bad.is_empty() {
        let rows = answer.bad.into_iter().map(|bad| {
            let raw: String = bad.raw_text.chars().take(120).collect();
            vec![bad.line.to_string(), bad.column, bad.reason, bad.message, raw]
        });
        output::table(&["line", "column", "reason", "message", "raw text"], rows);
    }
    Ok(())
}
