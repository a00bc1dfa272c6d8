//! The house rules that a compiler does not know: which way imports point, what the core may not
//! name, and how files begin and are called.
//!
//! The source is read as text. Comments, strings and test code are blanked out first; what is left
//! is searched for paths that begin with a room (`crate::room`) or an external crate.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A room of `src` and what its code may name.
struct Room {
    name: &'static str,
    /// Other rooms.
    rooms: &'static [&'static str],
    crates: Crates,
}

/// The external crates that a room may name.
enum Crates {
    /// These. The core has such a list, so that every new dependency of it is a decision.
    Only(&'static [&'static str]),
    /// All but these.
    Not(&'static [&'static str]),
}

const CORE: &[&str] = &["decision", "facts", "policy"];

/// Crates of the command line and of formats that only it writes.
const CLI_ONLY: &[&str] = &["anstream", "anstyle", "annotate_snippets", "clap", "clap_complete"];

/// The house, from left to right: a room uses rooms to its left.
const ROOMS: &[Room] = &[
    Room { name: "decision", rooms: &[], crates: Crates::Only(&["jiff", "smallvec"]) },
    Room {
        name: "facts",
        rooms: &["decision"],
        crates: Crates::Only(&["bytes", "http", "jiff", "memchr", "proxy_header", "serde_json", "smallvec"]),
    },
    Room {
        name: "policy",
        rooms: &["decision", "facts"],
        crates: Crates::Only(&[
            "aho_corasick",
            "argon2",
            "aws_lc_rs",
            "base64",
            "bcrypt",
            "bytemuck",
            "bytes",
            "bytesize",
            "flate2",
            "htmlize",
            "http",
            "ipnet",
            // For memory alone: what maps files is among what the core may not name.
            "memmap2",
            "jiff",
            "jsonwebtoken",
            "libinjectionrs",
            "memchr",
            "percent_encoding",
            "quick_xml",
            "regex",
            "regex_automata",
            "regex_syntax",
            "schemars",
            "serde",
            "serde_json",
            "smallvec",
            "toml",
            "unicode_normalization",
        ]),
    },
    Room { name: "metrics", rooms: CORE, crates: Crates::Not(CLI_ONLY) },
    Room { name: "deny", rooms: CORE, crates: Crates::Not(CLI_ONLY) },
    Room { name: "otlp", rooms: &["decision", "facts", "policy", "metrics"], crates: Crates::Not(CLI_ONLY) },
    Room {
        name: "audit",
        rooms: &["decision", "facts", "policy", "metrics", "deny"],
        crates: Crates::Not(CLI_ONLY),
    },
    Room { name: "state", rooms: &["decision", "facts", "policy", "metrics"], crates: Crates::Not(CLI_ONLY) },
    Room {
        name: "config",
        rooms: &["decision", "facts", "policy", "metrics", "deny", "audit", "state"],
        crates: Crates::Not(CLI_ONLY),
    },
    Room {
        name: "upstream",
        rooms: &["decision", "facts", "policy", "metrics", "deny", "audit", "state", "config"],
        crates: Crates::Not(CLI_ONLY),
    },
    Room {
        name: "layers",
        rooms: &[
            "decision", "facts", "policy", "metrics", "deny", "audit", "otlp", "state", "config", "upstream",
        ],
        crates: Crates::Not(CLI_ONLY),
    },
    Room {
        name: "serve",
        rooms: &[
            "decision", "facts", "policy", "metrics", "deny", "audit", "otlp", "state", "config", "layers",
            "upstream", "admin",
        ],
        crates: Crates::Not(CLI_ONLY),
    },
    Room {
        name: "admin",
        rooms: &[
            "decision", "facts", "policy", "metrics", "deny", "audit", "otlp", "state", "config", "layers",
            "upstream", "serve",
        ],
        crates: Crates::Not(CLI_ONLY),
    },
    Room {
        name: "cli",
        rooms: &[
            "decision", "facts", "policy", "metrics", "deny", "audit", "otlp", "state", "config", "layers",
            "upstream", "serve", "admin",
        ],
        crates: Crates::Not(&[]),
    },
    Room { name: "main", rooms: &[], crates: Crates::Not(&[]) },
];

/// What code of the core may not name, because it is input, output, time or chance.
const NOT_IN_CORE: &[&str] = &[
    "MmapOptions",
    "Mmap::map(",
    "MmapMut::map_mut",
    "std::env",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "Zoned::now",
    "RandomState::new",
    "RandomState::default",
    "aws_lc_rs::rand",
    "println!",
    "print!",
    "eprintln!",
    "eprint!",
    "dbg!",
];

/// Names that say nothing about what is in a file.
const NO_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "manager", "misc"];

/// A source file without what is not code.
struct File {
    /// Relative to the root of the repository.
    path: PathBuf,
    room: String,
    raw: String,
    /// The same lines with comments, strings and test code blanked out.
    code: String,
}

#[test]
fn imports_point_one_way() {
    let (files, crates) = (files(), crates());
    let mut found = String::new();
    for file in &files {
        let Some(room) = ROOMS.iter().find(|room| room.name == file.room) else {
            report(
                &mut found,
                file,
                0,
                "this room is not in the house: add it to `ROOMS` in tests/it/tidy.rs",
            );
            continue;
        };
        for (at, other) in rooms_named(&file.code) {
            if other != room.name && !room.rooms.contains(&other.as_str()) {
                let message = format!("`{}` may not use `crate::{other}`", room.name);
                report(&mut found, file, at, &message);
            }
        }
        for name in &crates {
            let allowed = match &room.crates {
                Crates::Only(list) => list.contains(&name.as_str()),
                Crates::Not(list) => !list.contains(&name.as_str()),
            };
            if !allowed {
                for at in paths(&file.code, name) {
                    report(&mut found, file, at, &format!("`{}` may not use the crate `{name}`", room.name));
                }
            }
        }
    }
    assert!(found.is_empty(), "\n{found}");
}

#[test]
fn the_core_has_no_input_output_time_or_chance() {
    let mut found = String::new();
    for file in files().iter().filter(|file| CORE.contains(&file.room.as_str())) {
        for name in NOT_IN_CORE {
            for at in mentions(&file.code, name) {
                report(&mut found, file, at, &format!("the core may not name `{name}`"));
            }
        }
    }
    assert!(found.is_empty(), "\n{found}");
}

#[test]
fn every_file_says_what_it_is_for() {
    let mut found = String::new();
    for file in everywhere() {
        if !file.raw.starts_with("//!") {
            report(
                &mut found,
                &file,
                0,
                "a file opens with `//!`: what it is for, who calls it, what it promises",
            );
        }
    }
    assert!(found.is_empty(), "\n{found}");
}

#[test]
fn names_say_what_is_in_a_file() {
    let mut found = String::new();
    for file in everywhere() {
        for part in file.path.with_extension("").components() {
            let part = part.as_os_str().to_string_lossy();
            if NO_NAMES.contains(&&*part) {
                report(&mut found, &file, 0, &format!("`{part}` is no name: say what is in it"));
            }
        }
    }
    assert!(found.is_empty(), "\n{found}");
}

fn report(found: &mut String, file: &File, at: usize, message: &str) {
    let line = file.code[..at].matches('\n').count() + 1;
    let _ = writeln!(found, "{}:{line}: {message}", file.path.display());
}

// === reading ===

/// The files of `src` that are more than test code.
fn files() -> Vec<File> {
    read_all("src").into_iter().filter(|file| !is_test(&file.path)).collect()
}

/// Every Rust file that people read.
fn everywhere() -> Vec<File> {
    ["src", "tests", "benches"].into_iter().flat_map(read_all).collect()
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs")
}

fn read_all(folder: &str) -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut open = vec![root.join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.expect("a readable folder").path()) {
            if path.is_dir() {
                // Fuzz targets are a crate of their own, with a build folder inside.
                if path.file_name().is_some_and(|name| name != "target" && name != "fuzz") {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let raw = std::fs::read_to_string(&path).expect("a readable file");
                let path = path.strip_prefix(root).expect("a path in the repository").to_owned();
                let room =
                    path.components().nth(1).map(|part| part.as_os_str().to_string_lossy().into_owned());
                let room = room.unwrap_or_default().trim_end_matches(".rs").to_owned();
                let code = without_tests(&without_text(&raw));
                files.push(File { path, room, raw, code });
            }
        }
    }
    // The front page names the rooms, but has no code.
    files.retain(|file| !file.path.ends_with("src/lib.rs"));
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// The names of the external crates, as code writes them.
fn crates() -> BTreeSet<String> {
    let manifest = include_str!("../../Cargo.toml").parse::<toml::Table>().expect("a manifest");
    let dependencies = manifest["dependencies"].as_table().expect("dependencies");
    dependencies.keys().map(|name| name.replace('-', "_")).collect()
}

/// Blanks out comments, strings and character literals; every byte keeps its place.
fn without_text(raw: &str) -> String {
    let bytes = raw.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match &bytes[at..] {
            [b'/', b'/', ..] => find(bytes, at, b"\n"),
            [b'/', b'*', ..] => comment_end(bytes, at),
            [b'"', ..] => string_end(bytes, at),
            [b'r', b'"' | b'#', ..] if !in_word(bytes, at) => raw_string_end(bytes, at),
            [b'b', b'r', b'"' | b'#', ..] if !in_word(bytes, at) => raw_string_end(bytes, at + 1),
            [b'\'', b'\\', ..] => find(bytes, at + 3, b"'") + 1,
            [b'\'', ..] => char_end(raw, at),
            _ => at,
        };
        for byte in &mut code[at..end.min(bytes.len())] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8(code).expect("whole characters are blanked")
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> usize {
    let found = bytes.get(from..).and_then(|rest| rest.windows(what.len()).position(|window| window == what));
    found.map_or(bytes.len(), |at| from + at)
}

fn comment_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0;
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string_end(bytes: &[u8], mut at: usize) -> usize {
    at += 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// `r"…"`, `r#"…"#`; but `r#type` is a name.
fn raw_string_end(bytes: &[u8], at: usize) -> usize {
    let hashes = bytes[at + 1..].iter().take_while(|byte| **byte == b'#').count();
    let open = at + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return at;
    }
    let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    find(bytes, open + 1, &close) + close.len()
}

/// `'x'` is a character, `'x` a lifetime.
fn char_end(raw: &str, at: usize) -> usize {
    let mut rest = raw[at + 1..].char_indices();
    let second = rest.nth(1);
    second.filter(|(_, c)| *c == '\'').map_or(at, |(length, _)| at + 1 + length + 1)
}

fn in_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && is_word(bytes[at - 1])
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Blanks out the items behind `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let mut bytes = code.as_bytes().to_vec();
    let mut from = 0;
    while let Some(found) = code[from..].find("#[cfg(test)]") {
        let start = from + found;
        let end = item_end(&bytes, start + "#[cfg(test)]".len());
        bytes[start..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        from = end;
    }
    String::from_utf8(bytes).expect("strings and comments are gone, so only ASCII is blanked, or whole items")
}

/// An item ends with its block, or with a semicolon before any block.
fn item_end(bytes: &[u8], from: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in bytes.iter().enumerate().skip(from) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return at + 1,
            b'}' => depth -= 1,
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    bytes.len()
}

// === finding ===

/// The rooms that code names: `crate::room`, and each of `crate::{room, room}`.
fn rooms_named(code: &str) -> Vec<(usize, String)> {
    let word = |text: &str| text.bytes().take_while(|byte| is_word(*byte)).count();
    let mut named = Vec::new();
    for at in paths(code, "crate") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => named.push((at, rest[..word(rest)].to_owned())),
            Some(list) => {
                let mut depth = 0;
                let mut fresh = true;
                for (index, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => fresh = true,
                        c if fresh && depth == 0 && (c.is_alphabetic() || c == '_') => {
                            named.push((at, list[index..][..word(&list[index..])].to_owned()));
                            fresh = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    named.retain(|(_, name)| !name.is_empty());
    named
}

/// Where a path begins with this name.
fn paths(code: &str, name: &str) -> Vec<usize> {
    let with_colons = format!("{name}::");
    let begins = |at: usize| !code[..at].trim_end().ends_with("::") && !code[..at].ends_with('$');
    mentions(code, &with_colons).into_iter().filter(|at| begins(*at)).collect()
}

/// Where a name stands, as a word of its own.
fn mentions(code: &str, name: &str) -> Vec<usize> {
    code.match_indices(name).map(|(at, _)| at).filter(|at| !in_word(code.as_bytes(), *at)).collect()
}

// === the reader itself ===

fn check(raw: &str, rooms: &[&str]) {
    let code = without_tests(&without_text(raw));
    assert_eq!(code.len(), raw.len());
    let named: Vec<String> = rooms_named(&code).into_iter().map(|(_, name)| name).collect();
    assert_eq!(named, rooms, "{raw}");
}

#[test]
fn rooms_are_found_in_code_and_nowhere_else() {
    check("use crate::policy::Policy;", &["policy"]);
    check("use crate::{\n    facts::{Facts, Who},\n    policy,\n};", &["facts", "policy"]);
    check("fn f() -> crate::decision::Stage {}", &["decision"]);
    check("// crate::policy\n/* crate::policy /* crate::a */ crate::b */", &[]);
    check("let a = \"crate::policy \\\" crate::a\"; let b = r#\"crate::b \" crate::c\"#;", &[]);
    check(
        "let q = '\"'; use crate::facts; let r = '\\''; use crate::policy; fn f<'a>() {}",
        &["facts", "policy"],
    );
    check("#[cfg(test)]\nmod tests {\n  use crate::policy; fn f() { {} }\n}\nuse crate::facts;", &["facts"]);
    check("#[cfg(test)]\nmod tests;\nuse crate::facts;", &["facts"]);
    check("use super::krate::policy; $crate::policy; my_crate::policy", &[]);
    check("r#match: crate::facts::A", &["facts"]);
}

#[test]
fn crates_are_found_where_a_path_begins_with_them() {
    let found = |code: &str| paths(code, "http").len();
    assert_eq!(found("use http::Uri; fn f(a: http::Method) {}"), 2);
    assert_eq!(found("crate::http::X; self::http::Y; xhttp::Z; http_body::W"), 0);
}
