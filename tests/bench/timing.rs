use std::time::{Duration, Instant};

/// Rounds of each side, in turn. Many short ones: what else runs on the machine then hits both sides alike, and the median passes over it.
const ROUNDS: usize = 101;

/// The median of the rounds of two sides that take turns. A round runs its side as often as it says and gives the time of one.
pub(crate) async fn side_by_side(mut ours: impl AsyncFnMut() -> Duration, mut peer: impl AsyncFnMut() -> Duration) -> (Duration, Duration) {
    let (mut our_rounds, mut peer_rounds) = (Vec::new(), Vec::new());
    ours().await;
    peer().await;
    for _ in 0..ROUNDS {
        our_rounds.push(ours().await);
        peer_rounds.push(peer().await);
    }
    (median(our_rounds), median(peer_rounds))
}

pub(crate) fn median(mut rounds: Vec<Duration>) -> Duration {
    rounds.sort();
    rounds[rounds.len() / 2]
}

/// The times that every second run and all but one in a hundred stay below.
pub(crate) fn percentiles(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

/// The time of one of `times` runs.
pub(crate) async fn each(times: u32, mut run: impl AsyncFnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..times {
        run().await;
    }
    start.elapsed() / times
}

pub(crate) fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1_000.0
}
