use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use proptest::prelude::{ProptestConfig, any};
use tonic::Code;

use crate::kernel::{Kernel, caller, city_caller, interactions, ipc, province, reason};

const COUNT: &str = "select count(*) from interaction";

#[tokio::test(flavor = "multi_thread")]
async fn an_append_is_visible_to_the_next_query_with_city_and_day_filled_in() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let appended = kernel.append(&foshan, "k1", &interactions("a", "/home", 3)).await.unwrap();
    assert_eq!((appended.rows, appended.repeated_batch), (3, false));
    let rows = kernel.table(&foshan, "select city, day, event_id, page, status, customer_id from interaction order by event_id").await;
    assert_eq!(rows, ["440600|2026-01-01|a-0|/home|200|null", "440600|2026-01-01|a-1|/home|200|null", "440600|2026-01-01|a-2|/home|200|null"]);
    assert_eq!(kernel.query(&foshan, COUNT).await.unwrap().snapshot_id, appended.snapshot_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_and_rows_again_change_nothing_and_answer_the_same() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let first = kernel.append(&foshan, "k1", &interactions("a", "/home", 3)).await.unwrap();
    let again = kernel.append(&foshan, "k1", &interactions("a", "/home", 3)).await.unwrap();
    assert_eq!((again.snapshot_id, again.rows, again.repeated_batch), (first.snapshot_id, 3, true));
    assert_eq!(kernel.number(&foshan, COUNT).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_other_rows_is_refused_and_one_of_another_caller_is_not() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    kernel.append(&foshan, "folder/k1", &interactions("a", "/home", 3)).await.unwrap();
    let refused = kernel.append(&foshan, "folder/k1", &interactions("b", "/home", 3)).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED"));
    assert!(refused.message().contains("'folder/k1'"), "{}", refused.message());
    kernel.append(&city_caller("441900"), "folder/k1", &interactions("c", "/home", 3)).await.unwrap();
    assert_eq!(kernel.number(&province(), COUNT).await, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_at_the_same_time_with_one_key_are_written_once() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let rows = interactions("a", "/home", 5);
    let answers = futures::future::join_all((0..24).map(|_| kernel.append(&foshan, "k1", &rows))).await;
    assert_eq!(answers.iter().filter(|answer| !answer.as_ref().unwrap().repeated_batch).count(), 1);
    assert_eq!(kernel.number(&foshan, COUNT).await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_of_many_callers_at_the_same_time_share_snapshots() {
    const APPENDS: usize = 200;
    let kernel = Kernel::start().await;
    let callers = [city_caller("440600"), city_caller("441900")];
    let rows: Vec<RecordBatch> = (0..APPENDS).map(|index| interactions(&format!("a{index}"), "/home", 2)).collect();
    let append = async |index: usize| kernel.append(&callers[index % 2], &format!("k{index}"), &rows[index]).await.unwrap();
    let answers = futures::future::join_all((0..APPENDS).map(append)).await;
    let mut snapshots: Vec<i64> = answers.iter().map(|answer| answer.snapshot_id).collect();
    snapshots.sort_unstable();
    snapshots.dedup();
    assert!(snapshots.len() < APPENDS, "{} commits", snapshots.len());
    assert_eq!(kernel.number(&province(), COUNT).await as usize, 2 * APPENDS);
    let again = append(7).await;
    assert_eq!((again.snapshot_id, again.repeated_batch), (answers[7].snapshot_id, true), "each key names its own batch");
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_beyond_the_room_that_there_is_are_refused_and_none_is_lost() {
    const APPENDS: usize = 300;
    let kernel = Kernel::start_with(|settings| settings.append_bytes = 32 << 10).await;
    let foshan = city_caller("440600");
    let append = async |index: usize| kernel.append(&foshan, &format!("k{index}"), &interactions(&format!("a{index}"), "/home", 2)).await;
    let answers = futures::future::join_all((0..APPENDS).map(append)).await;
    let refused: Vec<usize> = (0..APPENDS).filter(|index| answers[*index].is_err()).collect();
    for index in &refused {
        let status = answers[*index].as_ref().unwrap_err();
        assert_eq!((status.code(), reason(status).as_str()), (Code::ResourceExhausted, "CALLS_SATURATED"), "{status}");
    }
    assert!((1..APPENDS).contains(&refused.len()), "{} were refused", refused.len());
    assert_eq!(kernel.number(&foshan, COUNT).await as usize, 2 * (APPENDS - refused.len()), "those that were taken, and no others");
    for index in refused {
        assert!(!append(index).await.unwrap().repeated_batch);
    }
    assert_eq!(kernel.number(&foshan, COUNT).await as usize, 2 * APPENDS);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_break_the_contract_name_row_and_column() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let good = interactions("a", "/home", 3);
    let with = |name: &str, column: ArrayRef| {
        let mut fields: Vec<Field> = good.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
        let mut columns = good.columns().to_vec();
        match good.schema().index_of(name) {
            Ok(index) => (fields[index], columns[index]) = (Field::new(name, column.data_type().clone(), true), column),
            Err(_) => (fields.push(Field::new(name, column.data_type().clone(), true)), columns.push(column)).0,
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    };
    let without = |name: &str| {
        let keep: Vec<usize> = (0..good.num_columns()).filter(|index| good.schema().field(*index).name() != name).collect();
        good.project(&keep).unwrap()
    };
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let cases = [
        (with("colour", numbers.clone()), "column 'colour': the dataset 'interaction' has no such column"),
        (with("page", numbers), "column 'page': expected text (Utf8); the stream has Int64"),
        (with("page", Arc::new(StringArray::from(vec![Some("/a"), None, Some("/b")]))), "row 1, column 'page': null"),
        (with("city", Arc::new(StringArray::from(vec!["440600", "440600", "441900"]))), "row 2, column 'city': expected 440600"),
        (with("action", Arc::new(StringArray::from(vec!["view", "fly", "view"]))), "row 1, column 'action': expected one of view, "),
        (with("bytes", Arc::new(Int64Array::from(vec![0, 512, -1]))), "row 2, column 'bytes': expected a number of at least 0; found '-1'"),
        (without("page"), "column 'page': the column is missing"),
        (without("at"), "column 'at': the column is missing"),
    ];
    for (rows, expected) in cases {
        let status = kernel.append(&foshan, "k", &rows).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "ROWS_INVALID"), "{status:?}");
        assert!(status.message().contains(expected), "{} lacks {expected}", status.message());
    }
    assert_eq!(kernel.number(&foshan, COUNT).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn text_may_come_as_dictionary_view_or_large() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    for (key, data_type) in
        [("v", DataType::Utf8View), ("l", DataType::LargeUtf8), ("d", DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)))]
    {
        let good = interactions(key, "/home", 2);
        let index = good.schema().index_of("page").unwrap();
        let mut columns = good.columns().to_vec();
        columns[index] = arrow_cast::cast(&columns[index], &data_type).unwrap();
        let mut fields: Vec<Field> = good.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
        fields[index] = Field::new("page", data_type, false);
        kernel.append(&foshan, key, &RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()).await.unwrap();
    }
    assert_eq!(kernel.number(&foshan, "select count(*) from interaction where page = '/home'").await, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_is_refused_without_a_right_a_city_a_key_or_a_dataset() {
    let kernel = Kernel::start().await;
    let rows = interactions("a", "/home", 1);
    let reader = caller("reader", &[("ingest.append", &["440600"]), ("dataset.read:*", &["440600"])]);
    assert_eq!(reason(&kernel.append(&reader, "k", &rows).await.unwrap_err()), "PERMISSION_MISSING");
    let both = caller("both", &[("*", &["440600", "441900"])]);
    assert_eq!(reason(&kernel.append(&both, "k", &rows).await.unwrap_err()), "CITY_REQUIRED");
    let foshan = city_caller("440600");
    assert_eq!(reason(&kernel.append(&foshan, "", &rows).await.unwrap_err()), "FIELD_INVALID");
    assert_eq!(reason(&kernel.append(&foshan, "a\nb", &rows).await.unwrap_err()), "FIELD_INVALID");
    assert_eq!(reason(&kernel.append_bytes(&foshan, "nothing", "k", ipc(&rows)).await.unwrap_err()), "RESOURCE_NOT_FOUND");
    assert_eq!(reason(&kernel.append_bytes(&foshan, "city", "k", ipc(&rows)).await.unwrap_err()), "PERMISSION_MISSING");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_arrow_stream_are_refused_and_never_panic() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let good = ipc(&interactions("a", "/home", 3));
    for bytes in [Vec::new(), b"not arrow".to_vec(), vec![0xff; 64], good[..good.len() / 2].to_vec(), good[8..].to_vec()] {
        let status = kernel.append_bytes(&foshan, "interaction", "k", bytes).await.unwrap_err();
        assert_eq!(reason(&status), "ROWS_INVALID", "{status:?}");
    }
    let runtime = tokio::runtime::Handle::current();
    let (kernel, foshan, good) = (&kernel, &foshan, &good);
    tokio::task::block_in_place(|| {
        let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) };
        proptest::test_runner::TestRunner::new(config)
            .run(&proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..12), |changes| {
                let mut bytes = good.clone();
                for (place, byte) in changes {
                    let place = place.index(bytes.len());
                    bytes[place] = byte;
                }
                // Some changes only touch values; whatever is answered, an internal fault it is not.
                if let Err(status) = runtime.block_on(kernel.append_bytes(foshan, "interaction", "fuzz", bytes)) {
                    assert_ne!(status.code(), Code::Internal, "{status:?}");
                }
                Ok(())
            })
            .unwrap();
    });
}

/// The same three rows, written by pyarrow (`ipc.IpcWriteOptions(compression=…)`): a compressed body names the size that its reader would have to allocate.
#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_arrow_stream_is_refused() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    for compressed in [include_bytes!("compressed/lz4.arrows").as_slice(), include_bytes!("compressed/zstd.arrows")] {
        let status = kernel.append_bytes(&foshan, "interaction", "k", compressed.to_vec()).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "ROWS_INVALID"));
        assert!(status.message().contains("write it without compression"), "{}", status.message());
    }
    kernel.append_bytes(&foshan, "interaction", "k", include_bytes!("compressed/plain.arrows").to_vec()).await.unwrap();
    assert_eq!(kernel.number(&foshan, COUNT).await, 3);
}
