//! The guest of `tests/it/relay.rs`.

mod proto {
    include!(concat!(env!("OUT_DIR"), "/proto.rs"));
}

use backplane_sdk::{CallOptions, Context, Status, log};
use proto::relay::v1::{Note, Relay, RelayServer};

#[derive(Default)]
struct Plugin;

impl Relay for Plugin {
    fn forward(&self, context: &Context, request: Note) -> Result<Note, Status> {
        log::info(format!("forwarding {}", request.text));
        let answer = context.call("/hostile.v1.Hostile/Answer", &CallOptions::default(), &request);
        if let Err(status) = &answer {
            log::warn(format!("hostile answered {}", status.message()));
        }
        answer
    }
}

backplane_sdk::export!(Plugin: RelayServer);
