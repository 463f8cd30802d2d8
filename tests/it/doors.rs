//! The doors: every protocol, every way to be refused, and how the kernel stops.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use backplane_proto::{
    auth::v1::WhoAmIRequest,
    ingest::v1::{FileHeader, ImportFileRequest, import_file_request::Part, import_file_response::Part as Answer},
    warehouse::v1::QueryRequest,
};
use backplane_tests::{FOSHAN, Kernel, binary, reason};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use tokio::net::TcpStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, body::Body, client::GrpcService};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::plugins::{METHOD, PERIOD, with_plugin};

/// Runs curl and gives the HTTP status and the body.
fn curl(arguments: &[&str]) -> (u16, String) {
    let output = Command::new("curl").args(["-sS", "-w", "\n%{http_code}"]).args(arguments).output().expect("curl is installed");
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

/// A POST of JSON to a method, with the kernel's administrator token.
pub(crate) fn post(kernel: &Kernel, method: &str, headers: &[&str], json: &str) -> (u16, serde_json::Value) {
    let authorization = format!("authorization: Bearer {}", kernel.token);
    let url = format!("{}/{method}", kernel.address);
    let mut arguments = vec!["-H", "content-type: application/json", "-H", &authorization];
    for header in headers {
        arguments.extend(["-H", header]);
    }
    arguments.extend(["-d", json, &url]);
    let (status, body) = curl(&arguments);
    (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
}

/// Calls in Foshan with an empty message and a deadline, as a client that does not watch the time itself; gives the headers of the answer. Not curl: the kernel answers
/// before it has read the message, and curl 7.88 then loses the answer when it comes before the message is sent.
pub(crate) async fn without_clock(kernel: &Kernel, method: &str, timeout: &str) -> http::HeaderMap {
    let stream = TcpStream::connect(kernel.address.trim_start_matches("http://")).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("{}/{method}", kernel.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", timeout)
        .header("backplane-city", FOSHAN)
        .header("authorization", format!("Bearer {}", kernel.token));
    let (answer, mut body) = client.ready().await.unwrap().send_request(request.body(()).unwrap(), false).unwrap();
    body.send_data(Bytes::from_static(&[0; 5]), true).unwrap();
    answer.await.unwrap().headers().clone()
}

/// Sends raw bytes as the body of a gRPC request and gives the status of the answer.
async fn raw_grpc(kernel: &Kernel, method: &str, headers: &[(&'static str, &str)], body: Bytes) -> tonic::Status {
    let body = Body::new(Full::new(body).map_err(|never| match never {}));
    let mut request = http::Request::post(format!("/{method}")).body(body).unwrap();
    request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    request.headers_mut().insert("te", "trailers".parse().unwrap());
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let mut service = kernel.call.service();
    std::future::poll_fn(|context| GrpcService::<Body>::poll_ready(&mut service, context)).await.unwrap();
    let response = GrpcService::<Body>::call(&mut service, request).await.unwrap();
    match tonic::Status::from_header_map(response.headers()) {
        Some(status) => status,
        None => {
            let collected = response.into_body().collect().await.unwrap();
            tonic::Status::from_header_map(collected.trailers().unwrap()).unwrap()
        }
    }
}

#[tokio::test]
async fn health_needs_no_token() {
    let kernel = Kernel::start().await;
    let mut health = HealthClient::new(kernel.call.channel.clone());
    for service in ["", "backplane.warehouse.v1.Warehouse"] {
        let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap().into_inner();
        assert_eq!(answer.status, 1, "{service} serves");
    }
    let (status, body) = curl(&["-H", "content-type: application/json", "-d", "{}", &format!("{}/grpc.health.v1.Health/Check", kernel.address)]);
    assert_eq!((status, body.as_str()), (200, r#"{"status":"SERVING"}"#));
}

#[tokio::test]
async fn a_token_that_is_wrong_or_revoked_is_refused_with_its_own_reason() {
    let kernel = Kernel::start().await;
    let refused = |token: String| {
        let call = kernel.call.with_token(&token);
        async move { reason(&call.auth().who_am_i(WhoAmIRequest {}).await.unwrap_err()) }
    };
    assert_eq!(refused("bp_wrong".to_owned()).await, "TOKEN_INVALID");

    let token = kernel.account("short-lived", &[], &[]).await;
    kernel.call.with_token(&token).auth().who_am_i(WhoAmIRequest {}).await.unwrap();
    let listed: serde_json::Value = serde_json::from_str(&kernel.cli_ok(&["token", "list", "short-lived", "--json"])).unwrap();
    kernel.cli_ok(&["token", "revoke", listed["tokens"][0]["tokenId"].as_str().unwrap()]);
    assert_eq!(refused(token).await, "TOKEN_REVOKED");

    let token = kernel.account("disabled", &[], &[]).await;
    kernel.cli_ok(&["user", "disable", "disabled"]);
    assert_eq!(refused(token).await, "PRINCIPAL_DISABLED");
}

#[tokio::test]
async fn an_unknown_method_and_an_unknown_city_are_named() {
    let kernel = Kernel::start().await;
    let status = raw_grpc(&kernel, "backplane.auth.v1.Auth/Nothing", &[], Bytes::from_static(&[0, 0, 0, 0, 0])).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unimplemented, "METHOD_UNKNOWN"));
    assert!(status.message().contains("/backplane.auth.v1.Auth/Nothing"));

    let status = kernel.call.in_city("999999").auth().who_am_i(WhoAmIRequest {}).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "CITY_UNKNOWN"));
    assert!(status.message().contains("999999"));

    let (status, body) = post(&kernel, "backplane.auth.v1.Auth/Nothing", &[], "{}");
    assert_eq!((status, body["code"].as_str().unwrap()), (501, "unimplemented"));
}

#[tokio::test]
async fn malformed_messages_are_refused_and_the_connection_lives_on() {
    let kernel = Kernel::start().await;
    // Field 1 as a length-delimited value of 127 bytes, of which none follow.
    let status = raw_grpc(&kernel, "backplane.auth.v1.Auth/CreatePrincipal", &[], Bytes::from_static(&[0, 0, 0, 0, 2, 0x0a, 0x7f])).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "MESSAGE_MALFORMED"), "{status:?}");
    assert!(status.message().contains("send the message that the method's contract names"), "{status:?}");
    let status = raw_grpc(&kernel, "backplane.auth.v1.Auth/WhoAmI", &[], Bytes::from_static(&[9, 9])).await;
    assert_ne!(status.code(), Code::Ok);
    kernel.call.auth().who_am_i(WhoAmIRequest {}).await.unwrap();

    let (status, body) = post(&kernel, "backplane.auth.v1.Auth/CreatePrincipal", &[], "{\"principalId\":\n  17}");
    assert_eq!((status, body["code"].as_str().unwrap()), (400, "invalid_argument"));
    assert!(body["message"].as_str().unwrap().contains("line 2"), "{body}");
    assert_eq!(body["details"][0]["debug"]["reason"], "MESSAGE_MALFORMED");
    let (status, _) = post(&kernel, "backplane.auth.v1.Auth/WhoAmI", &[], "{} and more");
    assert_eq!(status, 400);
}

#[tokio::test]
async fn malformed_messages_to_a_plugin_are_refused_the_same_way() {
    let kernel = with_plugin().await;
    let city = [("backplane-city", FOSHAN)];
    let status = raw_grpc(&kernel, METHOD, &city, Bytes::from_static(&[0, 0, 0, 0, 2, 0x0a, 0x7f])).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "MESSAGE_MALFORMED"), "{status:?}");
    let status = raw_grpc(&kernel, METHOD, &city, Bytes::from_static(&[9, 9])).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "FIELD_INVALID"), "{status:?}");
    let (status, body) = post(&kernel, METHOD, &["backplane-city: 440600"], "{\"from\":\n  17}");
    assert_eq!((status, body["details"][0]["debug"]["reason"].as_str()), (400, Some("MESSAGE_MALFORMED")), "{body}");
    let (status, body) = post(&kernel, METHOD, &["backplane-city: 440600"], PERIOD);
    assert_eq!(status, 200, "{body}");
}

#[tokio::test]
async fn curl_gets_a_plugins_figures_as_the_command_line_does() {
    let kernel = with_plugin().await;
    let (status, by_curl) = post(&kernel, METHOD, &["backplane-city: 440600"], PERIOD);
    assert_eq!(status, 200, "{by_curl}");
    let by_cli: serde_json::Value = serde_json::from_str(&kernel.cli_ok(&["plugin", "call", METHOD, PERIOD, "--city", FOSHAN])).unwrap();
    assert_eq!(by_curl, by_cli);
    // Of the 200 lines of the excerpt one has no time that there is.
    assert_eq!(by_curl["requests"], "199", "{by_curl}");
}

#[tokio::test]
async fn a_message_of_a_gigabyte_is_refused_at_its_header() {
    let kernel = with_plugin().await;
    let mut header = vec![0];
    header.extend_from_slice(&(1_u32 << 30).to_be_bytes());
    header.extend_from_slice(&[0; 64]);
    let native_and_plugin = [("backplane.auth.v1.Auth/WhoAmI", "440000"), (METHOD, FOSHAN)];
    for (method, city) in native_and_plugin {
        let status = raw_grpc(&kernel, method, &[("backplane-city", city)], Bytes::from(header.clone())).await;
        assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"), "{method}: {status:?}");
        assert!(status.metadata().contains_key("backplane-trace-id"), "{method}: {status:?}");
    }

    let large = tempfile::NamedTempFile::new().unwrap();
    large.as_file().set_len(17 << 20).unwrap();
    let authorization = format!("authorization: Bearer {}", kernel.token);
    let url = format!("{}/backplane.auth.v1.Auth/WhoAmI", kernel.address);
    let data = format!("@{}", large.path().display());
    let (status, body) = curl(&["-H", "content-type: application/json", "-H", &authorization, "-H", "expect:", "--data-binary", &data, &url]);
    assert_eq!(status, 429, "{body}");
    assert!(body.contains("MESSAGE_TOO_LARGE"), "{body}");
    kernel.call.auth().who_am_i(WhoAmIRequest {}).await.unwrap();
}

#[tokio::test]
async fn a_deadline_holds_for_native_calls_and_over_json() {
    let kernel = Kernel::start().await;
    let answer = without_clock(&kernel, "backplane.warehouse.v1.Warehouse/ListDatasets", "1n").await;
    assert_eq!(answer["grpc-status"], "4", "{answer:?}");

    let (status, body) = post(&kernel, "backplane.warehouse.v1.Warehouse/ListDatasets", &["connect-timeout-ms: 0"], "{}");
    assert_eq!((status, body["code"].as_str().unwrap()), (504, "deadline_exceeded"));
    let (status, body) = post(&kernel, "backplane.auth.v1.Auth/WhoAmI", &["grpc-timeout: soon"], "{}");
    assert_eq!((status, body["details"][0]["debug"]["metadata"]["header"].as_str().unwrap()), (400, "grpc-timeout"));
}

#[tokio::test]
async fn json_reaches_native_unary_methods_and_says_why_not_streams() {
    let kernel = Kernel::start().await;
    let (status, body) = post(&kernel, "backplane.auth.v1.Auth/WhoAmI", &[], "{}");
    assert_eq!((status, body["principal"]["principalId"].as_str().unwrap()), (200, "administrator"));
    let (status, body) = post(&kernel, "backplane.warehouse.v1.Warehouse/Query", &[], r#"{"sql": "select 1"}"#);
    assert_eq!((status, body["code"].as_str().unwrap()), (501, "unimplemented"));
    assert!(body["message"].as_str().unwrap().contains("streams"));
    let (status, body) = curl(&["-H", "content-type: text/plain", "-d", "x", &format!("{}/backplane.auth.v1.Auth/WhoAmI", kernel.address)]);
    assert_eq!(status, 501);
    assert!(body.contains("application/json"), "{body}");
}

#[tokio::test]
async fn grpc_web_is_answered_over_http_1() {
    let kernel = Kernel::start().await;
    let message = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(message.path(), [0, 0, 0, 0, 0]).unwrap();
    let authorization = format!("authorization: Bearer {}", kernel.token);
    let data = format!("@{}", message.path().display());
    let url = format!("{}/backplane.auth.v1.Auth/WhoAmI", kernel.address);
    let arguments = ["-sS", "-H", "content-type: application/grpc-web+proto", "-H", &authorization, "--data-binary", &data, &url];
    let output = Command::new("curl").args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("administrator") && text.contains("grpc-status:0"), "{text:?}");

    let stranger = ["-sS", "-D", "-", "-H", "content-type: application/grpc-web+proto", "--data-binary", &data, &url];
    let output = Command::new("curl").args(stranger).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(text.matches("backplane-trace-id").count(), 1, "a failure names its trace once: {text:?}");
}

/// A gRPC-Web call with curl: the status line, the headers and the body as they came, in text as far as it is any.
fn grpc_web(kernel: &Kernel, method: &str, content_type: &str, body: &[u8]) -> String {
    let message = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(message.path(), body).unwrap();
    let (authorization, accept) = (format!("authorization: Bearer {}", kernel.token), format!("accept: {content_type}"));
    let content_type = format!("content-type: {content_type}");
    let (data, url) = (format!("@{}", message.path().display()), format!("{}/{method}", kernel.address));
    let arguments = ["-sS", "-i", "-H", &content_type, "-H", &accept, "-H", &authorization, "-H", "backplane-city: 440600", "--data-binary", &data, &url];
    let output = Command::new("curl").args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn grpc_web_reaches_plugins_and_streams() {
    use prost::Message;
    let kernel = with_plugin().await;
    let query = QueryRequest { sql: "select count(*) as requests from interaction".to_owned(), ..QueryRequest::default() }.encode_to_vec();
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(query.len()).unwrap().to_be_bytes());
    framed.extend_from_slice(&query);
    let stream = grpc_web(&kernel, "backplane.warehouse.v1.Warehouse/Query", "application/grpc-web+proto", &framed);
    assert!(stream.contains("requests") && stream.contains("grpc-status:0"), "{stream:?}");

    // Without its period: the plugin's own refusal, which stands in the headers.
    let refused = grpc_web(&kernel, METHOD, "application/grpc-web+proto", &[0; 5]);
    assert!(refused.contains("grpc-status: 3") && refused.contains("backplane-trace-id"), "{refused:?}");
    let known = grpc_web(&kernel, "portal_traffic.v1.PortalTraffic/Nothing", "application/grpc-web+proto", &[0; 5]);
    assert!(known.contains("grpc-status: 12"), "{known:?}");

    // The text form, which a browser without streams uses: the frames in base64.
    let text = grpc_web(&kernel, "backplane.auth.v1.Auth/WhoAmI", "application/grpc-web-text", b"AAAAAAA=");
    assert!(text.contains("200 OK") && text.contains("content-type: application/grpc-web-text"), "{text:?}");
    let body = text.rsplit("\r\n\r\n").next().unwrap();
    assert!(!body.contains("administrator") && !text.contains("grpc-status: "), "the message is in base64, and its trailers with it: {text:?}");
}

#[tokio::test]
async fn a_failure_names_its_trace_and_keeps_the_callers() {
    let kernel = Kernel::start().await;
    let strangers = kernel.call.with_token("bp_of_nobody");
    let mut request = Request::new(WhoAmIRequest {});
    request.metadata_mut().insert("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap());
    let failed = strangers.auth().who_am_i(request).await.unwrap_err();
    assert_eq!(failed.metadata().get("backplane-trace-id").unwrap(), "0af7651916cd43dd8448eb211c80319c");
    let failed = strangers.auth().who_am_i(WhoAmIRequest {}).await.unwrap_err();
    assert_eq!(failed.metadata().get("backplane-trace-id").unwrap().len(), 32);
}

#[tokio::test]
async fn every_json_answer_names_its_trace() {
    let kernel = Kernel::start().await;
    let authorization = format!("authorization: Bearer {}", kernel.token);
    let url = format!("{}/backplane.auth.v1.Auth/WhoAmI", kernel.address);
    let output = Command::new("curl").args(["-sS", "-i", "-H", "content-type: application/json", "-H", &authorization, "-d", "{}", &url]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("200 OK") && text.contains("backplane-trace-id: "), "{text}");
}

#[tokio::test]
async fn audited_and_denied_calls_leave_a_line() {
    let kernel = Kernel::start().await;
    let nobody = kernel.call.with_token(&kernel.account("nobody", &[], &[]).await);
    nobody.auth().list_roles(backplane_proto::auth::v1::ListRolesRequest::default()).await.unwrap_err();
    let authorization = format!("authorization: Bearer {}", nobody.token.as_deref().unwrap());
    let url = format!("{}/backplane.auth.v1.Auth/ListPrincipals", kernel.address);
    let (status, _) = curl(&["-H", "content-type: application/json", "-H", &authorization, "-d", "{}", &url]);
    assert_eq!(status, 403);
    let audit = std::fs::read_to_string(kernel.dir().join("audit.log")).unwrap();
    let lines: Vec<serde_json::Value> = audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |method: &str| lines.iter().find(|line| line["method"].as_str().is_some_and(|called| called.ends_with(method)));
    assert_eq!(of("CreatePrincipal").unwrap()["caller"], "administrator");
    assert_eq!(of("CreatePrincipal").unwrap()["effect"], "write");
    let denied = of("ListRoles").unwrap();
    assert_eq!(of("ListPrincipals").unwrap()["reason"], "PERMISSION_MISSING", "denied over JSON");
    assert_eq!((denied["caller"].as_str(), denied["reason"].as_str()), (Some("nobody"), Some("PERMISSION_MISSING")));
}

#[tokio::test]
async fn a_token_that_nobody_has_leaves_a_line_with_what_it_wanted() {
    let kernel = Kernel::start().await;
    kernel.call.with_token("bp_of_nobody").auth().list_roles(backplane_proto::auth::v1::ListRolesRequest::default()).await.unwrap_err();
    let audit = std::fs::read_to_string(kernel.dir().join("audit.log")).unwrap();
    let mut lines = audit.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let refused = lines.find(|line| line["reason"] == "TOKEN_INVALID").unwrap();
    assert_eq!((refused["method"].as_str(), refused["caller"].as_str()), (Some("/backplane.auth.v1.Auth/ListRoles"), Some("unknown")));
}

#[tokio::test]
async fn a_call_that_its_caller_abandons_leaves_its_line() {
    let kernel = Kernel::start().await;
    let sql = "with recursive numbers as (select 1 as n union all select n + 1 from numbers where n > 0) select max(n) from numbers".to_owned();
    let endless = kernel.call.warehouse().query(QueryRequest { sql, ..QueryRequest::default() }).await.unwrap();
    drop(endless);
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let audit = std::fs::read_to_string(kernel.dir().join("audit.log")).unwrap();
        let mut lines = audit.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        if let Some(query) = lines.find(|line| line["method"] == "/backplane.warehouse.v1.Warehouse/Query") {
            assert_eq!((query["code"].as_str(), query["caller"].as_str()), (Some("Cancelled"), Some("administrator")));
            break;
        }
        assert!(Instant::now() < until, "{audit}");
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_port_that_is_taken_is_reported_before_a_token_is_made() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let output = Command::new(binary()).args(["serve", "--listen", &listen, "--dir"]).arg(dir.path()).output().unwrap();
    assert!(!output.status.success());
    let (printed, problem) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(problem.contains(&format!("cannot listen on {listen}")), "{problem}");
    assert!(!printed.contains("token"), "{printed}");
    assert!(!dir.path().join("rows.db").exists(), "nothing was made that a second start would not print");
}

#[tokio::test]
async fn a_stop_signal_lets_running_calls_end() {
    let kernel = Kernel::start().await;
    let line =
        |n: usize| format!("198.51.100.7 - - [17/May/2015:10:05:03 +0000] \"GET /{n} HTTP/1.1\" 200 1 \"-\" \"agent, padded to a longer line {n:060}\"\n");
    let log: String = (0..20_000).map(line).collect();
    let (pieces, upload) = tokio::sync::mpsc::channel(1);
    let mut ingest = kernel.call.in_city(FOSHAN).ingest();
    let header = FileHeader {
        feed: "portal.access".to_owned(),
        file_name: "portal.access.440600.drain.log".to_owned(),
        size_bytes: i64::try_from(log.len()).unwrap(),
        ..FileHeader::default()
    };
    pieces.send(ImportFileRequest { part: Some(Part::Header(header)) }).await.unwrap();
    let call = tokio::spawn(async move {
        let mut answers = ingest.import_file(ReceiverStream::new(upload)).await?.into_inner();
        let mut result = None;
        while let Some(answer) = answers.message().await? {
            if let Some(Answer::Result(done)) = answer.part {
                result = Some(done);
            }
        }
        Ok::<_, tonic::Status>(result)
    });
    // More than the windows of HTTP/2 let through unread: once it is sent, the kernel's service is reading.
    let (first, rest) = log.as_bytes().split_at(2_600_000);
    for piece in first.chunks(100_000) {
        pieces.send(ImportFileRequest { part: Some(Part::Chunk(Bytes::copy_from_slice(piece))) }).await.unwrap();
    }
    kernel.terminate();
    for piece in rest.chunks(100_000) {
        pieces.send(ImportFileRequest { part: Some(Part::Chunk(Bytes::copy_from_slice(piece))) }).await.unwrap();
    }
    drop(pieces);
    let outcome = call.await.unwrap();
    assert!(kernel.wait(), "the kernel ends well");
    assert_eq!(outcome.unwrap().expect("the import that ran ends").lines, 20_000);
}

/// A query that never ends is dropped when the time to end is over.
#[tokio::test]
async fn a_call_that_does_not_end_is_dropped_with_the_drain() {
    let kernel = Kernel::start_with(&["--drain-seconds", "1"]).await;
    let sql = "with recursive numbers as (select 1 as n union all select n + 1 from numbers where n > 0) select max(n) from numbers".to_owned();
    let mut endless = kernel.call.warehouse().query(QueryRequest { sql, ..QueryRequest::default() }).await.unwrap().into_inner();
    kernel.terminate();
    assert!(kernel.wait(), "the kernel ends well");
    let end = async {
        loop {
            match endless.message().await {
                Ok(Some(_)) => {}
                end => break end,
            }
        }
    };
    assert!(end.await.is_err(), "and the call knows");
}

#[tokio::test]
async fn who_has_the_folder_and_no_token_gets_one_when_the_kernel_stands_still() {
    let kernel = Kernel::start().await;
    let dir = kernel.dir().to_str().unwrap().to_owned();
    let refusal = kernel.cli_err(&["token", "recover", "--dir", &dir]);
    assert!(refusal.contains("another kernel runs on"), "{refusal}");
    kernel.cli_ok(&["user", "disable", "administrator"]);
    assert_eq!(reason(&kernel.call.auth().who_am_i(WhoAmIRequest {}).await.unwrap_err()), "PRINCIPAL_DISABLED");

    kernel.terminate();
    let (kernel, recovered) = kernel.recovered().await;
    let who = kernel.call.with_token(&recovered).auth().who_am_i(WhoAmIRequest {}).await.unwrap().into_inner();
    assert_eq!(who.permissions[0].permission, "*");
    let nowhere = kernel.cli_err(&["token", "recover", "--dir", "/nonexistent"]);
    assert!(nowhere.contains("there is no kernel in /nonexistent"), "{nowhere}");
}
