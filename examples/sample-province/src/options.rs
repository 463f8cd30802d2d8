use crate::Month;

/// What one run makes. The same options give the same bytes.
#[derive(Debug, Clone)]
pub struct Options {
    /// Service numbers that ever live in the window, all cities together.
    pub customers: u32,
    pub seed: u64,
    pub first_month: Month,
    pub months: u32,
    /// Also draw the planted facts as plots.
    pub report: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { customers: 20_000, seed: 1, first_month: Month::new(2025, 11), months: 12, report: false }
    }
}

impl Options {
    /// Every month of the window, in order.
    pub fn window(&self) -> impl Iterator<Item = Month> + use<> {
        let first = self.first_month;
        (0..self.months).map(move |ahead| first.plus(ahead.cast_signed()))
    }

    pub fn last_month(&self) -> Month {
        self.first_month.plus(self.months.cast_signed() - 1)
    }
}
