//! `--connection` against servers that do not know of it: they take the filter for one that lets
//! everything pass, and what they send is filtered here.

use proto::flow::{Flow, FlowFilter};
use proto::observer::GetFlowsRequest;
use proto::observer::get_flows_response::ResponseTypes;

use crate::cli::failure::Failure;
use crate::cli::matcher::Matcher;
use crate::cli::matcher::connection::number;

/// Who makes flows with numbers.
const OURS: &str = "l7d";

/// What is left to be filtered of what a server sends.
#[derive(Debug, Default)]
pub(in crate::cli) struct Rest {
    /// Only these, where any are named.
    chosen: Vec<u64>,
    /// None of these.
    deny: Matcher,
}

impl Rest {
    /// Takes out of a request what a server could misunderstand.
    pub(in crate::cli) fn of(request: &mut GetFlowsRequest) -> Result<Self, Failure> {
        let asks = |filter: &FlowFilter| !filter.connection.is_empty();
        // One that is taken for an empty one would stop everything.
        let deny: Vec<FlowFilter> = request.blacklist.extract_if(.., |one| asks(one)).collect();
        let deny = Matcher::new(&[], &deny).map_err(Failure::usage)?;
        let is_chosen = !request.whitelist.is_empty() && request.whitelist.iter().all(asks);
        let texts = request.whitelist.iter().flat_map(|one| &one.connection);
        let numbers = texts.filter_map(|text| u64::from_str_radix(text, 16).ok());
        let chosen = if is_chosen {
            numbers.collect()
        } else {
            Vec::new()
        };
        Ok(Self { chosen, deny })
    }

    /// Whether what a server sent is to be shown.
    pub(in crate::cli) fn passes(&self, response: Option<&ResponseTypes>) -> bool {
        match response {
            Some(ResponseTypes::Flow(flow)) => self.is_chosen(flow) && self.deny.passes(flow),
            _ => true,
        }
    }

    /// One of ours without a number was found by its addresses.
    fn is_chosen(&self, flow: &Flow) -> bool {
        let is_ours = || flow.emitter.as_ref().is_some_and(|who| who.name == OURS);
        self.chosen.is_empty()
            || number(flow).map_or_else(is_ours, |one| self.chosen.contains(&one))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(allow: &[&str], deny: &[&str]) -> GetFlowsRequest {
        let filters = |numbers: &[&str]| {
            let filter = |number: &&str| FlowFilter {
                connection: vec![(*number).to_owned()],
                ..FlowFilter::default()
            };
            numbers.iter().map(filter).collect()
        };
        GetFlowsRequest {
            whitelist: filters(allow),
            blacklist: filters(deny),
            ..GetFlowsRequest::default()
        }
    }

    fn flow(number: &str, emitter: &str) -> ResponseTypes {
        let fields = [("connection", number.to_owned())];
        ResponseTypes::Flow(Flow {
            extensions: (!number.is_empty()).then(|| proto::Any::of_texts(fields)),
            ip: Some(proto::flow::Ip {
                source: "10.0.0.1".to_owned(),
                destination: if number.is_empty() {
                    "10.0.0.3"
                } else {
                    "10.0.0.2"
                }
                .to_owned(),
                ..proto::flow::Ip::default()
            }),
            emitter: Some(proto::flow::Emitter {
                name: emitter.to_owned(),
                version: String::new(),
            }),
            ..Flow::default()
        })
    }

    #[test]
    fn what_a_server_did_not_filter_is_filtered_here() {
        let rest = Rest::of(&mut request(&["2a"], &[])).unwrap();
        let passes = |number, emitter| rest.passes(Some(&flow(number, emitter)));
        assert!(passes("2a", "l7d") && passes("", "l7d"));
        assert!(!passes("2b", "l7d") && !passes("", "Hubble"));
    }

    #[test]
    fn a_negated_one_never_reaches_the_server() {
        let mut request = request(&[], &["2a"]);
        let rest = Rest::of(&mut request).unwrap();
        assert_eq!(request.blacklist, []);
        assert!(!rest.passes(Some(&flow("2a", "l7d"))));
        assert!(rest.passes(Some(&flow("2b", "l7d"))) && rest.passes(Some(&flow("", "Hubble"))));
    }
}
