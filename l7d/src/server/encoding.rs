//! Flows as encoded responses. Clients that want the same fields share what was encoded for one of
//! them: what many follow is encoded once.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use prost::Message as _;
use proto::encoded::Encoded;
use proto::wire::put_head;

use crate::clock::Timestamp;
use crate::flow::view::{Mask, NodeView, timestamp};
use crate::record::Record;

/// Flows kept for others that come past them a moment later: what comes in a second on a busy node.
const KEPT: u64 = 16_384;
/// Larger ones are not kept: they are few, and it is known what all of them can take.
const KEPT_BYTES: usize = 4096;
/// Numbers of the fields of `GetFlowsResponse`.
const FLOW: u32 = 1;
const NODE_NAME: u32 = 1000;
const TIME: u32 = 1001;

/// The forms in which clients read flows now.
#[derive(Default)]
pub(super) struct Forms(Mutex<Vec<Weak<Form>>>);

/// Flows with the same fields of them.
pub(super) struct Form {
    mask: Option<Mask>,
    node: Arc<NodeView>,
    kept: Box<[Mutex<Kept>]>,
}

/// The last flow of its slot that was encoded for several clients.
#[derive(Default)]
struct Kept {
    /// Position in the ring, from 1; 0 is none.
    position: u64,
    encoded: Option<Encoded>,
}

impl Forms {
    /// The form with these fields, shared with whoever reads it already.
    pub(super) fn form(&self, mask: Option<Mask>, node: &Arc<NodeView>) -> Arc<Form> {
        let mut forms = self.0.lock();
        forms.retain(|form| form.strong_count() > 0);
        let known = forms.iter().filter_map(Weak::upgrade);
        if let Some(form) = known.into_iter().find(|form| form.mask == mask) {
            return form;
        }
        let form = Arc::new(Form {
            mask,
            node: Arc::clone(node),
            kept: (0..KEPT).map(|_| Mutex::default()).collect(),
        });
        forms.push(Arc::downgrade(&form));
        form
    }
}

impl Form {
    /// The response with the record at a position of the ring.
    pub(super) fn response(self: &Arc<Self>, position: u64, record: &Record) -> Encoded {
        // Nobody else reads this form.
        if Arc::strong_count(self) == 1 {
            return self.encode(record);
        }
        let slot = usize::try_from(position % KEPT).ok();
        let Some(slot) = slot.and_then(|slot| self.kept.get(slot)) else {
            return self.encode(record);
        };
        let position = position + 1;
        let mut kept = slot.lock();
        if let Some(encoded) = kept.encoded.as_ref().filter(|_| kept.position == position) {
            return encoded.clone();
        }
        let encoded = self.encode(record);
        // Who is far behind takes nothing from those who are not.
        if kept.position < position && encoded.0.len() <= KEPT_BYTES {
            *kept = Kept {
                position,
                encoded: Some(encoded.clone()),
            };
        }
        encoded
    }

    fn encode(&self, record: &Record) -> Encoded {
        let flow = self.node.flow(record);
        let length = flow.encoded_len();
        let name = &self.node.name;
        let mut bytes = Vec::with_capacity(length + name.len() + 32);
        match &self.mask {
            None => {
                put_head(FLOW, length, &mut bytes);
                flow.encode_raw(&mut bytes);
            }
            Some(mask) => {
                let mut masked = Vec::with_capacity(length);
                mask.copy(&flow.encode_to_vec(), &mut masked);
                put_head(FLOW, masked.len(), &mut bytes);
                bytes.extend_from_slice(&masked);
            }
        }
        // The envelope has both whatever the mask leaves out: who merges streams needs them.
        if !name.is_empty() {
            put_head(NODE_NAME, name.len(), &mut bytes);
            bytes.extend_from_slice(name.as_bytes());
        }
        put_time(record.time, &mut bytes);
        Encoded(bytes.into())
    }
}

fn put_time(time: Timestamp, bytes: &mut Vec<u8>) {
    let time = timestamp(time);
    put_head(TIME, time.encoded_len(), bytes);
    time.encode_raw(bytes);
}

#[cfg(test)]
mod tests {
    use proto::observer::GetFlowsResponse;
    use proto::observer::get_flows_response::ResponseTypes;

    use super::*;
    use crate::flow::tests::dropped;

    fn node() -> Arc<NodeView> {
        Arc::new(NodeView {
            name: "n1".to_owned(),
            seed: 1,
            ..NodeView::default()
        })
    }

    fn read(encoded: &Encoded) -> GetFlowsResponse {
        GetFlowsResponse::decode(&*encoded.0).expect("a response")
    }

    #[test]
    fn an_encoded_response_is_the_flow_of_its_record_in_its_envelope() {
        let (node, record) = (node(), dropped(4000));
        let form = Forms::default().form(None, &node);
        let expected = GetFlowsResponse {
            response_types: Some(ResponseTypes::Flow(node.flow(&record))),
            node_name: "n1".to_owned(),
            time: Some(timestamp(record.time)),
        };
        assert_eq!(read(&form.response(0, &record)), expected);
    }

    #[test]
    fn a_mask_spares_the_envelope() {
        let mask = Mask::new(&["verdict".to_owned()]).expect("a mask");
        let form = Forms::default().form(mask, &node());
        let response = read(&form.response(0, &dropped(4000)));
        assert_eq!(response.node_name, "n1");
        assert!(response.time.is_some());
        let Some(ResponseTypes::Flow(flow)) = response.response_types else {
            panic!("no flow");
        };
        assert_eq!((flow.time, flow.verdict), (None, 1));
    }

    #[test]
    fn clients_with_the_same_fields_share_what_was_encoded() {
        let (forms, node) = (Forms::default(), node());
        let (one, other) = (forms.form(None, &node), forms.form(None, &node));
        let first = one.response(7, &dropped(1));
        let second = other.response(7, &dropped(1));
        assert!(Arc::ptr_eq(&first.0, &second.0));
        let mask = Mask::new(&["verdict".to_owned()]).expect("a mask");
        let third = forms.form(mask, &node).response(7, &dropped(1));
        assert!(third.0.len() < first.0.len());
        // Another record in the same slot, and one that is far behind.
        let newer = one.response(7 + KEPT, &dropped(2));
        let older = other.response(7, &dropped(1));
        assert_eq!(older, first);
        assert!(Arc::ptr_eq(
            &newer.0,
            &other.response(7 + KEPT, &dropped(2)).0
        ));
    }
}
