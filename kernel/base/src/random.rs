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
