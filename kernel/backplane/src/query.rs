use std::{
    fs::{File, Permissions},
    io::{self, IsTerminal, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamDecoder;
use backplane_proto::warehouse::v1::{QueryProgress, QueryRequest, QueryStatistics, warehouse_client::WarehouseClient};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use parquet::{arrow::ArrowWriter, basic::Compression, file::properties::WriterProperties};

use crate::client::{ANSWER_BYTES_MAX, Connection};

#[derive(Args)]
pub(crate) struct QueryArguments {
    /// The SELECT; '-' reads it from standard input
    sql: String,
    /// A table, if nothing else is said
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Writes the answer to this file, once it is whole, instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Snapshot to read; 0 is the newest
    #[arg(long, default_value_t = 0)]
    snapshot: i64,
    /// Snapshot after which 'changes.DATASET' shows what came and went; 0 shows all rows as come
    #[arg(long, default_value_t = 0)]
    changes_after: i64,
    /// Most rows that the answer may have; 0 takes the kernel's limit
    #[arg(long, default_value_t = 0)]
    rows_max: i64,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    Table,
    Csv,
    Json,
    Parquet,
}

/// The answer to one query, and the snapshot that it was read from.
pub(crate) struct Answer {
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) schema: arrow_schema::SchemaRef,
    pub(crate) snapshot_id: i64,
    pub(crate) statistics: QueryStatistics,
}

pub(crate) async fn run(arguments: QueryArguments) -> anyhow::Result<()> {
    let sql = match arguments.sql.as_str() {
        "-" => io::read_to_string(io::stdin())?,
        sql => sql.to_owned(),
    };
    let format = match (arguments.format, arguments.connection.json) {
        (None, false) => Format::Table,
        (None | Some(Format::Json), true) => Format::Json,
        (Some(format), false) => format,
        (Some(_), true) => bail!("--json and --format ask for different things: leave one out"),
    };
    if format == Format::Parquet && arguments.output.is_none() && io::stdout().is_terminal() {
        bail!("Parquet is nothing to read on a terminal: name a file with --output");
    }
    let (snapshot_id, changes_after) = (arguments.snapshot, arguments.changes_after);
    let request = QueryRequest { sql, snapshot_id, changes_after, rows_max: arguments.rows_max, ..QueryRequest::default() };
    let answer = ask_with_progress(&arguments.connection, request).await?;
    let Some(file) = &arguments.output else {
        return write(&answer, format, io::stdout());
    };
    write_file(&answer, format, file).with_context(|| format!("{} cannot be written", file.display()))?;
    let (rows, snapshot_id) = (answer.statistics.rows, answer.snapshot_id);
    if arguments.connection.json {
        crate::output::say(serde_json::json!({"rows": rows, "snapshot_id": snapshot_id, "file": file}));
    } else {
        crate::output::say(format_args!("{rows} rows of snapshot {snapshot_id} are in {}", file.display()));
    }
    Ok(())
}

/// A file is there whole or not at all, also when there was one before. What is none, a pipe or a device, is written to.
fn write_file(answer: &Answer, format: Format, file: &Path) -> anyhow::Result<()> {
    // What a link points to, and not the link, is written anew.
    let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    if file.metadata().is_ok_and(|there| !there.is_file()) {
        return write(answer, format, File::options().write(true).open(file)?);
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Readable as far as the user's own files are.
    let unfinished = tempfile::Builder::new().permissions(Permissions::from_mode(0o666)).tempfile_in(folder)?;
    write(answer, format, unfinished.as_file())?;
    unfinished.as_file().sync_all()?;
    unfinished.persist(file)?;
    Ok(())
}

/// Runs a query and collects its rows; a person who waits sees how far it is.
async fn ask_with_progress(connection: &Connection, request: QueryRequest) -> anyhow::Result<Answer> {
    // Hidden where nobody looks; nothing is drawn for a query that is quick.
    let bar = ProgressBar::new(1_000).with_style(ProgressStyle::with_template("{wide_bar} {percent} % of the rows read, {elapsed}")?);
    let request = QueryRequest { tells_progress: !bar.is_hidden(), ..request };
    let answer = collect(connection, request, |progress| bar.set_position(u64::try_from(progress.permille).unwrap_or_default())).await;
    bar.finish_and_clear();
    answer
}

/// Runs a query and collects its rows.
///
/// # Errors
/// When it is refused or fails, or the kernel sends something other than one Arrow IPC stream.
pub(crate) async fn ask(connection: &Connection, request: QueryRequest) -> anyhow::Result<Answer> {
    collect(connection, request, |_| ()).await
}

async fn collect(connection: &Connection, request: QueryRequest, mut tell: impl FnMut(QueryProgress)) -> anyhow::Result<Answer> {
    let mut client = WarehouseClient::new(connection.open().await?).max_decoding_message_size(ANSWER_BYTES_MAX);
    let mut messages = client.query(request).await?.into_inner();
    let mut decoder = StreamDecoder::new();
    let mut answer = Answer { batches: Vec::new(), schema: arrow_schema::Schema::empty().into(), snapshot_id: 0, statistics: QueryStatistics::default() };
    while let Some(message) = messages.message().await? {
        if message.snapshot_id != 0 {
            answer.snapshot_id = message.snapshot_id;
        }
        let mut piece = arrow_buffer(message.ipc);
        while !piece.is_empty() {
            if let Some(batch) = decoder.decode(&mut piece)? {
                answer.batches.push(batch);
            }
        }
        if let Some(progress) = message.progress {
            tell(progress);
        }
        if let Some(statistics) = message.statistics {
            answer.statistics = statistics;
        }
    }
    answer.schema = decoder.schema().context("the kernel sent no schema")?;
    decoder.finish()?;
    Ok(answer)
}

fn arrow_buffer(bytes: bytes::Bytes) -> arrow_buffer::Buffer {
    arrow_buffer::Buffer::from(bytes)
}

/// The rows as JSON objects, by the names of the columns.
///
/// # Errors
/// For a type that has no JSON.
pub(crate) fn rows_json(answer: &Answer) -> anyhow::Result<serde_json::Value> {
    let mut rows = Vec::new();
    let mut writer = arrow_json::WriterBuilder::new().with_explicit_nulls(true).build::<_, arrow_json::writer::JsonArray>(&mut rows);
    for batch in &answer.batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    drop(writer);
    Ok(if rows.is_empty() { serde_json::json!([]) } else { serde_json::from_slice(&rows)? })
}

/// Prints rows as a table.
pub(crate) fn print_table(batches: &[RecordBatch]) -> anyhow::Result<()> {
    crate::output::say(arrow_cast::pretty::pretty_format_batches(batches)?);
    Ok(())
}

fn write(answer: &Answer, format: Format, mut out: impl Write + Send) -> anyhow::Result<()> {
    match format {
        Format::Table => {
            let batches = if answer.batches.is_empty() { vec![RecordBatch::new_empty(answer.schema.clone())] } else { answer.batches.clone() };
            writeln!(out, "{}", arrow_cast::pretty::pretty_format_batches(&batches)?)?;
            let QueryStatistics { rows, elapsed_micros } = answer.statistics;
            writeln!(out, "{rows} rows in {:.1} ms, snapshot {}", elapsed_micros as f64 / 1_000.0, answer.snapshot_id)?;
        }
        Format::Csv => {
            let mut writer = arrow_csv::WriterBuilder::new().with_header(true).build(&mut out);
            if answer.batches.is_empty() {
                writer.write(&RecordBatch::new_empty(answer.schema.clone()))?;
            }
            for batch in &answer.batches {
                writer.write(batch)?;
            }
        }
        Format::Json => {
            let document = serde_json::json!({"snapshot_id": answer.snapshot_id, "rows": rows_json(answer)?});
            writeln!(out, "{}", serde_json::to_string_pretty(&document)?)?;
        }
        Format::Parquet => {
            let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
            let mut writer = ArrowWriter::try_new(out, answer.schema.clone(), Some(properties))?;
            for batch in &answer.batches {
                writer.write(batch)?;
            }
            writer.close()?;
        }
    }
    Ok(())
}
