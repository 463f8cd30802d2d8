use bytes::{BufMut, Bytes, BytesMut};

/// A message as gRPC sends it: a flag byte (0, not compressed), the length as four big-endian bytes, the message.
pub fn frame(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    framed.freeze()
}

/// The one message of a unary body. `None` when the bytes are not exactly one uncompressed message.
pub fn unframe(mut body: Bytes) -> Option<Bytes> {
    let header: [u8; 5] = body.get(..5)?.try_into().ok()?;
    let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
    let message = body.split_off(5);
    (header[0] == 0 && message.len() == length as usize).then_some(message)
}
