//! `init`, `schema` and `hash-key`: what goes into configurations.

use portcullis::config::files::Step;
use portcullis::config::load;

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
    assert_eq!(bench.run(&["init", "-"]).out, written);
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

#[test]
fn what_is_large_is_told_as_it_is_loaded() {
    let text = "version = 1\n[server]\nlisten = [\"127.0.0.1:8080\"]\n[upstream.app]\nservers = [\"builtin:echo\"]\n\
                [[route]]\nid = \"all\"\npath = \"/{*rest}\"\nupstream = \"app\"\n[network]\nmany = { file = \"many.txt\" }\n\
                [[ip.rule]]\nid = \"many\"\ndeny = [\"many\"]\n[[rbac.grant]]\nid = \"g\"\nroles = [\"anyone\"]\nmethods = [\"GET\"]\n";
    let bench = Bench::with(text);
    let steps = || {
        let mut steps = Vec::new();
        let path = bench.path().join("portcullis.toml");
        let tell = &mut |step: Step<'_>| match step {
            Step::Reading { path, done, length } => {
                steps.push((path.file_name().expect("a name").to_string_lossy().into_owned(), done, length));
            }
            Step::Compiling { bytes } => steps.push(("all".to_owned(), bytes, bytes)),
        };
        assert!(load::load_telling(&path, jiff::Timestamp::UNIX_EPOCH, tell).0.setup.is_some());
        steps
    };
    bench.write("many.txt", "192.0.2.1\n");
    assert_eq!(steps(), []);
    let many = "192.0.2.1 # many comments make a list large\n".repeat(240_000);
    bench.write("many.txt", &many);
    let steps = steps();
    let length = many.len() as u64;
    assert!(steps.len() >= 4, "{steps:?}");
    assert_eq!(steps.last(), Some(&("all".to_owned(), length, length)));
    let reading = &steps[..steps.len() - 1];
    assert!(reading.iter().all(|(name, _, of)| name == "many.txt" && *of == length), "{steps:?}");
    assert!(reading.windows(2).all(|pair| pair[0].1 < pair[1].1), "{steps:?}");
    assert_eq!(reading.last().map(|(_, done, _)| *done), Some(length));
    // Nothing of it where nobody looks at a terminal.
    let ran = bench.run(&["check"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.show());
}
