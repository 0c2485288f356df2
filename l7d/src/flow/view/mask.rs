//! Which fields of flows a client wants (`google.protobuf.FieldMask`).
//!
//! A mask copies pieces of an encoded flow, so that it needs to know nothing of any field.

use std::collections::BTreeMap;

use proto::schema::{Kind, Message, schema};
use proto::wire::{Pieces, Value, put_head};

/// The message that masks are of.
const FLOW: &str = "flow.Flow";

/// A mask that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid fieldmask: {0}")]
pub struct MaskError(String);

/// Fields of a message that are wanted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Mask(BTreeMap<u32, Part>);

/// What is wanted of a field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Whole,
    Of(Mask),
}

impl Mask {
    /// A mask of these paths (`verdict`, `source.pod_name`); none where there are none: all of a flow
    /// is wanted.
    ///
    /// # Errors
    /// The first path that leads nowhere.
    pub fn new(paths: &[String]) -> Result<Option<Self>, MaskError> {
        let mut mask = Self::default();
        for path in paths {
            mask.add(path, FLOW, path)?;
        }
        Ok((!paths.is_empty()).then_some(mask))
    }

    fn add(&mut self, path: &str, of: &str, whole: &str) -> Result<(), MaskError> {
        let fault = |why: String| Err(MaskError(format!("`{whole}`: {why}")));
        let (name, rest) = match path.split_once('.') {
            Some((name, rest)) => (name, Some(rest)),
            None => (path, None),
        };
        let known = schema().message(of);
        let Some(field) = known.and_then(|message| message.field(name)) else {
            return fault(format!("{of} has no field `{name}`{}", hint(known, name)));
        };
        let part = self.0.entry(field.number);
        match (rest, &field.kind) {
            (None, _) => {
                part.insert_entry(Part::Whole);
                Ok(())
            }
            (Some(rest), Kind::Message(of)) if !field.is_repeated => {
                match part.or_insert_with(|| Part::Of(Self::default())) {
                    // The whole is wanted already; the path must be one all the same.
                    Part::Whole => Self::default().add(rest, of, whole),
                    Part::Of(mask) => mask.add(rest, of, whole),
                }
            }
            (Some(_), _) => fault(format!("`{name}` is no single message")),
        }
    }

    /// Appends the wanted fields of an encoded flow.
    pub fn copy(&self, message: &[u8], out: &mut Vec<u8>) {
        for piece in Pieces::of(message) {
            match (self.0.get(&piece.number), piece.value) {
                (Some(Part::Whole), _) => out.extend_from_slice(piece.whole),
                (Some(Part::Of(mask)), Value::Bytes(bytes)) => {
                    let mut part = Vec::with_capacity(bytes.len());
                    mask.copy(bytes, &mut part);
                    put_head(piece.number, part.len(), out);
                    out.extend_from_slice(&part);
                }
                (Some(Part::Of(_)) | None, _) => {}
            }
        }
    }
}

fn hint(known: Option<&Message>, name: &str) -> String {
    let fields = known.into_iter().flat_map(|message| &message.fields);
    let nearest = policy_l7::nearest(name, fields.map(|field| field.name.as_str()));
    nearest.map_or_else(String::new, |nearest| {
        format!(", did you mean `{nearest}`?")
    })
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use proto::flow::{Endpoint, Flow, Layer4, Policy, Tcp, layer4::Protocol};

    use super::*;

    fn flow() -> Flow {
        Flow {
            verdict: 2,
            node_name: "n1".to_owned(),
            source: Some(Endpoint {
                identity: 300,
                pod_name: "web".to_owned(),
                namespace: "shop".to_owned(),
                ..Endpoint::default()
            }),
            destination: Some(Endpoint::default()),
            l4: Some(Layer4 {
                protocol: Some(Protocol::Tcp(Tcp {
                    source_port: 4000,
                    destination_port: 80,
                    flags: None,
                })),
            }),
            ingress_denied_by: vec![Policy::default(), Policy::default()],
            summary: "TCP Flags: SYN".to_owned(),
            ..Flow::default()
        }
    }

    fn masked(paths: &[&str]) -> Result<Flow, MaskError> {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        let encoded = flow().encode_to_vec();
        let Some(mask) = Mask::new(&paths)? else {
            return Ok(flow());
        };
        let mut out = Vec::new();
        mask.copy(&encoded, &mut out);
        Ok(Flow::decode(out.as_slice()).expect("a flow"))
    }

    #[test]
    fn a_mask_keeps_what_it_names_and_nothing_else() {
        let kept = masked(&["verdict", "source.pod_name", "l4.TCP.destination_port"]).unwrap();
        let expected = Flow {
            verdict: 2,
            source: Some(Endpoint {
                pod_name: "web".to_owned(),
                ..Endpoint::default()
            }),
            l4: Some(Layer4 {
                protocol: Some(Protocol::Tcp(Tcp {
                    destination_port: 80,
                    ..Tcp::default()
                })),
            }),
            ..Flow::default()
        };
        assert_eq!(kept, expected);
        assert_eq!(masked(&[]).unwrap(), flow());
    }

    #[test]
    fn a_whole_field_beats_parts_of_it_in_either_order() {
        for paths in [["source.pod_name", "source"], ["source", "source.pod_name"]] {
            assert_eq!(masked(&paths).unwrap().source, flow().source);
        }
        let kept = masked(&["ingress_denied_by", "Summary"]).unwrap();
        assert_eq!(kept.ingress_denied_by.len(), 2);
        assert_eq!(kept.summary, "TCP Flags: SYN");
    }

    #[test]
    fn a_path_that_leads_nowhere_is_refused() {
        for (path, fault) in [
            (
                "verdct",
                "`verdct`: flow.Flow has no field `verdct`, did you mean `verdict`?",
            ),
            (
                "source.pod",
                "`source.pod`: flow.Endpoint has no field `pod`",
            ),
            (
                "source.labels.x",
                "`source.labels.x`: `labels` is no single message",
            ),
            (
                "source.workloads.name",
                "`source.workloads.name`: `workloads` is no single message",
            ),
            ("", "``: flow.Flow has no field ``"),
        ] {
            let error = masked(&[path]).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("invalid fieldmask: {fault}")),
                "{error}"
            );
        }
        assert!(masked(&["source", "source.pot"]).is_err());
    }
}
