//! The Observer with flows as bytes: who serves many clients encodes a flow once for all of them, and
//! who hands flows on need not look into them.

use std::marker::PhantomData;
use std::sync::Arc;

use prost::bytes::{Buf, BufMut};
use tonic::Status;
use tonic::codec::{BufferSettings, DecodeBuf, Decoder, EncodeBuf, Encoder};

include!(concat!(env!("OUT_DIR"), "/observer.Observer.rs"));

/// An encoded `GetFlowsResponse`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Encoded(pub Arc<[u8]>);

/// What can be a message of a call.
pub trait Message: Sized + Send + 'static {
    /// Writes it.
    fn write(self, out: &mut EncodeBuf<'_>) -> Result<(), Status>;

    /// Reads it from all of a buffer.
    fn read(bytes: &mut DecodeBuf<'_>) -> Result<Self, Status>;
}

impl<M: prost::Message + Default + 'static> Message for M {
    fn write(self, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        self.encode(out)
            .map_err(|error| Status::internal(error.to_string()))
    }

    fn read(bytes: &mut DecodeBuf<'_>) -> Result<Self, Status> {
        M::decode(bytes).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Message for Encoded {
    fn write(self, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(&self.0);
        Ok(())
    }

    fn read(bytes: &mut DecodeBuf<'_>) -> Result<Self, Status> {
        let mut all = vec![0; bytes.remaining()];
        bytes.copy_to_slice(&mut all);
        Ok(Self(all.into()))
    }
}

/// Messages are gathered in so much room, and sent when they fill so much of it: room that grows with each
/// message would be copied as often.
const ROOM: usize = 64 << 10;
const FULL: usize = 32 << 10;

/// Messages that are written as they are.
#[derive(Debug)]
pub struct Codec<E, D>(PhantomData<fn() -> (E, D)>);

impl<E, D> Default for Codec<E, D> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<E: Message, D: Message> tonic::codec::Codec for Codec<E, D> {
    type Encode = E;
    type Decode = D;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self::default()
    }

    fn decoder(&mut self) -> Self {
        Self::default()
    }
}

impl<E: Message, D> Encoder for Codec<E, D> {
    type Item = E;
    type Error = Status;

    fn encode(&mut self, item: E, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.write(out)
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(ROOM, FULL)
    }
}

impl<E, D: Message> Decoder for Codec<E, D> {
    type Item = D;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<D>, Status> {
        D::read(bytes).map(Some)
    }
}
