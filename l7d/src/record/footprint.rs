//! How much memory a record holds.

use std::sync::Arc;

use super::{DnsNames, Endpoint, Event, Party, PolicyRef, Record, Service};

/// What an `Arc` adds to its content: two counts.
const SHARED: usize = 2 * size_of::<usize>();

impl Record {
    /// Bytes that this record holds: its own, its text, and its part of what it shares. Of something
    /// that *n* hold, each holds an *n*-th, so that the sum over all records of a ring comes to what
    /// is there, however often it is shared.
    pub fn footprint(&self) -> usize {
        let names = [&self.source_names, &self.destination_names];
        let names = names.into_iter().flatten();
        size_of::<Self>()
            + SHARED
            + self.text.capacity()
            + self.source.footprint()
            + self.destination.footprint()
            + names
                .map(|names| part(names, names.footprint()))
                .sum::<usize>()
            + self.deciders()
            + self.kernels_word()
            + self
                .encapsulation
                .as_ref()
                .map_or(0, |shared| part(shared, size_of_val(&**shared)))
    }

    /// What the kernel says of a drop, but for the names that all records share.
    fn kernels_word(&self) -> usize {
        match &self.event {
            Event::Drop {
                kernel: Some(kernel),
                ..
            } => part(kernel, size_of_val(&**kernel)),
            Event::Dns(_)
            | Event::Drop { .. }
            | Event::End(_)
            | Event::Http(_)
            | Event::Opaque(_)
            | Event::PolicyVerdict { .. }
            | Event::Trace(_) => 0,
        }
    }

    /// The policies that decided; all records without any share one empty list.
    fn deciders(&self) -> usize {
        if self.policies.is_empty() {
            return 0;
        }
        let each = self.policies.iter().map(PolicyRef::footprint);
        part(&self.policies, each.sum())
    }
}

/// A holder's part of something shared.
fn part<T: ?Sized>(shared: &Arc<T>, bytes: usize) -> usize {
    (SHARED + bytes).div_ceil(Arc::strong_count(shared))
}

fn strings(strings: &[String]) -> usize {
    let each = strings.iter().map(|text| size_of::<String>() + text.len());
    each.sum()
}

impl Party {
    fn footprint(&self) -> usize {
        let endpoint = self.endpoint.as_ref();
        let service = self.service.as_ref();
        endpoint.map_or(0, |shared| part(shared, shared.footprint()))
            + service.map_or(0, |shared| part(shared, shared.footprint()))
    }
}

impl Endpoint {
    fn footprint(&self) -> usize {
        let workload = self.workload.as_ref();
        size_of::<Self>()
            + self.cluster.len()
            + self.namespace.len()
            + self.name.len()
            + strings(&self.labels)
            + workload.map_or(0, |workload| workload.kind.len() + workload.name.len())
    }
}

impl Service {
    fn footprint(&self) -> usize {
        size_of::<Self>() + self.name.len() + self.namespace.len()
    }
}

impl DnsNames {
    fn footprint(&self) -> usize {
        let each = self
            .0
            .iter()
            .map(|name| size_of::<Arc<str>>() + part(name, name.len()));
        size_of::<Self>() + each.sum::<usize>()
    }
}

impl PolicyRef {
    fn footprint(&self) -> usize {
        size_of::<Self>()
            + self.namespace.len()
            + self.name.len()
            + strings(&self.labels)
            + self.log.as_ref().map_or(0, String::len)
            + self.rule.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::record::{DropReason, IdentityNumber};

    fn record() -> Record {
        let party = || Party::unnamed(([10, 0, 0, 1], 1).into(), IdentityNumber(300));
        let event = Event::Drop {
            reason: DropReason::POLICY_DENIED,
            kernel: None,
        };
        Record::new(Timestamp(1), party(), party(), event)
    }

    #[test]
    fn text_counts_with_all_its_room() {
        let mut long = record();
        long.text.push(&[b'a'; 1000]);
        let text = long.text.capacity();
        assert_eq!(long.footprint() - record().footprint(), text);
    }

    #[test]
    fn what_is_shared_counts_once_over_all_who_share_it() {
        let names = Arc::new(DnsNames(vec![Arc::from("a".repeat(10_000))]));
        let bare = record().footprint();
        let each: Vec<Record> = (0..50)
            .map(|_| Record {
                source_names: Some(Arc::clone(&names)),
                ..record()
            })
            .collect();
        let all: usize = each.iter().map(|record| record.footprint() - bare).sum();
        assert!((9_500..11_000).contains(&all), "{all}");
    }
}
