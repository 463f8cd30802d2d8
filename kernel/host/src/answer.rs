//! What a guest answers, on its way to the caller.

use bytes::Bytes;
use kernel_base::limits::MESSAGE_BYTES_MAX;
use prost::encoding::{DecodeContext, WireType, decode_key, skip_field};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{deployment::Deployment, failure, guest_fault::GuestFailure, instance::GuestAnswer};

// Limit: fields that are walked. Garbage shows in the first few; a message of a million small ones must not pay for it.
const FIELDS_WALKED_MAX: usize = 64;

/// Turns the guest's answer into the caller's: bytes that are a protobuf message as far as a walk over its first fields tells, or the guest's own status.
/// Whether the fields are those of the declared message is not checked here: it would take longer than the call, and every client decodes anyway.
pub(crate) fn pass_on(deployment: &Deployment, answer: GuestAnswer) -> Result<Bytes, Status> {
    let invalid = |problem: String| Status::from(failure::of(deployment, GuestFailure::AnswerInvalid { problem }));
    match answer {
        Ok(bytes) if bytes.len() > MESSAGE_BYTES_MAX => {
            Err(invalid(format!("{} bytes are more than the {MESSAGE_BYTES_MAX} that a message may have; page the answer", bytes.len())))
        }
        Ok(bytes) if !begins_as_message(&bytes) => Err(invalid("it is not an encoded protobuf message".to_owned())),
        Ok(bytes) => Ok(bytes.into()),
        Err(status) => {
            let code = i32::try_from(status.code).map_or(Code::Ok, Code::from_i32);
            if code == Code::Ok || status.code > 16 {
                return Err(invalid(format!("its error has the code {}, which is no error of gRPC", status.code)));
            }
            let answered = Status::with_details(code, status.message, status.details.into());
            if answered.check_error_details().is_err() {
                return Err(invalid("the details of its error are not an encoded google.rpc.Status".to_owned()));
            }
            Err(answered)
        }
    }
}

fn begins_as_message(mut bytes: &[u8]) -> bool {
    for _ in 0..FIELDS_WALKED_MAX {
        if bytes.is_empty() {
            return true;
        }
        let Ok((tag, wire_type)) = decode_key(&mut bytes) else {
            return false;
        };
        // Groups have not been written since proto2; their end alone is no field.
        if matches!(wire_type, WireType::StartGroup | WireType::EndGroup) || skip_field(wire_type, tag, &mut bytes, DecodeContext::default()).is_err() {
            return false;
        }
    }
    true
}
