use std::sync::Arc;

use backplane_proto::ingest::v1::{
    AppendRequest, AppendResponse, ImportFileRequest, ListCompletenessRequest, ListCompletenessResponse, ListFeedStatusesRequest, ListFeedStatusesResponse,
    ListFeedsRequest, ListFeedsResponse, ListQuarantineRequest, ListQuarantineResponse, PutFeedRequest, PutFeedResponse, ReplayQuarantineRequest,
    ReplayQuarantineResponse, RetractFileRequest, RetractFileResponse, TryFeedRequest, TryFeedResponse, ingest_server,
};
use futures::{StreamExt, stream::BoxStream};
use kernel_base::{CallContext, context_of};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::{append::call, contracts::Draft, error::WarehouseError, feed, warehouse::Inner};

// Limit: appends of one stream that are on their way, as the contract of AppendStream says.
const STREAM_APPENDS_MAX: usize = 32;

const IDEMPOTENCY_KEY: &str = "backplane-idempotency-key";

/// `backplane.ingest.v1.Ingest`: the door; the verbs are in files of their own.
pub(crate) struct IngestService {
    inner: Arc<Inner>,
}

impl IngestService {
    pub(crate) fn new(inner: Arc<Inner>) -> IngestService {
        IngestService { inner }
    }
}

/// An append may carry its key as metadata too, where a plugin's connector puts it.
fn with_key(request: Request<AppendRequest>) -> Result<AppendRequest, Status> {
    let sent = request.metadata().get(IDEMPOTENCY_KEY).and_then(|key| key.to_str().ok()).unwrap_or_default().to_owned();
    let mut request = request.into_inner();
    if request.idempotency_key.is_empty() {
        request.idempotency_key = sent;
    } else if !sent.is_empty() && sent != request.idempotency_key {
        let problem = format!("the metadata '{IDEMPOTENCY_KEY}' has another key: send one, or the same in both");
        return Err(WarehouseError::FieldInvalid { field: "idempotency_key", problem }.into());
    }
    Ok(request)
}

/// Appends on the engine's threads and holds the room until it is done, also when its caller goes away.
async fn append_in(inner: &Arc<Inner>, room: OwnedSemaphorePermit, context: CallContext, request: AppendRequest) -> Result<AppendResponse, WarehouseError> {
    let appending = inner.clone();
    let append = async move {
        let _room = room;
        call::append(&appending, &context, request).await
    };
    inner.engine.run(append).await
}

/// An append of a stream that goes on, whether its answer is taken or not.
type Appending = Result<JoinHandle<Result<AppendResponse, WarehouseError>>, Status>;

/// Begins the appends of a stream one after another, until nobody takes the answers any more.
async fn append_all(inner: Arc<Inner>, context: CallContext, mut requests: Streaming<AppendRequest>, answers: mpsc::Sender<Appending>) {
    loop {
        let next = async {
            // Before there is a place for its answer no message is read, so that who takes no answers holds no room.
            let place = answers.reserve().await.ok()?;
            let appending = match requests.message().await {
                Ok(Some(request)) => begin_append(&inner, &context, request).await,
                Ok(None) => return None,
                Err(status) => Err(status),
            };
            let goes_on = appending.is_ok();
            place.send(appending);
            goes_on.then_some(())
        };
        tokio::select! {
            () = answers.closed() => return,
            next = next => match next {
                Some(()) => {}
                None => return,
            },
        }
    }
}

async fn begin_append(inner: &Arc<Inner>, context: &CallContext, request: AppendRequest) -> Appending {
    let room = inner.stream_room.wait(call::bytes(&request)).await?;
    let begin = {
        let (inner, context) = (inner.clone(), context.clone());
        async move { call::begin(&inner, &context, request) }
    };
    let begun = inner.engine.run(begin).await?;
    let (ending, context) = (inner.clone(), context.clone());
    let end = async move {
        let _room = room;
        begun.end(&ending, &context).await
    };
    Ok(inner.engine.handle().spawn(end))
}

#[tonic::async_trait]
impl ingest_server::Ingest for IngestService {
    type AppendStreamStream = BoxStream<'static, Result<AppendResponse, Status>>;
    type ImportFileStream = feed::Answers;

    async fn append(&self, request: Request<AppendRequest>) -> Result<Response<AppendResponse>, Status> {
        let context = context_of(&request)?;
        let request = with_key(request)?;
        let room = self.inner.append_room.take(call::bytes(&request))?;
        Ok(Response::new(append_in(&self.inner, room, context, request).await?))
    }

    async fn append_stream(&self, request: Request<Streaming<AppendRequest>>) -> Result<Response<Self::AppendStreamStream>, Status> {
        let context = context_of(&request)?;
        let (answers, answered) = mpsc::channel(STREAM_APPENDS_MAX);
        tokio::spawn(append_all(self.inner.clone(), context, request.into_inner(), answers));
        let answers = ReceiverStream::new(answered).then(async |appending| match appending?.await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(WarehouseError::Closing.into()),
        });
        Ok(Response::new(answers.boxed()))
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
