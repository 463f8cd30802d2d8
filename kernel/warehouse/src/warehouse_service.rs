use std::sync::Arc;

use backplane_proto::warehouse::v1::{
    Dataset, DatasetContract, DescribeDatasetRequest, GetDatasetContractRequest, ListDatasetsRequest, ListDatasetsResponse, PutDatasetRequest,
    PutDatasetResponse, QueryRequest, QueryResponse, warehouse_server,
};
use kernel_base::{BusClient, Page, context_of};
use tonic::{Request, Response, Status};

use crate::{datasets, error::WarehouseError, put_dataset, query, warehouse::Inner};

/// `backplane.warehouse.v1.Warehouse`: the door; the verbs are in files of their own.
pub(crate) struct WarehouseService {
    inner: Arc<Inner>,
    bus: BusClient,
}

impl WarehouseService {
    pub(crate) fn new(inner: Arc<Inner>, bus: BusClient) -> WarehouseService {
        WarehouseService { inner, bus }
    }
}

#[tonic::async_trait]
impl warehouse_server::Warehouse for WarehouseService {
    type QueryStream = query::Answers<QueryResponse>;

    async fn query(&self, request: Request<QueryRequest>) -> Result<Response<Self::QueryStream>, Status> {
        let context = context_of(&request)?;
        Ok(Response::new(query::query::<query::IpcPieces>(&self.inner, context, request.into_inner())?))
    }

    async fn list_datasets(&self, request: Request<ListDatasetsRequest>) -> Result<Response<ListDatasetsResponse>, Status> {
        let context = context_of(&request)?;
        let request = request.into_inner();
        let page = Page::read(request.page_size, &request.page_token).map_err(WarehouseError::from)?;
        let inner = self.inner.clone();
        Ok(Response::new(self.inner.engine.run(async move { datasets::list(&inner, &context, &page).await }).await?))
    }

    async fn describe_dataset(&self, request: Request<DescribeDatasetRequest>) -> Result<Response<Dataset>, Status> {
        let context = context_of(&request)?;
        let dataset = request.into_inner().dataset;
        let inner = self.inner.clone();
        Ok(Response::new(self.inner.engine.run(async move { datasets::describe(&inner, &context, &dataset).await }).await?))
    }

    async fn get_dataset_contract(&self, request: Request<GetDatasetContractRequest>) -> Result<Response<DatasetContract>, Status> {
        Ok(Response::new(datasets::contract(&self.inner.contracts, &request.into_inner().name).await?))
    }

    async fn put_dataset(&self, request: Request<PutDatasetRequest>) -> Result<Response<PutDatasetResponse>, Status> {
        let context = context_of(&request)?;
        let (inner, bus) = (self.inner.clone(), self.bus.clone());
        Ok(Response::new(self.inner.engine.run(async move { put_dataset::put(&inner, &bus, context, request.into_inner()).await }).await?))
    }
}
