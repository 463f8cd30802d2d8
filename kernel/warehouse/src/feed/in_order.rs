use tokio::sync::watch;

/// Lets work that is done at the same time pass one point in its order. When one fails, those behind it learn it instead of waiting.
pub(super) struct InOrder {
    passed: watch::Sender<Passed>,
}

#[derive(Clone, Copy)]
struct Passed {
    next: usize,
    has_failed: bool,
}

/// One before it failed: the work is not wanted any more.
#[derive(Debug)]
pub(super) struct EarlierFailed;

impl InOrder {
    pub(super) fn new() -> InOrder {
        InOrder { passed: watch::Sender::new(Passed { next: 0, has_failed: false }) }
    }

    /// Waits until all before this one have passed.
    pub(super) async fn turn(&self, index: usize) -> Result<Turn<'_>, EarlierFailed> {
        let mut passed = self.passed.subscribe();
        let state = passed.wait_for(|passed| passed.has_failed || passed.next == index).await.map(|passed| *passed);
        match state {
            Ok(Passed { has_failed: false, .. }) => Ok(Turn { order: self, has_passed: false }),
            _ => Err(EarlierFailed),
        }
    }
}

/// The turn of one; dropped without having passed it stops those behind it.
pub(super) struct Turn<'a> {
    order: &'a InOrder,
    has_passed: bool,
}

impl Turn<'_> {
    pub(super) fn pass(mut self) {
        self.has_passed = true;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let has_passed = self.has_passed;
        self.order.passed.send_modify(|passed| {
            passed.next += 1;
            passed.has_failed |= !has_passed;
        });
    }
}
