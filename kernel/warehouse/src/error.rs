use kernel_base::{CityRequired, CityUnknown, Code, Fault, PageTokenInvalid, PermissionMissing, Reason};

/// How the warehouse fails.
#[derive(Debug, thiserror::Error)]
pub enum WarehouseError {
    #[error("{field}: {problem}")]
    FieldInvalid { field: &'static str, problem: String },
    #[error(transparent)]
    PageTokenInvalid(#[from] PageTokenInvalid),
    #[error(transparent)]
    CityRequired(#[from] CityRequired),
    #[error(transparent)]
    CityUnknown(#[from] CityUnknown),
    #[error(transparent)]
    PermissionMissing(#[from] PermissionMissing),
    #[error("there is no dataset '{dataset}' that this caller may read: ListDatasets names those that there are")]
    DatasetUnknown { dataset: String },
    #[error("there is no dataset '{dataset}' to append to: see ListDatasets, or install the plugin that declares it")]
    DatasetNotWritable { dataset: String },

    #[error("{file}, line {line}, column {column}: {problem}")]
    ContractInvalid { file: String, line: u64, column: u64, problem: String },
    #[error("the new contract of '{dataset}' breaks what relies on it: {problem}")]
    ContractBreaks { dataset: String, problem: String },
    #[error("the newest revision of '{name}' is {newest}: read it, apply the change to it, and send that as what follows {newest}")]
    RevisionConflict { name: String, newest: i64 },
    #[error("{}{problem}", place_of_rows(*row, column.as_deref()))]
    RowsInvalid { row: Option<usize>, column: Option<String>, problem: String },
    #[error("the idempotency key '{key}' was used before with other rows: send the same rows to repeat that append, or a new key to make another")]
    IdempotencyKeyReused { key: String },

    #[error(
        "the appends that are on their way leave no room for this one, of the {bytes_max} bytes that all may have: send it again in a moment, with the same key"
    )]
    AppendsSaturated { bytes_max: usize },

    #[error(
        "the SQL is wrong: {problem}: 'backplane tables' shows the datasets and columns that this caller may read, a plugin those that its [[reads]] name; functions are those of DataFusion"
    )]
    SqlInvalid { problem: String, line: Option<u64>, column: Option<u64> },
    #[error("{problem}")]
    SqlRefused { problem: String },
    #[error(
        "'{what}' of Arrow Flight is not served: arrow/flight/protocol/flight.proto says what is; a token goes with each call, as the header 'authorization: Bearer bp_…'"
    )]
    NotServed { what: String },
    #[error("the query failed while it ran: {problem}")]
    QueryFailed { problem: &'static str },
    #[error(
        "the query needed more than its {memory_bytes_max} bytes of memory, and not all that it holds can wait on disk: narrow it by city, day or columns, group by fewer values, or raise memory_bytes_max"
    )]
    QueryMemoryExceeded { memory_bytes_max: u64 },
    #[error("the query gives more than {rows_max} rows: aggregate, filter, or page with LIMIT, or raise rows_max if it was lowered by the request")]
    QueryRowsExceeded { rows_max: u64 },
    #[error("there is no snapshot {snapshot_id}: send 0 for the newest ({newest}), or an id that an earlier answer gave")]
    SnapshotUnknown { snapshot_id: i64, newest: i64 },
    #[error("there is no snapshot {snapshot_id} to show changes after, the newest is {newest}: send the id that an earlier answer gave, or begin again at 0")]
    ChangesUnknown { snapshot_id: i64, newest: i64 },
    #[error("the deadline of the call passed before the {work} was done: narrow it, or give the call more time (grpc-timeout)")]
    DeadlinePassed { work: &'static str },

    #[error("there is no feed '{feed}': the feeds are {known}")]
    FeedUnknown { feed: String, known: String },
    #[error("the file '{file_name}' is refused: {problem}")]
    FileRefused { file_name: String, problem: String },
    #[error(
        "the file '{file_name}' is too bad: {bad} of {read} rows could not be read ({reasons}), and the contract of '{feed}' allows {permille_max} in 1,000. \
         Nothing of it was taken: correct the file or the contract and import again"
    )]
    FileTooBad { feed: String, file_name: String, bad: u64, read: u64, permille_max: u64, reasons: String },
    #[error("there is no such file of '{feed}' whose rows count: it was never taken, another one restated it, or it was taken back before")]
    FileUnknown { feed: String },
    #[error("there is no row '{quarantine_id}' in the quarantine of '{feed}' that this caller may see: ListQuarantine gives the ids")]
    QuarantineUnknown { feed: String, quarantine_id: String },

    #[error(
        "a commit ended so that nobody knows whether it landed, and no further one is taken: start the kernel anew, which reads what is there, and repeat the call"
    )]
    InDoubt,
    #[error("the warehouse is closing: send the call again when the kernel is back")]
    Closing,
    #[error(
        "the data file {file} {problem}: put the one of a backup in its place, which has it under the same path, or restore a whole backup ('backplane restore')"
    )]
    DataFileDamaged { file: String, problem: String },
    #[error("the disk of the kernel's folder is full ({doing}): make room there, and send it again, a write with the same key")]
    StorageFull { doing: &'static str },
    #[error("the storage of the warehouse failed: {doing}")]
    Storage { doing: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("the warehouse broke a rule of its own: {problem}")]
    Broken { problem: String },
}

impl WarehouseError {
    pub(crate) fn storage(doing: &'static str) -> impl Fn(std::io::Error) -> WarehouseError {
        move |source| WarehouseError::Storage { doing, source: Box::new(source) }
    }

    /// Whether it is the file that is wrong, so that importing it again changes nothing.
    pub(crate) fn refuses_file(&self) -> bool {
        matches!(self, WarehouseError::FileTooBad { .. } | WarehouseError::FileRefused { .. })
    }

    pub(crate) fn broken(problem: impl ToString) -> WarehouseError {
        WarehouseError::Broken { problem: problem.to_string() }
    }

    pub(crate) fn row(row: usize, column: &str, problem: impl Into<String>) -> WarehouseError {
        WarehouseError::RowsInvalid { row: Some(row), column: Some(column.to_owned()), problem: problem.into() }
    }

    pub(crate) fn rows(problem: impl Into<String>) -> WarehouseError {
        WarehouseError::RowsInvalid { row: None, column: None, problem: problem.into() }
    }
}

/// "row 3, column 'at': ", as much of it as is known. Rows count from 0, as Arrow does.
fn place_of_rows(row: Option<usize>, column: Option<&str>) -> String {
    match (row, column) {
        (Some(row), Some(column)) => format!("row {row}, column '{column}': "),
        (Some(row), None) => format!("row {row}: "),
        (None, Some(column)) => format!("column '{column}': "),
        (None, None) => String::new(),
    }
}

impl Fault for WarehouseError {
    fn code(&self) -> Code {
        use WarehouseError as E;
        match self {
            E::PageTokenInvalid(fault) => fault.code(),
            E::CityRequired(fault) => fault.code(),
            E::CityUnknown(fault) => fault.code(),
            E::PermissionMissing(fault) => fault.code(),
            E::FieldInvalid { .. } | E::ContractInvalid { .. } | E::RowsInvalid { .. } | E::FileRefused { .. } => Code::InvalidArgument,
            E::SqlInvalid { .. } | E::SqlRefused { .. } | E::QueryFailed { .. } => Code::InvalidArgument,
            E::DatasetUnknown { .. } | E::DatasetNotWritable { .. } | E::SnapshotUnknown { .. } | E::ChangesUnknown { .. } => Code::NotFound,
            E::FeedUnknown { .. } | E::FileUnknown { .. } | E::QuarantineUnknown { .. } => Code::NotFound,
            E::IdempotencyKeyReused { .. } => Code::AlreadyExists,
            E::QueryMemoryExceeded { .. } | E::QueryRowsExceeded { .. } | E::AppendsSaturated { .. } | E::StorageFull { .. } => Code::ResourceExhausted,
            E::DeadlinePassed { .. } => Code::DeadlineExceeded,
            E::NotServed { .. } => Code::Unimplemented,
            E::FileTooBad { .. } | E::ContractBreaks { .. } => Code::FailedPrecondition,
            E::RevisionConflict { .. } => Code::Aborted,
            E::Closing | E::InDoubt => Code::Unavailable,
            E::DataFileDamaged { .. } => Code::DataLoss,
            E::Storage { .. } | E::Broken { .. } => Code::Internal,
        }
    }

    fn reason(&self) -> Reason {
        use WarehouseError as E;
        match self {
            E::PageTokenInvalid(fault) => fault.reason(),
            E::CityRequired(fault) => fault.reason(),
            E::CityUnknown(fault) => fault.reason(),
            E::PermissionMissing(fault) => fault.reason(),
            E::FieldInvalid { .. } => Reason::FieldInvalid,
            E::DatasetUnknown { .. } | E::DatasetNotWritable { .. } | E::QuarantineUnknown { .. } | E::FileUnknown { .. } => Reason::ResourceNotFound,
            E::ContractInvalid { .. } => Reason::ContractInvalid,
            E::ContractBreaks { .. } => Reason::ContractBreaks,
            E::RevisionConflict { .. } => Reason::RevisionConflict,
            E::RowsInvalid { .. } => Reason::RowsInvalid,
            E::IdempotencyKeyReused { .. } => Reason::IdempotencyKeyReused,
            E::AppendsSaturated { .. } => Reason::CallsSaturated,
            E::SqlInvalid { .. } => Reason::SqlInvalid,
            E::SqlRefused { .. } => Reason::SqlRefused,
            E::NotServed { .. } => Reason::MethodUnknown,
            E::QueryFailed { .. } => Reason::QueryFailed,
            E::QueryMemoryExceeded { .. } => Reason::QueryMemoryExceeded,
            E::QueryRowsExceeded { .. } => Reason::QueryRowsExceeded,
            E::SnapshotUnknown { .. } | E::ChangesUnknown { .. } => Reason::SnapshotUnknown,
            E::DeadlinePassed { .. } => Reason::DeadlinePassed,
            E::FeedUnknown { .. } => Reason::FeedUnknown,
            E::FileRefused { .. } => Reason::FileRefused,
            E::FileTooBad { .. } => Reason::FileTooBad,
            E::Closing => Reason::ShuttingDown,
            E::StorageFull { .. } => Reason::StorageFull,
            E::Storage { .. } | E::InDoubt | E::DataFileDamaged { .. } => Reason::StorageFailed,
            E::Broken { .. } => Reason::InternalFault,
        }
    }

    fn place(&self) -> Vec<(&'static str, String)> {
        use WarehouseError as E;
        let mut place = Vec::new();
        match self {
            E::PermissionMissing(fault) => return fault.place(),
            E::CityUnknown(fault) => return fault.place(),
            E::FieldInvalid { field, .. } => place.push(("field", (*field).to_owned())),
            E::ContractInvalid { line, column, .. } => place.extend([("line", line.to_string()), ("column", column.to_string())]),
            E::SqlInvalid { line, column, .. } => {
                place.extend(line.map(|line| ("line", line.to_string())));
                place.extend(column.map(|column| ("column", column.to_string())));
            }
            E::RowsInvalid { row, column, .. } => {
                place.extend(row.map(|row| ("row", row.to_string())));
                place.extend(column.clone().map(|column| ("column", column)));
            }
            _ => {}
        }
        place
    }
}

/// Whether a disk without room is at the bottom of an error. Libraries below pass on the system's text, or SQLite's, and not always the error itself.
pub(crate) fn is_full(source: &(dyn std::error::Error + 'static)) -> bool {
    let text = source.to_string();
    text.contains("No space left on device") || text.contains("database or disk is full") || source.source().is_some_and(is_full)
}

impl From<WarehouseError> for tonic::Status {
    fn from(error: WarehouseError) -> Self {
        match error {
            WarehouseError::Storage { doing, source } if is_full(source.as_ref()) => {
                tracing::error!(doing, error = %source, "the disk of the kernel's folder is full");
                kernel_base::status(&WarehouseError::StorageFull { doing })
            }
            error => kernel_base::status(&error),
        }
    }
}
