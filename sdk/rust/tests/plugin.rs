//! A plugin is called and calls out through the same encoding natively as in a component.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::cell::Cell;

use backplane_sdk::{
    CallOptions, Code, Context, Dispatch, Page, Status, answer_unary, method_unknown,
    prost::bytes::Bytes,
    proto::{
        v1::Reason,
        warehouse::v1::{Dataset, DescribeDatasetRequest, ListDatasetsRequest, ListDatasetsResponse, WarehouseClient},
    },
    testing::FakeKernel,
};
use serde::Deserialize;

#[derive(Default)]
struct Plugin;

/// As backplane-build would generate it for a service of two methods.
struct DemoServer;

impl Dispatch<Plugin> for DemoServer {
    const SERVICE: &'static str = "demo.v1.Demo";

    fn dispatch(_: &Plugin, method: &str, context: &Context, request: Bytes) -> Result<Vec<u8>, Status> {
        match method {
            "Echo" => answer_unary(context, request, |context, request: DescribeDatasetRequest| {
                Ok(Dataset {
                    name: request.dataset,
                    owner: context.city().to_owned(),
                    purpose: context.caller().map(|caller| caller.kind.clone()).unwrap_or_default(),
                    ..Dataset::default()
                })
            }),
            "Fail" => {
                answer_unary(context, request, |_, _: DescribeDatasetRequest| Err::<Dataset, _>(Status::aborted("DEMO_FAILED", "try again").at("line", "1")))
            }
            _ => Err(method_unknown("demo.v1.Demo", method)),
        }
    }
}

backplane_sdk::export!(Plugin: DemoServer);

fn call(method: &str, dataset: &str) -> Result<Dataset, Status> {
    let context = FakeKernel::new().plugin::<Plugin>().context("440600");
    context.call(method, &CallOptions::default(), &DescribeDatasetRequest { dataset: dataset.to_owned() })
}

#[test]
fn a_method_is_answered_in_the_city_of_the_call() {
    let answer = call("/demo.v1.Demo/Echo", "interaction").unwrap();
    assert_eq!((answer.name.as_str(), answer.owner.as_str(), answer.purpose.as_str()), ("interaction", "440600", "person"));
}

#[test]
fn a_failure_comes_back_with_its_reason() {
    let status = call("/demo.v1.Demo/Fail", "").unwrap_err();
    assert_eq!((status.code(), status.reason(), status.places()["line"].as_str()), (Code::Aborted, "DEMO_FAILED", "1"));
}

#[test]
fn an_unknown_method_is_unimplemented() {
    let status = call("/demo.v1.Demo/Other", "").unwrap_err();
    assert_eq!((status.code(), status.reason()), (Code::Unimplemented, "METHOD_UNKNOWN"));
    for method in ["", "/", "demo.v1.Demo", "//", "/other.v1.Other/Echo"] {
        let answer = backplane_sdk::handle::<Plugin>(std::rc::Rc::new(Nobody), method, Vec::new(), Vec::new());
        assert_eq!(answer.unwrap_err().code, 12, "{method:?}");
    }
}

#[test]
fn malformed_bytes_are_an_invalid_argument() {
    let answer = backplane_sdk::handle::<Plugin>(std::rc::Rc::new(Nobody), "/demo.v1.Demo/Echo", Vec::new(), vec![0x0a, 0xff]);
    let status = Status::from(answer.unwrap_err());
    assert_eq!((status.code(), status.reason()), (Code::InvalidArgument, "MESSAGE_MALFORMED"));
}

#[test]
#[should_panic(expected = "the kernel and the plugin's SDK disagree about the connector")]
fn a_context_that_cannot_be_read_stops_the_method_that_asks_for_it() {
    let _ = backplane_sdk::handle::<Plugin>(std::rc::Rc::new(Nobody), "/demo.v1.Demo/Echo", vec![0xff], Vec::new());
}

#[test]
fn a_service_of_the_kernel_is_called_through_its_client() {
    let calls = std::rc::Rc::new(Cell::new(0));
    let seen = std::rc::Rc::clone(&calls);
    let kernel = FakeKernel::new().on_unary("/backplane.warehouse.v1.Warehouse/ListDatasets", move |request: ListDatasetsRequest| {
        seen.set(seen.get() + 1);
        if request.page_size > 1 {
            return Err(Status::permission_denied(Reason::PermissionMissing, "no").at("permission", "warehouse.query"));
        }
        Ok(ListDatasetsResponse { next_page_token: "t".to_owned(), ..ListDatasetsResponse::default() })
    });
    let context = kernel.context("440600");
    let client = WarehouseClient::new(&context);
    let list = |page_size| client.list_datasets(&CallOptions::default(), &ListDatasetsRequest { page_size, page_token: String::new() });
    assert_eq!(list(1).unwrap().next_page_token, "t");
    assert_eq!(list(2).unwrap_err().places()["permission"], "warehouse.query");
    assert_eq!(calls.get(), 2);
    let unanswered = client.describe_dataset(&CallOptions::default(), &DescribeDatasetRequest::default()).unwrap_err();
    assert!(unanswered.message().contains("on_unary"), "{unanswered}");
}

#[derive(Debug, PartialEq, Deserialize)]
struct Settings {
    top: u32,
}

#[test]
fn configuration_is_typed_and_a_misfit_says_where() {
    let context = |json: &str| FakeKernel::new().configuration(json).context("440600");
    assert_eq!(context("{\"top\": 3}").configuration::<Settings>().unwrap(), Settings { top: 3 });
    let status = context("{\n \"top\": \"three\"}").configuration::<Settings>().unwrap_err();
    assert_eq!((status.reason(), status.places()["line"].as_str()), ("CONFIGURATION_INVALID", "2"));
    assert_eq!(context("").configuration::<Settings>().unwrap_err().code(), Code::FailedPrecondition);
}

fn page(context: &Context, size: i32, token: &str, dataset: &str) -> Result<Page, Status> {
    Page::read(context, size, token, &DescribeDatasetRequest { dataset: dataset.to_owned() })
}

#[test]
fn pages_hold_their_snapshot_and_end_with_an_empty_token() {
    let context = FakeKernel::new().context("440600");
    let first = page(&context, 2, "", "a").unwrap();
    assert_eq!((first.limit(), first.offset(), first.snapshot_id()), (3, 0, 0));
    let mut rows = vec![1, 2, 3];
    let token = first.cut(&mut rows, 41);
    assert_eq!(rows, [1, 2]);
    let second = page(&context, 5, &token, "a").unwrap();
    assert_eq!((second.limit(), second.offset(), second.snapshot_id()), (6, 2, 41));
    assert_eq!(second.cut(&mut vec![3], 41), "");
    let (rows, token) = first.slice(vec![1, 2, 3, 4, 5], 41);
    assert_eq!(rows, [1, 2]);
    let (rows, end) = page(&context, 3, &token, "a").unwrap().slice(vec![1, 2, 3, 4, 5], 41);
    assert_eq!((rows, end.as_str()), (vec![3, 4, 5], ""));
    assert_eq!(page(&context, 5_000, "", "a").unwrap().limit(), 1_001);
}

#[test]
fn a_token_of_another_request_city_or_nobody_is_refused() {
    let context = FakeKernel::new().context("440600");
    let token = page(&context, 1, "", "a").unwrap().cut(&mut vec![1, 2], 41);
    assert_eq!(page(&context, 1, &token, "b").unwrap_err().reason(), "PAGE_TOKEN_INVALID");
    assert_eq!(page(&FakeKernel::new().context("441900"), 1, &token, "a").unwrap_err().reason(), "PAGE_TOKEN_INVALID");
    for made_up in ["x", "p1.", "p1.1.1.zz", "p1.-1.1.0000000000000000", "p1.1.99999999999999999999.0", &format!("{token}.1"), "页"] {
        assert_eq!(page(&context, 1, made_up, "a").unwrap_err().reason(), "PAGE_TOKEN_INVALID", "{made_up}");
    }
    assert_eq!(page(&context, -1, "", "a").unwrap_err().reason(), "FIELD_INVALID");
}

/// Answers nothing.
struct Nobody;

impl backplane_sdk::Kernel for Nobody {
    fn call(&self, method: &str, _: &[u8], _: &[u8]) -> Result<Vec<u8>, Status> {
        Err(Status::unavailable(Reason::PluginNotEnabled, method))
    }
    fn open(&self, method: &str, _: &[u8], _: &[u8]) -> Result<Box<dyn backplane_sdk::Messages>, Status> {
        Err(Status::unavailable(Reason::PluginNotEnabled, method))
    }
}
