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
    assert!(snapshots.len() < APPENDS, "appends of one stream are committed together: {} commits", snapshots.len());

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

/// The first message takes longest to read; whatever comes after it is newer all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_later_message_replaces_what_an_earlier_one_said_of_a_row() {
    let kernel = Kernel::start().await;
    let document = "name: meter\npurpose: p\nowner: o\nmode: latest\nvisibility: city\nkey: [id]\ncolumns:\n
  - {name: city, type: text, nullable: false, class: public, meaning: m}
  - {name: id, type: integer, nullable: false, class: internal, meaning: m}
  - {name: reading, type: integer, nullable: false, class: internal, meaning: m}
  - {name: revision, type: integer, nullable: false, class: internal, meaning: m}\n";
    kernel.put_dataset(document, 0).await.unwrap();
    let message = |key: &str, ids: std::ops::Range<i64>, reading: i64| {
        let rows_json = ids.map(|id| format!("{{\"id\": {id}, \"reading\": {reading}}}\n")).collect();
        AppendRequest { dataset: "meter".to_owned(), idempotency_key: key.to_owned(), rows_json, ..AppendRequest::default() }
    };
    let foshan = city_caller("440600");
    let mut requests = vec![message("k0", 0..15_000, 0)];
    requests.extend((1..6).map(|reading| message(&format!("k{reading}"), 0..1, reading)));
    let (answers, ended) = stream(&kernel, &foshan, requests).await;
    ended.unwrap();
    assert_eq!(answers.len(), 6);
    assert_eq!(kernel.table(&foshan, "select reading, revision from meter where id = 0").await, ["5|6"]);
    assert_eq!(kernel.number(&foshan, "select count(*) from meter").await, 15_000);
}

/// Neither a caller who takes no answers nor one who goes away keeps the room from others.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_takes_no_answers_holds_no_room() {
    let kernel = Kernel::start_with(|settings| settings.append_bytes = 16 << 10).await;
    let foshan = city_caller("440600");
    let requests = |name: &'static str| tokio_stream::iter((0..200).map(move |index| request(&format!("{name}-{index}"), 1)));
    let untaken = kernel.ingest(&foshan).append_stream(requests("untaken")).await.unwrap();
    drop(kernel.ingest(&foshan).append_stream(requests("left")).await.unwrap());
    let (answers, ended) = stream(&kernel, &foshan, (0..50).map(|index| request(&format!("taken-{index}"), 1)).collect()).await;
    ended.unwrap();
    assert_eq!(answers.len(), 50);
    drop(untaken);
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
