use std::collections::HashMap;

use backplane_sdk::{Context, Status};
use serde::Deserialize;

use crate::{
    agents::Agents,
    proto::portal_traffic::v1::{AudienceGroup, AudienceKind, GetAudienceRequest, GetAudienceResponse, RobotFamily},
    traffic::Traffic,
};

/// A visitor has one agent, and a session one visitor, so the distinct counts of different agents may be summed.
const AGENTS: &str = "
SELECT user_agent, count(*) AS requests, count(DISTINCT visitor_id) AS visitors, count(DISTINCT session_id) AS sessions, coalesce(sum(bytes), 0) AS bytes
FROM request
GROUP BY user_agent";

#[derive(Deserialize)]
struct Row {
    user_agent: Option<String>,
    requests: i64,
    visitors: i64,
    sessions: i64,
    bytes: i64,
}

pub(crate) fn get(context: &Context, request: &GetAudienceRequest) -> Result<GetAudienceResponse, Status> {
    let traffic = Traffic::read(context, request.from.as_ref(), request.to.as_ref(), request.pages_only)?;
    let agents = Agents::new(&traffic.configuration);
    let rows = traffic.query(AGENTS).rows::<Row>()?;
    let snapshot_id = rows.snapshot_id();

    let mut groups =
        [AudienceKind::People, AudienceKind::Robots, AudienceKind::Unknown].map(|kind| AudienceGroup { kind: kind.into(), ..AudienceGroup::default() });
    let mut families: HashMap<String, RobotFamily> = HashMap::new();
    for row in rows {
        let row = row?;
        let verdict = agents.judge(row.user_agent.as_deref());
        for group in groups.iter_mut().filter(|group| group.kind() == verdict.kind) {
            group.requests += row.requests;
            group.visitors += row.visitors;
            group.sessions += row.sessions;
            group.bytes += row.bytes;
        }
        if let Some(name) = verdict.family {
            let family = families.entry(name).or_default();
            family.requests += row.requests;
            family.visitors += row.visitors;
            family.sessions += row.sessions;
        }
    }
    let robot_families = most_frequent(families, traffic.configuration.robot_families_max);
    Ok(GetAudienceResponse { groups: groups.into(), robot_families, snapshot_id })
}

fn most_frequent(families: HashMap<String, RobotFamily>, families_max: usize) -> Vec<RobotFamily> {
    let mut families: Vec<RobotFamily> = families.into_iter().map(|(name, family)| RobotFamily { name, ..family }).collect();
    families.sort_by(|a, b| b.requests.cmp(&a.requests).then_with(|| a.name.cmp(&b.name)));
    families.truncate(families_max);
    families
}
