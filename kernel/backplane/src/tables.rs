use backplane_proto::warehouse::v1::{Dataset, DescribeDatasetRequest, ListDatasetsRequest, ListDatasetsResponse, warehouse_client::WarehouseClient};
use clap::{Args, ValueEnum};

use crate::{
    client::{Connection, PAGE_SIZE, all_pages},
    output::{self, say},
};

#[derive(Args)]
pub(crate) struct TablesArguments {
    /// Describe this dataset with its columns
    name: Option<String>,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    Table,
    Csv,
    Json,
}

pub(crate) async fn run(arguments: TablesArguments) -> anyhow::Result<()> {
    let format = if arguments.connection.json { Format::Json } else { arguments.format };
    let mut client = WarehouseClient::new(arguments.connection.open().await?);
    if let Some(dataset) = arguments.name {
        let dataset = client.describe_dataset(DescribeDatasetRequest { dataset }).await?.into_inner();
        return if format == Format::Json { output::json("backplane.warehouse.v1.Dataset", &dataset) } else { describe(dataset, format) };
    }
    let datasets = all_pages(async |page_token| {
        let page = client.list_datasets(ListDatasetsRequest { page_size: PAGE_SIZE, page_token }).await?.into_inner();
        Ok((page.datasets, page.next_page_token))
    })
    .await?;
    if format == Format::Json {
        return output::json("backplane.warehouse.v1.ListDatasetsResponse", &ListDatasetsResponse { datasets, next_page_token: String::new() });
    }
    let rows = datasets.into_iter().map(|dataset| {
        let last = output::instant(dataset.last_appended_at.as_ref());
        let rows = if dataset.aggregates_only { rows(&dataset) } else { dataset.rows.to_string() };
        vec![name_in_sql(&dataset), rows, dataset.mode, last, dataset.purpose]
    });
    print(format, &["dataset", "rows", "mode", "last appended", "purpose"], rows.collect())
}

/// What a query of the caller's calls it.
fn name_in_sql(dataset: &Dataset) -> String {
    match dataset.aggregates_only {
        true => format!("aggregates.{}", dataset.name),
        false => dataset.name.clone(),
    }
}

fn rows(dataset: &Dataset) -> String {
    match dataset.aggregates_only {
        true => format!("cells of {} or more", dataset.minimum_group),
        false => format!("{} rows", dataset.rows),
    }
}

fn describe(dataset: Dataset, format: Format) -> anyhow::Result<()> {
    if format == Format::Table {
        let name = name_in_sql(&dataset);
        say(format!("{name}: {} ({}, key {}, {})", dataset.purpose, dataset.mode, dataset.key.join(", "), rows(&dataset)));
    }
    let rows = dataset.columns.into_iter().map(|column| {
        let class = if column.masked { format!("{}, masked", column.class) } else { column.class };
        let nullable = if column.nullable { "yes" } else { "no" };
        vec![column.name, column.r#type, nullable.to_owned(), column.unit, class, column.meaning]
    });
    print(format, &["column", "type", "nullable", "unit", "class", "meaning"], rows.collect())
}

fn print(format: Format, head: &[&str], rows: Vec<Vec<String>>) -> anyhow::Result<()> {
    if format == Format::Table {
        output::table(head, rows);
        return Ok(());
    }
    let mut writer = csv::Writer::from_writer(std::io::stdout());
    writer.write_record(head)?;
    for row in rows {
        writer.write_record(row)?;
    }
    writer.flush()?;
    Ok(())
}
