//! Many appends in one call.

use backplane_proto::ingest::v1::{AppendRequest, AppendResponse};
use futures::StreamExt;
use kernel_base::CallContext;
use tonic::{Code, Status};

use crate::kernel::{Kernel, caller, city_caller, interactions, ipc, province, reason};

const COUNT: &str = "select count(*) from interaction";

fn request(name: &str, rows: usize) -> AppendRequest {
    let ipc = ipc(&interactions(name, "/home", rows)).into();
    AppendRequest { dataset: "interaction".to_owned(), ipc, idempotency_key: name.to_owned(), ..AppendRequest::default() }
}

/// The answers as far as they come, and with what the call ends.
async fn stream(kernel: &Kernel, context: &CallContext, requests: Vec<AppendRequest>) -> (Vec<AppendResponse>, Result<(), Status>) {
    let mut answers = match kernel.ingest(context).append_stream(tokio_stream::iter(requests)).await {
        Ok(answers) => answers.into_inner(),
        Err(status) => return (Vec::new(), Err(status)),
    };
    let mut answered = Vec::new();
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(answer) => answered.push(answer),
            Err(status) => return (answered, Err(status)),
        }
    }
    (answered, Ok(()))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_is_an_append_and_answered_in_its_order() {
    const APPENDS: usize = 150;
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let requests: Vec<AppendRequest> = (0..APPENDS).map(|index| request(&format!("k{index}"), 1 + index % 3)).collect();
    let (answers, ended) = stream(&kernel, &foshan, requests.clone()).await;
    ended.unwrap();
    let rows: Vec<i64> = answers.iter().map(|answer| answer.rows).collect();
    assert_eq!(rows, (0..APPENDS as i64).map(|index| 1 + index % 3).collect::<Vec<_>>());
    assert_eq!(kernel.number(&foshan, COUNT).await, rows.iter().sum::<i64>());
    let mut snapshots: Vec<i64> = answers.iter().map(|answer| answer.snapshot_id).collect();
    snapshots.sort_unstable();
    snapshots.dedup();
    assert!(snapshots.len() < APPENDS / 2, "appends of one stream are committed together: {} commits", snapshots.len());

    let (again, ended) = stream(&kernel, &foshan, requests).await;
    ended.unwrap();
    assert!(again.iter().all(|answer| answer.repeated_batch) && again.len() == APPENDS);
    assert_eq!(kernel.number(&foshan, COUNT).await, rows.iter().sum::<i64>());
    let (nothing, ended) = stream(&kernel, &foshan, Vec::new()).await;
    assert!(nothing.is_empty() && ended.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_that_fails_ends_the_call_after_the_answers_before_it() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let mut requests: Vec<AppendRequest> = (0..20).map(|index| request(&format!("k{index}"), 2)).collect();
    requests[7].ipc = b"not arrow".to_vec().into();
    let (answers, ended) = stream(&kernel, &foshan, requests.clone()).await;
    let status = ended.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str(), answers.len()), (Code::InvalidArgument, "ROWS_INVALID", 7));
    requests[7] = request("k7", 2);
    let (answers, ended) = stream(&kernel, &foshan, requests).await;
    ended.unwrap();
    assert!(answers[..7].iter().all(|answer| answer.repeated_batch) && !answers[7].repeated_batch && answers.len() == 20);
    assert_eq!(kernel.number(&foshan, COUNT).await, 40, "each of them once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_waits_for_room_and_none_of_it_is_refused_or_lost() {
    const APPENDS: usize = 120;
    let kernel = Kernel::start_with(|settings| settings.append_bytes = 16 << 10).await;
    let callers = [city_caller("440600"), city_caller("441900")];
    let of = async |caller: usize| {
        let requests = (0..APPENDS).map(|index| request(&format!("c{caller}-k{index}"), 2)).collect();
        let (answers, ended) = stream(&kernel, &callers[caller], requests).await;
        ended.unwrap();
        answers.len()
    };
    assert_eq!(tokio::join!(of(0), of(1)), (APPENDS, APPENDS));
    assert_eq!(kernel.number(&province(), COUNT).await as usize, 4 * APPENDS);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_is_held_to_the_rights_of_its_caller() {
    let kernel = Kernel::start().await;
    let writer = caller("writer", &[("ingest.append", &["440600"]), ("dataset.write:interaction", &["440600"])]);
    let other = AppendRequest { dataset: "ticket".to_owned(), ..request("k1", 1) };
    let (answers, ended) = stream(&kernel, &writer, vec![request("k0", 1), other]).await;
    let status = ended.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str(), answers.len()), (Code::PermissionDenied, "PERMISSION_MISSING", 1));
    let nobody = caller("nobody", &[("ingest.append", &["440600"])]);
    let (answers, ended) = stream(&kernel, &nobody, vec![request("k2", 1)]).await;
    assert_eq!((reason(&ended.unwrap_err()).as_str(), answers.len()), ("PERMISSION_MISSING", 0));
    assert_eq!(kernel.number(&province(), COUNT).await, 1);
}
