//! Fields about HTTP messages.

use proto::flow::FlowFilter;
use regex::Regex;

use super::url::path as url_path;
use super::{Check, FilterError, any};
use crate::flow::view::{EVENT_L7, headers};
use crate::record::Record;

pub(super) fn add(filter: &FlowFilter, checks: &mut Vec<Check>) -> Result<(), FilterError> {
    let is_about_http = !filter.http_status_code.is_empty()
        || !filter.http_method.is_empty()
        || !filter.http_path.is_empty()
        || !filter.http_url.is_empty()
        || !filter.http_header.is_empty();
    let excludes_l7 = !filter.event_type.is_empty()
        && filter.event_type.iter().all(|kind| kind.r#type != EVENT_L7);
    if is_about_http && excludes_l7 {
        return Err(FilterError {
            field: "http",
            message: "filters on HTTP need the event type l7".to_owned(),
        });
    }
    add_codes(checks, &filter.http_status_code)?;
    any(checks, filter.http_method.clone(), |method, record| {
        let http = record.http();
        let have = http.map(|http| record.text(http.method));
        have.is_some_and(|have| !have.is_empty() && have.eq_ignore_ascii_case(method.as_bytes()))
    });
    let paths = regexes("http_path", &filter.http_path)?;
    any(checks, paths, |regex, record| {
        path(record).is_some_and(|path| regex.is_match(&path))
    });
    let urls = regexes("http_url", &filter.http_url)?;
    any(checks, urls, |regex, record| {
        url(record).is_some_and(|url| regex.is_match(&url))
    });
    any(checks, filter.http_header.clone(), |wanted, record| {
        record
            .http()
            .is_some_and(|http| headers(record, http).contains(wanted))
    });
    let queries = regexes("dns_query", &filter.dns_query)?;
    any(checks, queries, |regex, record| {
        let query = record.dns().map(|dns| record.text(dns.query));
        query.is_some_and(|query| regex.is_match(&String::from_utf8_lossy(query)))
    });
    any(checks, filter.trace_id.clone(), |wanted, record| {
        let trace = record.http().and_then(|http| http.trace.as_ref());
        // Who asks for none gets what has none.
        trace.map_or(wanted.is_empty(), |trace| trace.trace_id() == *wanted)
    });
    Ok(())
}

/// `404`, or the beginning of a code with `+`: `4+`, `50+`.
fn add_codes(checks: &mut Vec<Check>, values: &[String]) -> Result<(), FilterError> {
    for value in values {
        let digits = value.strip_suffix('+').unwrap_or(value);
        let is_prefix = value.ends_with('+') && (1..=2).contains(&digits.len());
        let is_code = !value.ends_with('+') && digits.len() == 3;
        let is_fit = digits.bytes().all(|byte| byte.is_ascii_digit())
            && matches!(digits.as_bytes().first(), Some(b'1'..=b'5'));
        if !is_fit || !(is_prefix || is_code) {
            return Err(FilterError {
                field: "http_status_code",
                message: format!("`{value}` is neither a status code nor a prefix such as 5+"),
            });
        }
    }
    any(checks, values.to_vec(), |wanted, record| {
        let code = record.http().map_or(0, |http| http.code);
        let text = code.to_string();
        code != 0
            && wanted
                .strip_suffix('+')
                .map_or_else(|| text == *wanted, |p| text.starts_with(p))
    });
    Ok(())
}

fn regexes(field: &'static str, values: &[String]) -> Result<Vec<Regex>, FilterError> {
    let build = |text: &String| {
        Regex::new(text).map_err(|error| FilterError {
            field,
            message: format!("`{text}` is not a regular expression: {error}"),
        })
    };
    values.iter().map(build).collect()
}

/// A message without a URL matches nothing.
fn url(record: &Record) -> Option<String> {
    let url = record.text(record.http()?.url);
    (!url.is_empty()).then(|| String::from_utf8_lossy(url).into_owned())
}

/// The path of the URL, decoded and without the query. A URL that cannot be read has none.
fn path(record: &Record) -> Option<String> {
    url_path(&url(record)?)
}
