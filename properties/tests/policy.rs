//! What the policy engine says is what the words of policies say, whatever they are.

use proptest::prelude::*;

/// Few, so that they can be run all the time; `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig {
        cases: std::env::var_os("PROPTEST_CASES").map_or(64, |_| config.cases),
        failure_persistence: None,
        ..config
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn words_judge_and_kernel_say_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
        properties::check("policy_laws", &bytes);
    }
}
