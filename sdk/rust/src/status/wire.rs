use prost::Message;
use prost_types::Any;

use super::{
    Code, Parts, Status,
    details::{ERROR_INFO_URL, ErrorInfo, RpcStatus},
};
use crate::proto::v1::Reason;

/// A failure as the connector carries it: the record `status` of `plugin.wit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireStatus {
    pub code: u32,
    pub message: String,
    /// An encoded `google.rpc.Status`; empty when there is nothing beyond the message.
    pub details: Vec<u8>,
}

/// The domain of the reasons in `backplane.v1.Reason`.
const KERNEL_DOMAIN: &str = "backplane";

impl Status {
    /// The form in which the failure leaves the plugin. A reason that is none of the kernel's belongs to the plugin, whose id becomes its domain.
    pub fn into_wire(self, plugin_id: &str) -> WireStatus {
        let Parts { code, message, reason, domain, places, others } = *self.0;
        let domain = match domain {
            given if !given.is_empty() => given,
            _ if Reason::from_str_name(&reason).is_some() => KERNEL_DOMAIN.to_owned(),
            _ => plugin_id.to_owned(),
        };
        let mut details = Vec::new();
        if !reason.is_empty() {
            let info = ErrorInfo { reason, domain, metadata: places };
            details.push(Any { type_url: ERROR_INFO_URL.to_owned(), value: info.encode_to_vec() });
        }
        details.extend(others);
        let encoded = match details.is_empty() {
            true => Vec::new(),
            false => RpcStatus { code: i32::try_from(code.number()).unwrap_or_default(), message: message.clone(), details }.encode_to_vec(),
        };
        WireStatus { code: code.number(), message, details: encoded }
    }
}

impl From<WireStatus> for Status {
    /// Details that cannot be read are dropped: the code and the message still say what failed.
    fn from(wire: WireStatus) -> Status {
        let mut status = Status::new(Code::from_number(wire.code), "", wire.message);
        for any in RpcStatus::decode(wire.details.as_slice()).unwrap_or_default().details {
            match ErrorInfo::decode(any.value.as_slice()) {
                Ok(info) if any.type_url == ERROR_INFO_URL && status.0.reason.is_empty() => {
                    status.0.reason = info.reason;
                    status.0.domain = info.domain;
                    status.0.places = info.metadata;
                }
                _ => status.0.others.push(any),
            }
        }
        status
    }
}
