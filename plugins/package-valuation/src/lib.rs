//! What an enrolment of a marketing package (营销案) was worth in a month: its booked amount, split exactly into real, virtual, gifted and swapped.
//!
//! Start from [`value_customer`]: a customer's enrolments of one month with their bill lines, and what the customer used. The steps are the normative ones of the
//! data model ("The value of an enrolment in a month", B-03); each function names the step that it is.
//!
//! ```
//! use package_valuation::{Bill, Component, Components, Enrolment, Measure, Role, Rules, Used, value_customer};
//!
//! // Ring-back tones for 5 yuan and news for 3, sold together for 6; ten tones a month, of which two were played, and the news were never read.
//! let component = |id: &str, list_price_fen, entitlement| Component {
//!     component_id: id.to_owned(),
//!     product_id: id.to_owned(),
//!     role: Role::Paid,
//!     list_price_fen,
//!     entitlement,
//!     measure: Measure::Events,
//! };
//! let components = Components::new(vec![component("ringback", 500, 10), component("news", 300, 30)]);
//! let bill = Bill { charged_fen: 600, ..Bill::default() };
//! let enrolment = Enrolment { enrolment_id: "e1", at: 0, is_in_force: true, bill, components: &components };
//! let used = Used::from([(("ringback", Measure::Events), 2)]);
//! let rules = Rules { under_used_below: "0.3".parse()?, ordinary_voice_discount_permille: 0 };
//!
//! let value = value_customer(&[enrolment], &used, rules).remove(0);
//! // 375 fen are the tones', eight tenths of them for nothing; 225 are the news'.
//! assert_eq!((value.booked_fen, value.virtual_fen, value.real_fen), (600, 300 + 225, 75));
//! # Ok::<(), package_valuation::DecimalInvalid>(())
//! ```
//!
//! Invariants: amounts are whole fen, and nothing is a binary fraction; for every enrolment and month `real + virtual + gifted + swapped = booked`, with no part
//! below zero; knows no warehouse, no SDK and no calendar beyond days and months as numbers.

mod allocation;
mod customer;
mod decimal;
mod month_value;
mod sharing;
mod term;

pub use allocation::allocate;
pub use customer::{Enrolment, Used, value_customer};
pub use decimal::{Decimal, DecimalInvalid};
pub use month_value::{Bill, Component, ComponentValue, Components, Measure, MonthValue, Role, Rules, Use, value_month};
pub use sharing::share;
pub use term::Term;
