//! The stories of hpack-test-case: blocks of other encoders and the fields they stand for.
//!
//! The folder is `$L7D_CORPORA/suites/hpack-test-case`.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "it fails where the suite is not as known"
)]

use std::path::{Path, PathBuf};

use parsers::Limits;
use parsers::hpack::{Decoder, Encoder, Field};
use serde_json::Value;

fn corpora() -> Option<PathBuf> {
    let folder = std::env::var_os("L7D_CORPORA").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("not run: L7D_CORPORA does not name the folder of the corpora");
    }
    folder
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a digit");
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::try_from(digit(pair[0]) << 4 | digit(pair[1])).expect("a byte"))
        .collect()
}

fn stories(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(stories(&path));
        } else if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn expected_fields(case: &Value) -> Vec<(String, String)> {
    let fields = case["headers"].as_array().expect("headers");
    let pairs = fields
        .iter()
        .flat_map(|field| field.as_object().expect("one field"));
    pairs
        .map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned()))
        .collect()
}

fn fields(decoder: &Decoder) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let list = decoder.list();
    list.iter()
        .map(|field| (text(field.name), text(field.value)))
        .collect()
}

/// Reads a story, and tells it again with our own encoder; gives back the number of blocks.
fn check(path: &Path) -> usize {
    let story = std::fs::read(path).expect("a story");
    let story: Value = serde_json::from_slice(&story).expect("json");
    let mut decoder = Decoder::new(&Limits::default());
    let (mut encoder, mut own) = (Encoder::new(1 << 16), Decoder::new(&Limits::default()));
    let cases = story["cases"].as_array().expect("cases");
    for (nth, case) in cases.iter().enumerate() {
        if let Some(bytes) = case["header_table_size"].as_u64() {
            let bytes = u32::try_from(bytes).expect("a table size");
            decoder.set_limit(bytes);
            own.set_limit(bytes);
            encoder.set_limit(bytes);
        }
        let expected = expected_fields(case);
        let wire = unhex(case["wire"].as_str().expect("wire"));
        let result = decoder.decode(&wire);
        assert_eq!(result, Ok(()), "{} {nth}", path.display());
        assert_eq!(fields(&decoder), expected, "{} {nth}", path.display());

        let mut block = Vec::new();
        let list = expected
            .iter()
            .map(|(name, value)| Field::new(name.as_bytes(), value.as_bytes()));
        encoder.encode(list, &mut block);
        assert_eq!(own.decode(&block), Ok(()), "{} {nth}", path.display());
        assert_eq!(fields(&own), expected, "{} {nth}", path.display());
    }
    cases.len()
}

#[test]
fn reads_and_tells_again_every_story_of_the_suite() {
    let Some(corpora) = corpora() else { return };
    let stories = stories(&corpora.join("suites/hpack-test-case"));
    assert!(stories.len() > 100, "only {} stories", stories.len());
    let blocks: usize = stories.iter().map(|path| check(path)).sum();
    eprintln!("{} stories, {blocks} blocks", stories.len());
}
