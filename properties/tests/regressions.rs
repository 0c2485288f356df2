//! What the fuzzer once found stays fixed: the inputs in `fuzz/regressions/TARGET/` keep to the
//! properties of their targets.

use std::path::Path;

use properties::{TARGETS, property};

#[test]
fn what_was_found_once_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/regressions");
    let mut inputs = 0;
    for target in std::fs::read_dir(folder).unwrap() {
        let target = target.unwrap();
        let name = target.file_name().into_string().unwrap();
        let property = property(&name).unwrap_or_else(|| panic!("{name} is no target"));
        for input in std::fs::read_dir(target.path()).unwrap() {
            let path = input.unwrap().path();
            eprintln!("{}", path.display());
            property(&std::fs::read(&path).unwrap());
            inputs += 1;
        }
    }
    assert!(inputs > 0, "no input was found");
}

#[test]
fn a_policy_with_every_field_holds() {
    let text = include_str!("../../testdata/policies/every-field.yaml");
    let property = property("policy_yaml").unwrap();
    property(text.as_bytes());
    // Cut off, and with each line left out.
    let lines: Vec<&str> = text.lines().collect();
    for at in 0..lines.len() {
        property(lines[..at].join("\n").as_bytes());
        let rest = [&lines[..at], &lines[at + 1..]].concat();
        property(rest.join("\n").as_bytes());
    }
}

#[test]
fn every_target_takes_nothing_and_noise() {
    let noise: Vec<u8> = (0..4096_u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0])
        .collect();
    for (_, property) in TARGETS {
        for length in [0, 1, 2, 11, 300, 4096] {
            property(&noise[..length]);
        }
    }
}

#[test]
fn every_target_has_a_program() {
    let manifest = include_str!("../../fuzz/Cargo.toml");
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}
