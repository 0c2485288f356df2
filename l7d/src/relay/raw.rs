//! Answers of `GetFlows` as the bytes that they are.
//!
//! A relay needs to know when a flow was, and nothing else of it. What an agent says goes on as it came:
//! faster than reading and writing all of it, and with the fields that agents of later versions have.

use prost::bytes::{Buf as _, BufMut as _, Bytes};
use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field,
};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use crate::clock::Timestamp;

/// Fields of `GetFlowsResponse`.
const TIME: u32 = 1001;
/// Fields of `GetFlowsRequest`.
const NUMBER: u32 = 1;
const SINCE: u32 = 7;
/// Fields of `google.protobuf.Timestamp`.
const SECONDS: u32 = 1;
const NANOS: u32 = 2;

/// Messages as bytes, both ways.
#[derive(Debug, Clone, Copy, Default)]
pub struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        // A copy of its own: a part of the buffer would keep all of it, however long it waits.
        let mut message = vec![0; from.remaining()];
        from.copy_to_slice(&mut message);
        Ok(Some(message.into()))
    }
}

/// When an answer says that it was; nothing where it says nothing, or what is no time.
pub fn time(answer: &Bytes) -> Option<Timestamp> {
    let mut rest: &[u8] = answer;
    let mut time = None;
    while !rest.is_empty() {
        let (field, kind) = decode_key(&mut rest).ok()?;
        if (field, kind) == (TIME, WireType::LengthDelimited) {
            let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
            let (message, behind) = rest.split_at_checked(length)?;
            time = timestamp(message);
            rest = behind;
        } else {
            skip_field(kind, field, &mut rest, DecodeContext::default()).ok()?;
        }
    }
    time
}

fn timestamp(mut message: &[u8]) -> Option<Timestamp> {
    let (mut seconds, mut nanos) = (0, 0);
    while !message.is_empty() {
        match decode_key(&mut message).ok()? {
            (SECONDS, WireType::Varint) => seconds = decode_varint(&mut message).ok()?,
            (NANOS, WireType::Varint) => nanos = decode_varint(&mut message).ok()?,
            (field, kind) => {
                skip_field(kind, field, &mut message, DecodeContext::default()).ok()?;
            }
        }
    }
    // What is before 1970 is a number beyond any time here.
    let nanos = Some(nanos).filter(|nanos| *nanos < 1_000_000_000)?;
    seconds
        .checked_mul(1_000_000_000)?
        .checked_add(nanos)
        .map(Timestamp)
}

/// A request for what came after `last`, of somebody who has had everything up to it: the same request with
/// another beginning. Fields that stand behind others of their kind replace them.
pub(super) fn resumed(request: &Bytes, last: Timestamp) -> Bytes {
    let since = last.0.saturating_add(1);
    let mut message = Vec::new();
    for (field, value) in [
        (SECONDS, since / 1_000_000_000),
        (NANOS, since % 1_000_000_000),
    ] {
        encode_key(field, WireType::Varint, &mut message);
        encode_varint(value, &mut message);
    }
    let mut resumed = request.to_vec();
    encode_key(NUMBER, WireType::Varint, &mut resumed);
    encode_varint(0, &mut resumed);
    encode_key(SINCE, WireType::LengthDelimited, &mut resumed);
    encode_varint(message.len() as u64, &mut resumed);
    resumed.extend(message);
    resumed.into()
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use proto::flow::{Flow, FlowFilter};
    use proto::observer::get_flows_response::ResponseTypes;
    use proto::observer::{GetFlowsRequest, GetFlowsResponse};

    use super::*;

    fn answer(seconds: i64, nanos: i32) -> Bytes {
        let flow = Flow {
            summary: "TCP Flags: SYN".to_owned(),
            ..Flow::default()
        };
        let answer = GetFlowsResponse {
            node_name: "a".to_owned(),
            time: Some(proto::Timestamp { seconds, nanos }),
            response_types: Some(ResponseTypes::Flow(flow)),
        };
        answer.encode_to_vec().into()
    }

    #[test]
    fn the_time_of_an_answer_is_found() {
        assert_eq!(
            time(&answer(1_700_000_000, 7)),
            Some(Timestamp(1_700_000_000_000_000_007))
        );
        assert_eq!(time(&answer(0, 0)), Some(Timestamp(0)));
        assert_eq!(time(&answer(-1, 0)), None);
        assert_eq!(time(&answer(1, -1)), None);
        assert_eq!(time(&answer(i64::MAX, 0)), None);
        assert_eq!(time(&Bytes::new()), None);
    }

    #[test]
    fn bytes_that_are_no_answer_have_no_time_and_do_no_harm() {
        let good = answer(1_700_000_000, 7);
        for cut in 0..good.len() {
            let _any = time(&good.slice(..cut));
        }
        assert_eq!(time(&Bytes::from_static(&[0xff; 64])), None);
    }

    #[test]
    fn a_resumed_request_differs_in_its_beginning_alone() {
        let request = GetFlowsRequest {
            number: 20,
            follow: true,
            whitelist: vec![FlowFilter {
                source_pod: vec!["shop/".to_owned()],
                ..FlowFilter::default()
            }],
            since: Some(proto::Timestamp {
                seconds: 5,
                nanos: 6,
            }),
            ..GetFlowsRequest::default()
        };
        let bytes = request.encode_to_vec().into();
        let resumed = resumed(&bytes, Timestamp(9_999_999_999));
        let expected = GetFlowsRequest {
            number: 0,
            since: Some(proto::Timestamp {
                seconds: 10,
                nanos: 0,
            }),
            ..request
        };
        assert_eq!(
            GetFlowsRequest::decode(resumed).expect("a request"),
            expected
        );
    }
}
