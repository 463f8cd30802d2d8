use datafusion::error::DataFusionError;

use crate::error::{WarehouseError, is_full};

// Limit: how much of the planner's message is passed on; it repeats the caller's own expressions.
const MESSAGE_CHARACTERS_MAX: usize = 600;

/// A parser's error. It speaks of the caller's own text only.
pub(super) fn while_parsing(error: DataFusionError) -> WarehouseError {
    let problem = text(&error);
    let (line, column) = (number_after(&problem, "Line: "), number_after(&problem, "Column: "));
    WarehouseError::SqlInvalid { problem, line, column }
}

/// A planner's error. Planning reads no rows, so it can name only what the caller wrote and what its own catalog holds.
pub(super) fn while_planning(error: DataFusionError) -> WarehouseError {
    match error.find_root() {
        DataFusionError::Plan(_)
        | DataFusionError::SchemaError(_, _)
        | DataFusionError::SQL(_, _)
        | DataFusionError::NotImplemented(_)
        | DataFusionError::Configuration(_)
        | DataFusionError::Execution(_)
        | DataFusionError::ArrowError(_, _) => {
            let span = error.diagnostic().and_then(|diagnostic| diagnostic.span).map(|span| span.start);
            WarehouseError::SqlInvalid { problem: text(&error), line: span.map(|start| start.line), column: span.map(|start| start.column) }
        }
        // What the lake could not read, or a mistake of ours: the log has it.
        _ => WarehouseError::Storage { doing: "planning a query", source: Box::new(error) },
    }
}

/// An error of the plan that the engine lays out over the files. It may name files and conditions of the guard, so none of it is passed on.
pub(super) fn while_laying_out(error: DataFusionError, memory_bytes_max: u64) -> WarehouseError {
    match error.find_root() {
        DataFusionError::NotImplemented(_) | DataFusionError::Plan(_) => {
            tracing::warn!(%error, "a query could not be laid out");
            WarehouseError::QueryFailed {
                problem: "the engine has no way to run it as it is written: split it, or write it with joins instead of correlated subqueries",
            }
        }
        _ => while_running(error, memory_bytes_max),
    }
}

/// An error of a running query. Its text may quote values of rows, so none of it is passed on.
pub(super) fn while_running(error: DataFusionError, memory_bytes_max: u64) -> WarehouseError {
    if is_out_of_memory(&error) {
        // Names operators and bytes, no values.
        tracing::info!(%error, "a query needs more memory than it may have");
        return WarehouseError::QueryMemoryExceeded { memory_bytes_max };
    }
    if is_full(&error) {
        return WarehouseError::Storage { doing: "putting on disk what a query holds", source: Box::new(error) };
    }
    let values = "a value could not be computed or converted, such as text that is no number, or a division by zero: use try_cast, nullif or a filter";
    match error.find_root() {
        DataFusionError::ArrowError(_, _) | DataFusionError::Execution(_) | DataFusionError::Plan(_) | DataFusionError::NotImplemented(_) => {
            WarehouseError::QueryFailed { problem: values }
        }
        _ => WarehouseError::Storage { doing: "running a query", source: Box::new(error) },
    }
}

fn is_out_of_memory(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ResourcesExhausted(_))
}

/// The message without the backtrace and the names of error types.
pub(super) fn text(error: &DataFusionError) -> String {
    let message = match error.find_root() {
        DataFusionError::SQL(parser, _) => parser.to_string(),
        _ => error.strip_backtrace(),
    };
    let plain = ["sql parser error: ", "Error during planning: ", "Schema error: ", "SQL error: ", "This feature is not implemented: "]
        .iter()
        .fold(message, |message, prefix| message.strip_prefix(prefix).map(str::to_owned).unwrap_or(message));
    // Ours goes on after it.
    let plain = plain.trim_end_matches(['.', '\n']).replace('\n', " ");
    plain.chars().take(MESSAGE_CHARACTERS_MAX).collect()
}

fn number_after(message: &str, word: &str) -> Option<u64> {
    let rest = &message[message.find(word)? + word.len()..];
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}
