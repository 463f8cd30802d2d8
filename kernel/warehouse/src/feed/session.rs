use std::{collections::HashMap, sync::Arc};

use arrow_array::{Array, ArrayRef, RecordBatch, StringArray, cast::AsArray, types::TimestampMicrosecondType};

use super::{FeedContract, Rule};
use crate::error::WarehouseError;

/// A visitor's requests belong together until this much time passes without one (DATA-MODEL, feeds).
const GAP_MICROS: i64 = 30 * 60 * 1_000_000;

// Limit: visitors remembered within a file, about 100 bytes each. Beyond it those go whose last request is older than the gap by an hour: a line of theirs that
// comes so late would begin a session anyway.
const VISITORS_MAX: usize = 500_000;
const LATENESS_MICROS: i64 = 3_600 * 1_000_000;

/// Numbers the sessions of one file, whose lines come in about the order of time.
#[derive(Default)]
pub(super) struct Sessions {
    last: HashMap<String, LastSeen>,
    newest_at: i64,
}

struct LastSeen {
    newest_at: i64,
    session_id: String,
}

/// Fills in the sessions of rows that have a visitor and an instant, where the feed has them. Without neighbours, as rows from quarantine, each is a session of
/// its own.
pub(super) fn with_sessions(feed: &FeedContract, rows: RecordBatch, lines: &[u64], mut sessions: Option<&mut Sessions>) -> Result<RecordBatch, WarehouseError> {
    let column_of = |rule: &Rule| feed.columns.iter().position(|column| column.rule == *rule);
    let (Some(session), Some(visitor), Some((at, _))) = (column_of(&Rule::Session), column_of(&Rule::Visitor), feed.dataset.column("at")) else {
        return Ok(rows);
    };
    let (visitors, instants) = (rows.column(visitor).as_string::<i32>(), rows.column(at).as_primitive::<TimestampMicrosecondType>());
    let session_of = |row: usize| match &mut sessions {
        Some(sessions) => sessions.session_of(visitors.value(row), instants.value(row)),
        None => format!("{}-r{}", visitors.value(row), lines[row]),
    };
    let filled: ArrayRef = Arc::new(StringArray::from_iter_values((0..visitors.len()).map(session_of)));
    let mut columns = rows.columns().to_vec();
    columns[session] = filled;
    RecordBatch::try_new(rows.schema(), columns).map_err(WarehouseError::broken)
}

impl Sessions {
    /// The session of a request: the visitor and the second at which the session began. The gap is judged against the newest time seen of the visitor, so
    /// that lines slightly out of order neither begin sessions nor bridge gaps.
    pub(super) fn session_of(&mut self, visitor_id: &str, at: i64) -> String {
        self.newest_at = self.newest_at.max(at);
        if let Some(seen) = self.last.get_mut(visitor_id)
            && at - seen.newest_at <= GAP_MICROS
        {
            seen.newest_at = seen.newest_at.max(at);
            return seen.session_id.clone();
        }
        self.make_room();
        let session_id = format!("{visitor_id}-{}", at.div_euclid(1_000_000));
        self.last.insert(visitor_id.to_owned(), LastSeen { newest_at: at, session_id: session_id.clone() });
        session_id
    }

    fn make_room(&mut self) {
        if self.last.len() >= VISITORS_MAX {
            let oldest_kept = self.newest_at - GAP_MICROS - LATENESS_MICROS;
            self.last.retain(|_, seen| seen.newest_at >= oldest_kept);
        }
        // All of them within two hours: begin anew rather than grow.
        if self.last.len() >= VISITORS_MAX {
            self.last.clear();
        }
    }
}
