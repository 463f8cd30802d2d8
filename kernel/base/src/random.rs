use std::cell::Cell;

/// Bytes from the operating system's generator, for secrets and ids.
///
/// # Panics
/// When the operating system has no randomness to give; no secret may be made then.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[allow(clippy::expect_used, reason = "going on without randomness would make guessable secrets")]
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// Bytes unlike any others, for trace ids; they are no secret. Asking the operating system for each would cost more than a call of a plugin.
pub(crate) fn unlike_others() -> [u8; 16] {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(u64::from_ne_bytes(random_bytes()));
        static STREAM: u64 = u64::from_ne_bytes(random_bytes());
    }
    // SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators), with a stream of its own for each thread.
    let step = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(step);
    let mix = |value: u64| {
        let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    };
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&mix(step).to_ne_bytes());
    bytes[8..].copy_from_slice(&mix(step ^ STREAM.with(|stream| *stream)).to_ne_bytes());
    bytes
}
