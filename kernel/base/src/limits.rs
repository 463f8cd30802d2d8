//! Every bound that more than one crate must agree on, with its reason.

use std::time::Duration;

// Limit: page sizes. A page must fit a message many times over; 1,000 rows of 4 kB are 4 MB.
pub const PAGE_SIZE_DEFAULT: usize = 100;
pub const PAGE_SIZE_MAX: usize = 1_000;

// Limit: one message on the bus, in either direction. A plugin holds a request and an answer in its own memory, so this bounds what a call can cost it.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

// Limit: how long a call may take when its caller does not say, and at most. Long work reports progress on a stream and is not bound to one answer.
pub const CALL_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
pub const CALL_TIMEOUT_MAX: Duration = Duration::from_secs(3_600);

// Limit: calls that cross the doors at one time. Beyond it a caller is told to come back, which keeps the latency of the others; measured, two cores saturate near 64.
pub const CALLS_IN_FLIGHT_MAX: usize = 1_024;

// Limit: plugins that wait for each other. Three levels serve every plan we know; each level holds an instance while it waits.
pub const CALL_DEPTH_MAX: usize = 4;
