use std::path::PathBuf;

use anyhow::Context;
use backplane_proto::warehouse::v1::{GetDatasetContractRequest, PutDatasetRequest, warehouse_client::WarehouseClient};
use clap::{Args, Subcommand};
use tonic::Code;

use crate::{
    client::Connection,
    feed::contract_name,
    output::{self, say},
};

#[derive(Subcommand)]
pub(crate) enum DatasetCommand {
    /// Show a dataset's contract as it was written
    Show(ShowArguments),
    /// Put a contract in force: a new dataset, or a new revision of one
    Put(PutArguments),
}

#[derive(Args)]
pub(crate) struct ShowArguments {
    dataset: String,
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

pub(crate) async fn run(command: DatasetCommand) -> anyhow::Result<()> {
    match command {
        DatasetCommand::Show(arguments) => show(arguments).await,
        DatasetCommand::Put(arguments) => put(arguments).await,
    }
}

async fn show(arguments: ShowArguments) -> anyhow::Result<()> {
    let request = GetDatasetContractRequest { name: arguments.dataset };
    let contract = WarehouseClient::new(arguments.connection.open().await?).get_dataset_contract(request).await?.into_inner();
    if arguments.connection.json {
        return output::json("backplane.warehouse.v1.DatasetContract", &contract);
    }
    say(contract.document.trim_end());
    Ok(())
}

/// Puts the contract after the revision that is in force now.
async fn put(arguments: PutArguments) -> anyhow::Result<()> {
    let document = std::fs::read_to_string(&arguments.file).with_context(|| format!("cannot read {}", arguments.file.display()))?;
    let mut client = WarehouseClient::new(arguments.connection.open().await?);
    let after_revision = match client.get_dataset_contract(GetDatasetContractRequest { name: contract_name(&document)? }).await {
        Ok(contract) => contract.into_inner().revision,
        Err(status) if status.code() == Code::NotFound => 0,
        Err(status) => return Err(status.into()),
    };
    let answer = client.put_dataset(PutDatasetRequest { document, after_revision }).await?.into_inner();
    if arguments.connection.json {
        return output::json("backplane.warehouse.v1.PutDatasetResponse", &answer);
    }
    say(format!("{} is in force as revision {}", answer.name, answer.revision));
    Ok(())
}
