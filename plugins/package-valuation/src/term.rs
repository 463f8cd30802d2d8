/// The days on which an enrolment is in force, both ends included; days since 1970 in Shanghai.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    first_day: i32,
    last_day: i32,
}

impl Term {
    /// From the day it starts to the day it ends or is cancelled, whichever comes first; `None` when it was cancelled before it started, or ends before, and so never
    /// was in force.
    pub fn new(starts_on: i32, ends_on: i32, cancelled_on: Option<i32>) -> Option<Term> {
        let last_day = cancelled_on.map_or(ends_on, |cancelled_on| cancelled_on.min(ends_on));
        (starts_on <= last_day).then_some(Term { first_day: starts_on, last_day })
    }

    /// Whether it is in force on one of these days, both ends included.
    pub fn is_in_force(&self, first_day: i32, last_day: i32) -> bool {
        self.first_day <= last_day && first_day <= self.last_day
    }

    /// The first and the last day on which both are in force and a relation holds that is valid from `valid_from` and, unless it is open, until the day before
    /// `valid_to`: how long two enrolments of packages that exclude each other are held together.
    pub fn common_days(&self, other: &Term, valid_from: i32, valid_to: Option<i32>) -> Option<(i32, i32)> {
        let first = self.first_day.max(other.first_day).max(valid_from);
        let last = self.last_day.min(other.last_day);
        let last = valid_to.map_or(last, |valid_to| last.min(valid_to.saturating_sub(1)));
        (first <= last).then_some((first, last))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_term_holds_from_its_first_day_to_its_last() {
        let term = Term::new(10, 40, None).unwrap();
        assert!(term.is_in_force(40, 70) && term.is_in_force(0, 10) && term.is_in_force(20, 20));
        assert!(!term.is_in_force(41, 70) && !term.is_in_force(0, 9));
    }

    #[test]
    fn what_is_cancelled_holds_to_that_day_and_before_its_start_not_at_all() {
        let term = Term::new(10, 40, Some(20)).unwrap();
        assert!(term.is_in_force(20, 70) && !term.is_in_force(21, 70));
        assert_eq!(Term::new(10, 40, Some(50)), Term::new(10, 40, None), "cancelled when it was over");
        assert_eq!((Term::new(10, 40, Some(9)), Term::new(10, 9, None)), (None, None));
        assert!(Term::new(10, 40, Some(10)).is_some(), "on its first day");
    }

    #[test]
    fn two_are_held_together_on_a_day_on_which_the_relation_is_valid() {
        let (one, other) = (Term::new(10, 40, None).unwrap(), Term::new(30, 60, None).unwrap());
        assert_eq!((one.common_days(&other, 0, None), other.common_days(&one, 0, None)), (Some((30, 40)), Some((30, 40))));
        assert_eq!(one.common_days(&other, 35, None), Some((35, 40)));
        assert_eq!((one.common_days(&other, 41, None), one.common_days(&other, 0, Some(30))), (None, None));
        assert_eq!(one.common_days(&other, 0, Some(31)), Some((30, 30)), "the end of its validity is not part of it");
    }
}
