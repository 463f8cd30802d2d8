//! The guest of `tests/it/hostile.rs`.

mod proto {
    include!(concat!(env!("OUT_DIR"), "/proto.rs"));
}

use backplane_sdk::{Context, Status, log};
use proto::hostile::v1::{Answer, Hostile, HostileServer, Request};

#[derive(Default)]
struct Plugin;

impl Hostile for Plugin {
    fn panic(&self, _context: &Context, request: Request) -> Result<Answer, Status> {
        log::warn(format!("about to panic: {}", request.text));
        panic!("{}", request.text);
    }

    fn spin(&self, _context: &Context, request: Request) -> Result<Answer, Status> {
        loop {
            std::hint::black_box(&request);
        }
    }

    fn allocate(&self, _context: &Context, _request: Request) -> Result<Answer, Status> {
        let mut taken = Vec::new();
        loop {
            taken.push(std::hint::black_box(vec![1_u8; 1 << 20]));
        }
    }

    fn answer(&self, _context: &Context, request: Request) -> Result<Answer, Status> {
        Ok(Answer { text: request.text })
    }
}

backplane_sdk::export!(Plugin: HostileServer);
