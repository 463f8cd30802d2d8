use backplane_sdk::{Context, Status, job::RunRequest, warehouse::Row};

use crate::{datasets::MonthRow, month::VALUING};

impl MonthRow {
    /// What earlier runs said of the months, as of a snapshot.
    pub(crate) fn all(context: &Context, snapshot_id: i64) -> Result<Vec<MonthRow>, Status> {
        let sql = format!("SELECT {} FROM {} ORDER BY month", MonthRow::COLUMNS, MonthRow::DATASET);
        context.warehouse().query(sql).pin(snapshot_id).rows()?.into_vec()
    }

    /// The same, when a run begins to replace the month's figures. They are whole at this snapshot, or, if the run before was stopped, at the one where they last were.
    pub(crate) fn valuing(self, snapshot_id: i64) -> MonthRow {
        let figures_snapshot_id = if self.status == VALUING { self.figures_snapshot_id } else { Some(snapshot_id) };
        let reason = "its figures are being replaced, and answers are those of before: unless value-months is running, run it again".to_owned();
        MonthRow { status: VALUING.to_owned(), reason: Some(reason), figures_snapshot_id, ..self }
    }

    pub(crate) fn write(context: &Context, request: &RunRequest, rows: &[MonthRow]) -> Result<(), Status> {
        context.warehouse().append_rows(&request.key("month"), rows)
    }
}
