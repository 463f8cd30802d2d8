//! Jobs: run by the host alone, as the deployment's own account, step by step.

use backplane_proto::{
    plugin::v1::{EnablePluginRequest, RunJobRequest, RunJobResponse, plugins_client::PluginsClient},
    v1::Reason,
};
use tonic::{Code, Status, Streaming};

use crate::{
    guests::{ASKING, NO_END, THREE_STEPS, TRAPPING, jobs},
    world::{DONGGUAN, FOSHAN, GATE_PERMITS, PROVINCE, World, assert_fails, caller},
};

const DESCRIBE: &str = "/backplane.warehouse.v1.Warehouse/DescribeDataset";

async fn world() -> World {
    let reads = "calls = [\"/backplane.warehouse.v1.Warehouse/DescribeDataset\"]\n[[reads]]\ndataset = \"interaction\"\n";
    World::with_demo(&format!("{reads}{}", jobs())).await
}

async fn run(world: &World, city: &str, job: &str) -> Result<Streaming<RunJobResponse>, Status> {
    run_with(world, city, job, "").await
}

async fn run_with(world: &World, city: &str, job: &str, parameters: &str) -> Result<Streaming<RunJobResponse>, Status> {
    let request = RunJobRequest { plugin_id: "demo".to_owned(), city: city.to_owned(), job: job.to_owned(), parameters_json: parameters.to_owned() };
    Ok(world.plugins().run_job(request).await?.into_inner())
}

#[tokio::test]
async fn a_job_goes_on_from_step_to_step_to_its_end() {
    let world = world().await;
    let mut steps = run_with(&world, FOSHAN, THREE_STEPS, "{\"month\": \"2026-03\"}").await.unwrap();
    let mut run_ids = Vec::new();
    for (step, finished) in [(1, false), (2, false), (3, true)] {
        let done = steps.message().await.unwrap().unwrap();
        assert_eq!((done.step, done.finished), (step, finished));
        run_ids.push(done.run_id);
    }
    assert_eq!(steps.message().await.unwrap(), None);
    assert!(run_ids[0].len() == 32 && run_ids.iter().all(|id| *id == run_ids[0]), "{run_ids:?}");
}

#[tokio::test]
async fn a_job_is_the_deployments_own_and_has_what_was_granted_to_it() {
    let world = world().await;
    let mut steps = run(&world, FOSHAN, ASKING).await.unwrap();
    steps.message().await.unwrap().unwrap();
    // As much as was granted, though whoever ran the job holds everything.
    assert_eq!(world.rights_at(DESCRIBE), format!("dataset.read:interaction@{FOSHAN};warehouse.query@{FOSHAN}"));
    let asked = world.warehouse.asked.lock().unwrap().last().unwrap().clone();
    assert_eq!((asked.caller_id(), asked.actor.as_ref().unwrap().plugin.as_str()), ("plugin/demo/440600", "demo"));
}

#[tokio::test]
async fn a_job_that_comes_to_no_end_or_fails_is_ended_and_may_run_again() {
    let world = world().await;
    let mut steps = run(&world, FOSHAN, NO_END).await.unwrap();
    steps.message().await.unwrap().unwrap();
    let problem = steps.message().await.map(drop);
    assert_fails(problem, Code::Internal, Reason::PluginAnswerInvalid, "comes to no end");
    for _ in 0..2 {
        let problem = run(&world, FOSHAN, TRAPPING).await.unwrap().message().await.map(drop);
        assert_fails(problem, Code::Internal, Reason::PluginTrapped, "plugin demo 0.1.0 in 440600");
    }
}

#[tokio::test]
async fn a_job_runs_once_at_a_time_in_a_city() {
    let world = world().await;
    let running = run(&world, FOSHAN, THREE_STEPS).await.unwrap();
    assert_fails(run(&world, FOSHAN, THREE_STEPS).await.map(drop), Code::Aborted, Reason::JobRunning, "wait for its end");
    drop(run(&world, FOSHAN, ASKING).await.unwrap());
    // Whoever asked for it went away.
    drop(running);
    let again = async {
        loop {
            if let Ok(mut steps) = run(&world, FOSHAN, THREE_STEPS).await {
                break steps.message().await.unwrap().unwrap();
            }
            tokio::task::yield_now().await;
        }
    };
    let first = tokio::time::timeout(std::time::Duration::from_secs(20), again).await.unwrap();
    assert_eq!(first.step, 1);
}

#[tokio::test]
async fn what_cannot_be_run_is_named() {
    let world = world().await;
    assert_fails(run(&world, FOSHAN, "nightly").await.map(drop), Code::NotFound, Reason::ResourceNotFound, "it has count-up-to-three, never-comes-to-end");
    assert_fails(run(&world, DONGGUAN, ASKING).await.map(drop), Code::NotFound, Reason::ResourceNotFound, "not enabled in 441900");
    for parameters in ["[]", "{", "7"] {
        let refused = run_with(&world, FOSHAN, ASKING, parameters).await.map(drop);
        assert_fails(refused, Code::InvalidArgument, Reason::FieldInvalid, "expected a JSON object");
    }
    let large = format!("{{\"text\": \"{}\"}}", "x".repeat(64 << 10));
    assert_fails(run_with(&world, FOSHAN, ASKING, &large).await.map(drop), Code::InvalidArgument, Reason::FieldInvalid, "that they may have");
}

#[tokio::test]
async fn running_a_job_needs_the_right_in_that_city() {
    let world = world().await;
    let of_dongguan = caller("mei", &["plugin.run"], &[DONGGUAN]);
    let request = RunJobRequest { plugin_id: "demo".to_owned(), city: FOSHAN.to_owned(), job: ASKING.to_owned(), ..RunJobRequest::default() };
    let refused = PluginsClient::new(world.bus.acting(of_dongguan)).run_job(request).await.map(drop);
    assert_fails(refused, Code::PermissionDenied, Reason::PermissionMissing, "plugin.run");
}

#[tokio::test]
async fn the_provinces_deployment_runs_a_job_for_one_citys_rows() {
    let world = world().await;
    let version =
        world.install(crate::guests::package_of(&crate::guests::behaviours(), "whole", "0.1.0", &format!("calls = [\"{DESCRIBE}\"]\n{}", jobs()))).await;
    world.enable(&version.unwrap(), PROVINCE).await;
    let request = RunJobRequest { plugin_id: "whole".to_owned(), city: DONGGUAN.to_owned(), job: ASKING.to_owned(), ..RunJobRequest::default() };
    world.plugins().run_job(request).await.unwrap().into_inner().message().await.unwrap().unwrap();
    assert_eq!(world.rights_at(DESCRIBE), format!("warehouse.query@{DONGGUAN}"));
}

#[tokio::test]
async fn a_plugin_with_jobs_is_granted_no_more_than_its_grantor_holds() {
    let world = World::new().await;
    let rest = format!("calls = [\"{DESCRIBE}\"]\n[[reads]]\ndataset = \"interaction\"\n{}", jobs());
    let version = world.install(crate::guests::package_of(&crate::guests::behaviours(), "demo", "0.1.0", &rest)).await.unwrap();
    let enable = async |permissions: &[&str]| {
        let request = EnablePluginRequest {
            plugin_id: "demo".to_owned(),
            version: String::new(),
            city: FOSHAN.to_owned(),
            granted: version.capabilities.clone(),
            configuration_json: String::new(),
        };
        PluginsClient::new(world.bus.acting(caller("mei", permissions, &[FOSHAN]))).enable_plugin(request).await.map(drop)
    };
    for lacking in [&["plugin.enable", "warehouse.query"][..], &["plugin.enable", "warehouse.query", "dataset.read:interaction(at)"]] {
        assert_fails(enable(lacking).await, Code::PermissionDenied, Reason::PermissionMissing, "'mei' does not hold all of that");
    }
    enable(&["plugin.enable", "warehouse.query", "dataset.read:*"]).await.unwrap();
}

#[tokio::test]
async fn a_job_ends_with_its_deployment() {
    let world = world().await;
    let gate = std::sync::Arc::clone(&world.warehouse.gate);
    let held_up = gate.acquire_many(GATE_PERMITS).await.unwrap();
    let mut steps = run(&world, FOSHAN, ASKING).await.unwrap();
    let disabled = async {
        world.warehouse_is_asked(1).await;
        assert!(world.disable("demo", FOSHAN).await);
        drop(held_up);
    };
    let (step, ()) = tokio::join!(steps.message(), disabled);
    step.unwrap().expect("the step that ran is finished");
    assert_fails(steps.message().await.map(drop), Code::NotFound, Reason::ResourceNotFound, "not enabled in 440600");
}
