use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Schema, SchemaRef};
use backplane_proto::warehouse::v1::{QueryProgress, QueryRequest, QueryStatistics};
use datafusion::{
    execution::{SendableRecordBatchStream, SessionState},
    logical_expr::LogicalPlan,
    physical_plan::ExecutionPlan,
};
use futures::{FutureExt, Stream, StreamExt};
use kernel_base::CallContext;
use tokio::sync::{
    SemaphorePermit,
    mpsc::{self, Sender, error::TrySendError},
};
use tonic::Status;

use self::kept_plans::PlanKey;
use crate::{
    error::WarehouseError,
    guard::{
        rows_read, rows_to_read,
        session::{Catalog, GuardedSession, MemoryUse},
    },
    warehouse::Inner,
};

mod errors;
mod ipc;
mod kept_plans;
mod parameters;
mod plain_rows;
mod statement;

pub(crate) use ipc::IpcPieces;
pub(crate) use kept_plans::KeptPlans;
pub(crate) use plain_rows::PlainRows;

// Limit: the SQL text, as the contract of Query says. Programs write long IN lists; beyond this they want a table of their own.
const SQL_BYTES_MAX: usize = 1 << 20;
// Limit: answers that wait for a slow reader. Each is up to 1 MiB; the query pauses when they are full.
const ANSWERS_WAITING_MAX: usize = 2;
/// How often a query says how far it is, as the contract of Query says.
const TELLS_EVERY: Duration = Duration::from_millis(250);

pub(crate) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The form in which a reader takes the rows of a query.
pub(crate) trait AnswerForm: Send + Sized {
    type Answer: Send + 'static;

    fn begin(schema: &Schema, snapshot_id: i64) -> Result<Self, WarehouseError>;

    fn write(&mut self, batch: &RecordBatch) -> Result<(), WarehouseError>;

    /// An answer that says how far the query is, where the form has one.
    fn progress(&mut self, progress: QueryProgress) -> Option<Self::Answer>;

    /// The next answer that is ready. Answers are small, so that a reader can begin early.
    fn next_answer(&mut self) -> Option<Self::Answer>;

    /// The last one; every other must have been taken.
    fn finish(self, statistics: QueryStatistics) -> Result<Option<Self::Answer>, WarehouseError>;
}

/// A query on its way: what was asked, with the kernel's limits applied.
struct Asked {
    request: QueryRequest,
    context: CallContext,
    rows_max: u64,
    memory_bytes_max: u64,
    began: Instant,
}

/// Runs one SELECT on the engine's threads and streams its rows. A reader that goes away stops the query.
pub(crate) fn query<F: AnswerForm>(inner: &Arc<Inner>, context: CallContext, request: QueryRequest) -> Result<Answers<F::Answer>, WarehouseError> {
    let asked = asked(inner, context, request)?;
    let (answers, reader) = mpsc::channel(ANSWERS_WAITING_MAX);
    let deadline = asked.context.deadline;
    let inner = inner.clone();
    let engine = inner.engine.handle().clone();
    engine.spawn(async move {
        let gone = answers.clone();
        let outcome = tokio::select! {
            outcome = AssertUnwindSafe(run::<F>(&inner, &asked, &answers)).catch_unwind() => outcome.unwrap_or_else(|_| Err(WarehouseError::broken("a query panicked"))),
            () = gone.closed() => return,
            () = tokio::time::sleep_until(deadline.into()) => Err(WarehouseError::DeadlinePassed { work: "query" }),
        };
        if let Err(error) = outcome {
            // The reader may be gone by now, which is no news to it.
            let _ = answers.send(Err(error.into())).await;
        }
    });
    Ok(Box::pin(tokio_stream::wrappers::ReceiverStream::new(reader)))
}

/// What a statement would give.
pub(crate) struct Prepared {
    pub(crate) columns: SchemaRef,
    /// What stands for `$1`, `$2` …; `None` where any type would do.
    pub(crate) parameters: Vec<Option<DataType>>,
}

/// Plans one SELECT whose values are not known yet.
pub(crate) async fn prepare(inner: &Inner, context: CallContext, request: QueryRequest) -> Result<Prepared, WarehouseError> {
    let asked = asked(inner, context, request)?;
    let _turn = Turn::take(inner).await?;
    let (_, plan) = parsed_plan(inner, &asked, &session(inner, &asked)?).await?;
    Ok(Prepared { columns: plan.schema().inner().clone(), parameters: parameters::types(&plan)? })
}

/// The columns that [`query`] gives, and the snapshot at which it would read.
pub(crate) async fn describe(inner: &Inner, context: CallContext, request: QueryRequest) -> Result<(SchemaRef, i64), WarehouseError> {
    let asked = asked(inner, context, request)?;
    let _turn = Turn::take(inner).await?;
    let session = session(inner, &asked)?;
    let plan = logical_plan(inner, &asked, &session).await?;
    let laid_out = session.lay_out(&plan, MemoryUse::AsAsked).await.map_err(|error| errors::while_laying_out(error, asked.memory_bytes_max))?;
    Ok((laid_out.schema(), session.snapshot()))
}

fn asked(inner: &Inner, context: CallContext, request: QueryRequest) -> Result<Asked, WarehouseError> {
    if request.sql.len() > SQL_BYTES_MAX {
        let problem = format!("{} bytes are more than the {SQL_BYTES_MAX} that a query may have: send values as parameters", request.sql.len());
        return Err(WarehouseError::FieldInvalid { field: "sql", problem });
    }
    Ok(Asked {
        rows_max: limit("rows_max", request.rows_max, inner.settings.query.rows_max)?,
        memory_bytes_max: limit("memory_bytes_max", request.memory_bytes_max, inner.settings.query.memory_bytes_max)?,
        began: Instant::now(),
        request,
        context,
    })
}

/// 0 takes the kernel's limit, more is lowered to it.
fn limit(field: &'static str, asked: i64, kernel: u64) -> Result<u64, WarehouseError> {
    match u64::try_from(asked) {
        Ok(0) => Ok(kernel),
        Ok(asked) => Ok(asked.min(kernel)),
        Err(_) => Err(WarehouseError::FieldInvalid { field, problem: "a limit is not negative: leave it out for the kernel's".to_owned() }),
    }
}

async fn run<F: AnswerForm>(inner: &Inner, asked: &Asked, answers: &Sender<Result<F::Answer, Status>>) -> Result<(), WarehouseError> {
    let mut turn = Turn::take(inner).await?;
    let session = session(inner, asked)?;
    let logical = logical_plan(inner, asked, &session).await?;
    let mut memory = MemoryUse::AsAsked;
    let mut rows = Rows::begin(&session, &logical, memory, asked).await?;
    let mut form = F::begin(&rows.batches.schema(), session.snapshot())?;
    let mut count = 0;
    loop {
        while let Some(answer) = form.next_answer() {
            if !turn.give(answers, answer).await? {
                return Ok(());
            }
        }
        let next = tokio::select! {
            next = rows.next(asked) => next,
            () = tokio::time::sleep(TELLS_EVERY), if asked.request.tells_progress => {
                let progress = QueryProgress { permille: rows.permille_read(), elapsed_micros: micros(asked.began.elapsed()) };
                if let Some(answer) = form.progress(progress)
                    && !turn.give(answers, answer).await?
                {
                    return Ok(());
                }
                continue;
            }
        };
        let batch = match next {
            // Before the first row it can still be done another way.
            Err(WarehouseError::QueryMemoryExceeded { .. }) if count == 0 && memory == MemoryUse::AsAsked => {
                memory = MemoryUse::Shared;
                drop(rows);
                rows = Rows::begin(&session, &logical, memory, asked).await?;
                continue;
            }
            outcome => outcome?,
        };
        let Some(batch) = batch else {
            break;
        };
        count += batch.num_rows() as u64;
        if count > asked.rows_max {
            return Err(WarehouseError::QueryRowsExceeded { rows_max: asked.rows_max });
        }
        form.write(&batch)?;
    }
    let statistics = QueryStatistics { rows: i64::try_from(count).unwrap_or(i64::MAX), elapsed_micros: micros(asked.began.elapsed()) };
    if let Some(last) = form.finish(statistics)? {
        let _ = answers.send(Ok(last)).await;
    }
    Ok(())
}

/// The session of a query, at the snapshot that it asks for.
fn session<'a>(inner: &'a Inner, asked: &Asked) -> Result<GuardedSession<'a>, WarehouseError> {
    let snapshot_id = inner.lake.snapshot(asked.request.snapshot_id)?;
    let changes_after = asked.request.changes_after;
    if !(0..=inner.lake.newest()).contains(&changes_after) {
        return Err(WarehouseError::ChangesUnknown { snapshot_id: changes_after, newest: inner.lake.newest() });
    }
    if changes_after > snapshot_id {
        let problem =
            format!("snapshot {changes_after} is later than {snapshot_id}, which the query reads: leave snapshot_id out, or send an earlier one here");
        return Err(WarehouseError::FieldInvalid { field: "changes_after", problem });
    }
    Ok(inner.sessions.at(snapshot_id, changes_after, asked.memory_bytes_max))
}

/// A place among the running queries. It is given back while a slow reader is waited for: readers must not keep others from asking.
struct Turn<'a> {
    inner: &'a Inner,
    place: Option<SemaphorePermit<'a>>,
}

impl<'a> Turn<'a> {
    async fn take(inner: &'a Inner) -> Result<Turn<'a>, WarehouseError> {
        let place = inner.queries.acquire().await.map_err(|_| WarehouseError::Closing)?;
        Ok(Turn { inner, place: Some(place) })
    }

    /// Hands an answer to the reader; false when it is gone.
    async fn give<T>(&mut self, answers: &Sender<Result<T, Status>>, answer: T) -> Result<bool, WarehouseError> {
        match answers.try_send(Ok(answer)) {
            Ok(()) => Ok(true),
            Err(TrySendError::Closed(_)) => Ok(false),
            Err(TrySendError::Full(answer)) => {
                self.place = None;
                if answers.send(answer).await.is_err() {
                    return Ok(false);
                }
                self.place = Some(self.inner.queries.acquire().await.map_err(|_| WarehouseError::Closing)?);
                Ok(true)
            }
        }
    }
}

/// A plan that runs.
struct Rows {
    plan: Arc<dyn ExecutionPlan>,
    batches: SendableRecordBatchStream,
}

impl Rows {
    async fn begin(session: &GuardedSession<'_>, plan: &LogicalPlan, memory: MemoryUse, asked: &Asked) -> Result<Rows, WarehouseError> {
        let plan = session.lay_out(plan, memory).await.map_err(|error| errors::while_laying_out(error, asked.memory_bytes_max))?;
        let batches = session.run(plan.clone(), memory).map_err(|error| errors::while_running(error, asked.memory_bytes_max))?;
        Ok(Rows { plan, batches })
    }

    async fn next(&mut self, asked: &Asked) -> Result<Option<RecordBatch>, WarehouseError> {
        self.batches.next().await.transpose().map_err(|error| errors::while_running(error, asked.memory_bytes_max))
    }

    /// 0 when it is not known how many rows there are to read.
    fn permille_read(&self) -> i32 {
        let Some(all) = rows_to_read(self.plan.as_ref()).ok().flatten().filter(|all| *all > 0) else {
            return 0;
        };
        let read = rows_read(self.plan.as_ref()).min(all);
        i32::try_from(read.saturating_mul(1_000) / all).unwrap_or(1_000)
    }
}

/// The optimized plan, made of one that is kept where there is one.
async fn logical_plan(inner: &Inner, asked: &Asked, session: &GuardedSession<'_>) -> Result<LogicalPlan, WarehouseError> {
    let (sql, rights) = (&asked.request.sql, &asked.context.rights);
    let values = parameters::values(&asked.request.parameters)?;
    let datasets = inner.contracts.datasets();
    let key = PlanKey::new(sql, rights);
    if let Some(key) = &key
        && let Some(plan) = inner.kept_plans.get(key, &datasets, session.snapshot(), &values).await
    {
        return Ok(plan);
    }
    let (planner, plan) = parsed_plan(inner, asked, session).await?;
    parameters::check(&plan, &values)?;
    if let Some(key) = key
        && let Some(plan) = inner.kept_plans.keep(key, &planner, &plan, datasets, &values)
    {
        return Ok(plan);
    }
    let plan = plan.with_param_values(values).map_err(errors::while_planning)?;
    planner.optimize(&plan).map_err(errors::while_planning)
}

/// The plan as the SQL says it, and what can optimize it.
async fn parsed_plan(inner: &Inner, asked: &Asked, session: &GuardedSession<'_>) -> Result<(SessionState, LogicalPlan), WarehouseError> {
    let parsed = statement::parse(&asked.request.sql)?;
    let (datasets, rights) = (inner.contracts.datasets(), &asked.context.rights);
    let planner = session.planner(&Catalog { datasets: &datasets, rights, with_origin: parsed.names_origin })?;
    let plan = statement::plan(&planner, parsed.statement).await?;
    Ok((planner, plan))
}

fn micros(elapsed: Duration) -> i64 {
    i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)
}
