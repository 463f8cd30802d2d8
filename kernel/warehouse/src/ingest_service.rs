use std::sync::Arc;

use backplane_proto::ingest::v1::{
    AppendRequest, AppendResponse, ImportFileRequest, ListCompletenessRequest, ListCompletenessResponse, ListFeedStatusesRequest, ListFeedStatusesResponse,
    ListFeedsRequest, ListFeedsResponse, ListQuarantineRequest, ListQuarantineResponse, PutFeedRequest, PutFeedResponse, ReplayQuarantineRequest,
    ReplayQuarantineResponse, RetractFileRequest, RetractFileResponse, TryFeedRequest, TryFeedResponse, ingest_server,
};
use kernel_base::context_of;
use tonic::{Request, Response, Status, Streaming};

use crate::{append::call, contracts::Draft, feed, warehouse::Inner};

/// `backplane.ingest.v1.Ingest`: the door; the verbs are in files of their own.
pub(crate) struct IngestService {
    inner: Arc<Inner>,
}

impl IngestService {
    pub(crate) fn new(inner: Arc<Inner>) -> IngestService {
        IngestService { inner }
    }
}

#[tonic::async_trait]
impl ingest_server::Ingest for IngestService {
    type ImportFileStream = feed::Answers;

    async fn append(&self, request: Request<AppendRequest>) -> Result<Response<AppendResponse>, Status> {
        let context = context_of(&request)?;
        let (inner, request) = (self.inner.clone(), request.into_inner());
        Ok(Response::new(self.inner.engine.run(async move { call::append(&inner, &context, request).await }).await?))
    }

    async fn import_file(&self, request: Request<Streaming<ImportFileRequest>>) -> Result<Response<Self::ImportFileStream>, Status> {
        let context = context_of(&request)?;
        Ok(Response::new(feed::receive(&self.inner.importer, &context, request.into_inner()).await?))
    }

    async fn retract_file(&self, request: Request<RetractFileRequest>) -> Result<Response<RetractFileResponse>, Status> {
        let context = context_of(&request)?;
        let (importer, request) = (self.inner.importer.clone(), request.into_inner());
        Ok(Response::new(self.inner.engine.run(async move { feed::retract(&importer, &context, request).await }).await?))
    }

    async fn try_feed(&self, request: Request<TryFeedRequest>) -> Result<Response<TryFeedResponse>, Status> {
        let (importer, request) = (self.inner.importer.clone(), request.into_inner());
        Ok(Response::new(self.inner.engine.run(async move { feed::try_feed(&importer, request).await }).await?))
    }

    async fn list_feeds(&self, request: Request<ListFeedsRequest>) -> Result<Response<ListFeedsResponse>, Status> {
        Ok(Response::new(feed::list_feeds(&self.inner.contracts, request.into_inner()).await?))
    }

    async fn put_feed(&self, request: Request<PutFeedRequest>) -> Result<Response<PutFeedResponse>, Status> {
        let context = context_of(&request)?;
        let PutFeedRequest { document, after_revision } = request.into_inner();
        let draft = Draft { document: &document, after_revision, principal: context.caller_id() };
        let (name, revision) = self.inner.contracts.put_feed(draft).await?;
        Ok(Response::new(PutFeedResponse { name, revision }))
    }

    async fn list_completeness(&self, request: Request<ListCompletenessRequest>) -> Result<Response<ListCompletenessResponse>, Status> {
        let context = context_of(&request)?;
        let (importer, request) = (self.inner.importer.clone(), request.into_inner());
        Ok(Response::new(self.inner.engine.run(async move { feed::list_completeness(&importer, &context, request).await }).await?))
    }

    async fn list_feed_statuses(&self, request: Request<ListFeedStatusesRequest>) -> Result<Response<ListFeedStatusesResponse>, Status> {
        let context = context_of(&request)?;
        let (importer, request) = (self.inner.importer.clone(), request.into_inner());
        Ok(Response::new(self.inner.engine.run(async move { feed::list_statuses(&importer, &context, request).await }).await?))
    }

    async fn list_quarantine(&self, request: Request<ListQuarantineRequest>) -> Result<Response<ListQuarantineResponse>, Status> {
        let context = context_of(&request)?;
        let (importer, request) = (self.inner.importer.clone(), request.into_inner());
        Ok(Response::new(self.inner.engine.run(async move { feed::list_quarantine(&importer, &context, request).await }).await?))
    }

    async fn replay_quarantine(&self, request: Request<ReplayQuarantineRequest>) -> Result<Response<ReplayQuarantineResponse>, Status> {
        let context = context_of(&request)?;
        let (importer, request) = (self.inner.importer.clone(), request.into_inner());
        Ok(Response::new(self.inner.engine.run(async move { feed::replay(&importer, &context, request).await }).await?))
    }
}
