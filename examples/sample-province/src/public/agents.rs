use std::sync::LazyLock;

/// The user agents with the sum of weights up to and including each.
static AGENTS: LazyLock<Vec<(u64, &str)>> = LazyLock::new(|| {
    let weighted = include_str!("../../data/user-agents.txt").lines().filter_map(|line| line.split_once('\t'));
    let weighted = weighted.filter_map(|(weight, agent)| Some((weight.parse::<u64>().ok()?, agent)));
    weighted
        .scan(0, |sum, (weight, agent)| {
            *sum += weight;
            Some((*sum, agent))
        })
        .collect()
});

/// A real user agent, as often as it is met in the wild; the same draw gives the same agent.
pub fn user_agent(draw: u64) -> &'static str {
    let total = AGENTS.last().map_or(1, |(sum, _)| *sum);
    let position = draw % total;
    let index = AGENTS.partition_point(|(sum, _)| *sum <= position);
    AGENTS.get(index).map_or("-", |(_, agent)| agent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_met_by_their_weight() {
        assert_eq!(AGENTS.len(), 200);
        let (most_frequent_weight, most_frequent) = AGENTS[0];
        assert_eq!(user_agent(0), most_frequent);
        assert_eq!(user_agent(most_frequent_weight - 1), most_frequent);
        assert_ne!(user_agent(most_frequent_weight), most_frequent);
        assert!(AGENTS.iter().all(|(_, agent)| agent.is_ascii() && !agent.contains('"')));
    }
}
