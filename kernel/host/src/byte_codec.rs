use bytes::{Buf, BufMut, Bytes};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// Frames messages without reading them: the host passes bytes on, in both directions.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ByteCodec;

impl Codec for ByteCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = ByteCodec;
    type Decoder = ByteCodec;

    fn encoder(&mut self) -> ByteCodec {
        ByteCodec
    }

    fn decoder(&mut self) -> ByteCodec {
        ByteCodec
    }
}

impl Encoder for ByteCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for ByteCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
