//! A plugin's failure keeps its reason and places over the connector.
#![allow(clippy::unwrap_used, reason = "tests")]

use backplane_sdk::{Code, Day, Month, Status, WireStatus, proto::v1::Reason};

#[test]
fn code_reason_message_and_places_survive_the_wire() {
    let sent = Status::field_invalid("page_size", "too small").at("line", "3");
    let wire = sent.into_wire("portal-traffic");
    assert_eq!((wire.code, wire.message.as_str()), (3, "too small"));
    let received = Status::from(wire.clone());
    assert_eq!((received.code(), received.reason(), received.message()), (Code::InvalidArgument, "FIELD_INVALID", "too small"));
    assert_eq!(received.places()["field"], "page_size");
    assert_eq!(received.places()["line"], "3");
    assert_eq!(received.into_wire("another"), wire, "passing a failure on changes nothing");
}

/// The bytes that any gRPC client reads: google.rpc.Status { code = 1, message = 2, details = 3 { type_url = 1, value = 2 } }, written out by hand.
#[test]
fn details_are_google_rpc_status_with_an_error_info() {
    let wire = Status::not_found("NO_SUCH", "m").into_wire("p-q");
    let url = b"type.googleapis.com/google.rpc.ErrorInfo";
    let info = [&[0x0a, 7][..], b"NO_SUCH", &[0x12, 3], b"p-q"].concat();
    let any = [&[0x0a, 40][..], url, &[0x12, 14], &info].concat();
    let status = [&[0x08, 5, 0x12, 1][..], b"m", &[0x1a, any.len() as u8], &any].concat();
    assert_eq!(wire.details, status);
}

#[test]
fn a_field_is_read_or_named() {
    assert_eq!(Status::read_field::<Month>("month", "2026-03").unwrap().to_string(), "2026-03");
    let refused = Status::read_field::<Day>("first_day", "2026-3-1").unwrap_err();
    assert_eq!((refused.reason(), refused.message()), ("FIELD_INVALID", "first_day: '2026-3-1' is no day: write it as 2026-03-31"));
    assert_eq!(refused.places()["field"], "first_day");
}

#[test]
fn the_domain_says_whose_reason_it_is() {
    let domain_is = |status: Status, domain: &str| {
        let details = status.into_wire("portal-traffic").details;
        details.windows(domain.len()).any(|window| window == domain.as_bytes())
    };
    assert!(domain_is(Status::not_found(Reason::SnapshotUnknown, ""), "backplane"));
    assert!(domain_is(Status::not_found("REFERRERS_TOO_MANY", ""), "portal-traffic"));
}

#[test]
fn a_status_without_or_with_broken_details_is_read() {
    for details in [vec![], vec![0xff, 0xff]] {
        let status = Status::from(WireStatus { code: 99, message: "odd".to_owned(), details });
        assert_eq!((status.code(), status.reason(), status.message()), (Code::Unknown, "", "odd"));
    }
}

#[test]
fn details_of_other_kinds_are_passed_on() {
    // google.rpc.Status with one Any of type "x" and value "y".
    let details = vec![0x1a, 6, 0x0a, 1, b'x', 0x12, 1, b'y'];
    let status = Status::from(WireStatus { code: 8, message: String::new(), details });
    assert_eq!(status.into_wire("p").details, vec![0x08, 8, 0x1a, 6, 0x0a, 1, b'x', 0x12, 1, b'y']);
}
