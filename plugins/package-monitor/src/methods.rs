//! The methods of the service, a file each. Pages of a list are read from one snapshot.

pub(crate) mod check_enrolment;
pub(crate) mod list_components;
pub(crate) mod list_conflicts;
pub(crate) mod list_customers;
pub(crate) mod list_enrolments;
pub(crate) mod list_months;
pub(crate) mod list_package_groups;
pub(crate) mod list_packages;
pub(crate) mod list_rule_problems;
pub(crate) mod list_source_anomalies;
pub(crate) mod list_source_enrolments;
pub(crate) mod list_takes_and_cancels;
pub(crate) mod list_unmatched_lines;
mod package_names;
