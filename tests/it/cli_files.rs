//! `init`, `schema` and `hash-key`: what goes into configurations.

use crate::support::command::Bench;

#[test]
fn init_writes_what_check_accepts_and_never_overwrites() {
    let bench = Bench::new();
    let ran = bench.run(&["init"]);
    assert_eq!(ran.code, 0, "{}", ran.show());
    let check = bench.run(&["check"]);
    assert_eq!(check.code, 0, "{}", check.show());
    let written = bench.read("portcullis.toml");
    assert_eq!(bench.run(&["init", "--stdout"]).out, written);
    bench.write("portcullis.toml", "mine");
    let again = bench.run(&["init"]);
    assert_eq!(again.code, 1, "{}", again.show());
    assert_eq!(bench.read("portcullis.toml"), "mine");
    assert_eq!(bench.run(&["init", "--force"]).code, 0);
    assert_eq!(bench.read("portcullis.toml"), written);
}

#[test]
fn schemas_are_json_documents() {
    let bench = Bench::new();
    let main = bench.run(&["schema"]).json();
    assert_eq!(main["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let included = bench.run(&["schema", "--included"]).json();
    assert!(included["properties"]["rbac"].is_object() && included["properties"]["server"].is_null());
}

#[test]
fn a_key_comes_from_a_file_or_standard_input() {
    let bench = Bench::new();
    // FIPS 180-4, the digest of "abc".
    let want = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n";
    for input in ["abc", "abc\n", "abc\r\n"] {
        assert_eq!(bench.run_with(&["hash-key"], input.as_bytes()).out, want);
    }
    bench.write("key", "abc\n");
    let ran = bench.run(&["hash-key", "key"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, want));
    assert!(ran.err.contains("short"));
    assert_eq!(bench.run_with(&["hash-key"], b"").code, 2);
    assert_eq!(bench.run(&["hash-key", "no-such-file"]).code, 2);
    assert!(bench.run_with(&["hash-key", "--password"], b"secret").out.starts_with("$argon2id$"));
}
