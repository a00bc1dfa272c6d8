//! The decision tables in `tests/cases`, run as a user would run them.

use crate::support::command::Bench;

#[test]
fn every_case_passes() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases");
    let ran = Bench::new().run(&["test", folder]);
    assert_eq!(ran.code, 0, "{}", ran.show());
}
