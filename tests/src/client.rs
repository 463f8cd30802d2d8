use anyhow::Context;
use backplane_proto::{
    auth::v1::auth_client::AuthClient,
    ingest::v1::{AppendRequest, AppendResponse, ingest_client::IngestClient},
    plugin::v1::plugins_client::PluginsClient,
    warehouse::v1::warehouse_client::WarehouseClient,
};
use tonic::{
    Request, Status,
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};
use tonic_types::StatusExt;

use crate::Columns;

/// A way to call a kernel: a channel, a token, a city.
#[derive(Clone)]
pub struct Call {
    pub channel: Channel,
    pub token: Option<String>,
    pub city: Option<String>,
}

/// A channel with the metadata of a [`Call`].
pub type Called = InterceptedService<Channel, Metadata>;

impl Call {
    pub fn with_token(&self, token: &str) -> Call {
        Call { token: Some(token.to_owned()), ..self.clone() }
    }

    pub fn without_token(&self) -> Call {
        Call { token: None, ..self.clone() }
    }

    pub fn in_city(&self, city: &str) -> Call {
        Call { city: Some(city.to_owned()), ..self.clone() }
    }

    pub fn auth(&self) -> AuthClient<Called> {
        AuthClient::new(self.service())
    }

    pub fn warehouse(&self) -> WarehouseClient<Called> {
        WarehouseClient::new(self.service()).max_decoding_message_size(32 << 20)
    }

    pub fn ingest(&self) -> IngestClient<Called> {
        IngestClient::new(self.service())
    }

    pub fn plugins(&self) -> PluginsClient<Called> {
        PluginsClient::new(self.service())
    }

    pub fn service(&self) -> Called {
        InterceptedService::new(self.channel.clone(), Metadata { token: self.token.clone(), city: self.city.clone() })
    }

    /// Appends rows to a dataset, in the city of the call.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn append<T>(&self, dataset: &str, key: &str, columns: Columns<'_, T>) -> Result<AppendResponse, Status> {
        let request = AppendRequest { dataset: dataset.to_owned(), ipc: columns.ipc().into(), idempotency_key: key.to_owned(), ..AppendRequest::default() };
        Ok(self.ingest().append(request).await?.into_inner())
    }

    /// Runs a query and gives its rows as JSON objects, through the command line's own door: the first column of the first row as a number.
    pub async fn number(&self, sql: &str) -> anyhow::Result<i64> {
        let request = backplane_proto::warehouse::v1::QueryRequest { sql: sql.to_owned(), ..Default::default() };
        let mut answers = self.warehouse().query(request).await?.into_inner();
        let mut ipc = Vec::new();
        while let Some(answer) = answers.message().await? {
            ipc.extend_from_slice(&answer.ipc);
        }
        let batches = arrow_ipc::reader::StreamReader::try_new(ipc.as_slice(), None)?.collect::<Result<Vec<_>, _>>()?;
        let batch = batches.iter().find(|batch| batch.num_rows() > 0).context("no rows")?;
        let values = batch.column(0).as_any().downcast_ref::<arrow_array::Int64Array>().context("not an integer")?;
        Ok(values.value(0))
    }
}

/// Puts token and city on each call.
#[derive(Clone)]
pub struct Metadata {
    token: Option<String>,
    city: Option<String>,
}

impl Interceptor for Metadata {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let wrong = |_| Status::internal("the test's own metadata is not ASCII");
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().map_err(wrong)?);
        }
        if let Some(city) = &self.city {
            request.metadata_mut().insert("backplane-city", city.parse().map_err(wrong)?);
        }
        Ok(request)
    }
}

/// The stable reason of a status.
pub fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}
