//! Encodes `backplane.guest.v1.CallContext` for each call: the part that a deployment never changes once, the rest by hand, since a message built from
//! owned strings would cost more than the call itself. Protobuf allows the fields in any order and the two pieces one after another.

use std::time::Instant;

use backplane_proto::guest::v1 as guest;
use kernel_base::{CallContext, Caller, Clock, PluginActor, PrincipalKind};
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint},
};

/// The fields that are the same in every call of a deployment.
pub(crate) fn prefix(actor: &PluginActor, configuration_json: String, configuration_revision: i64) -> Vec<u8> {
    let plugin_id = actor.plugin.to_string();
    guest::CallContext { plugin_id, version: actor.version.clone(), configuration_json, configuration_revision, ..Default::default() }.encode_to_vec()
}

/// Appends the fields of one call.
pub(crate) fn append(bytes: &mut Vec<u8>, context: &CallContext, city_code: &str, clock: &Clock) {
    const CITY: u32 = 3;
    const CALLER: u32 = 4;
    const DEADLINE_MICROS: u32 = 5;
    const TRACE_ID: u32 = 6;

    put_text(bytes, CITY, city_code);
    // A job has no caller: it is the plugin's own account that is known.
    if let Caller::Known(principal) = &context.caller
        && (principal.kind != PrincipalKind::Plugin || !context.chain.is_empty())
    {
        put_caller(bytes, CALLER, principal.id.as_str(), principal.kind.as_str());
    }
    let left = context.deadline.saturating_duration_since(Instant::now());
    let deadline = clock.now_micros().saturating_add(i64::try_from(left.as_micros()).unwrap_or(i64::MAX));
    encode_key(DEADLINE_MICROS, WireType::Varint, bytes);
    encode_varint(deadline.cast_unsigned(), bytes);
    encode_key(TRACE_ID, WireType::LengthDelimited, bytes);
    let trace = context.trace.hex();
    encode_varint(trace.len() as u64, bytes);
    bytes.extend_from_slice(&trace);
}

fn put_caller(bytes: &mut Vec<u8>, tag: u32, principal_id: &str, kind: &str) {
    const PRINCIPAL_ID: u32 = 1;
    const KIND: u32 = 2;
    let length = text_length(principal_id) + text_length(kind);
    encode_key(tag, WireType::LengthDelimited, bytes);
    encode_varint(length as u64, bytes);
    put_text(bytes, PRINCIPAL_ID, principal_id);
    put_text(bytes, KIND, kind);
}

/// Encoded length of a text under a tag below 16.
fn text_length(text: &str) -> usize {
    1 + encoded_len_varint(text.len() as u64) + text.len()
}

fn put_text(bytes: &mut Vec<u8>, tag: u32, text: &str) {
    encode_key(tag, WireType::LengthDelimited, bytes);
    encode_varint(text.len() as u64, bytes);
    bytes.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::{sync::Arc, time::Duration};

    use kernel_base::{City, Principal, PrincipalKind, Rights, TraceId};

    use super::*;

    #[test]
    fn both_pieces_decode_as_one_context() {
        let foshan: City = "440600".parse().unwrap();
        let actor = PluginActor { plugin: "portal-traffic".parse().unwrap(), version: "0.1.0".to_owned(), city: City::PROVINCE };
        let context = CallContext {
            caller: Caller::Known(Principal { id: "mei".parse().unwrap(), kind: PrincipalKind::Person }),
            actor: None,
            rights: Arc::new(Rights::default()),
            city: Some(foshan),
            deadline: Instant::now() + Duration::from_secs(1),
            trace: TraceId([0xab; 16]),
            chain: Vec::new(),
        };
        let mut bytes = prefix(&actor, r#"{"hours":24}"#.to_owned(), 7);
        append(&mut bytes, &context, "440600", &Clock::set_to(5_000_000));
        let decoded = guest::CallContext::decode(bytes.as_slice()).unwrap();
        assert_eq!((decoded.plugin_id.as_str(), decoded.version.as_str(), decoded.city.as_str()), ("portal-traffic", "0.1.0", "440600"));
        assert_eq!(decoded.caller.unwrap(), guest::Caller { principal_id: "mei".to_owned(), kind: "person".to_owned() });
        assert!((5_900_000..=6_000_000).contains(&decoded.deadline_micros));
        assert_eq!(decoded.trace_id, "ab".repeat(16));
        assert_eq!((decoded.configuration_json.as_str(), decoded.configuration_revision), (r#"{"hours":24}"#, 7));
    }
}
