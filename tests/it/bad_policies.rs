//! Malformed and hostile configurations: none is taken, nothing breaks, the old one stays.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::support::{Gateway, get, request};

/// Every part of the language once. The listener stands last, so that no truncation is whole.
const GOOD: &str = r#"version = 1
[upstream.demo]
servers = ["builtin:echo"]
[[route]]
id = "all"
path = "/{*rest}"
upstream = "demo"
authn = "optional"
accept = ["encoded-slash"]
[network]
office = ["192.0.2.0/24"]
[[ip.rule]]
id = "no-office"
path = "/office/{*rest}"
deny = ["office"]
except = ["192.0.2.7"]
[authn]
mode = "optional"
[[authn.api_key]]
id = "batch"
header = "x-api-key"
hash = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
roles = ["reader"]
[rbac.role.reader]
[rbac.role.writer]
inherits = ["reader"]
[[rbac.grant]]
id = "all"
roles = ["anyone"]
[[rbac.grant]]
id = "own"
roles = ["writer"]
path = "/users/{id}"
when = "claims.sub == path.id"
[[rbac.deny]]
id = "freeze"
methods = ["DELETE"]
until = 2030-01-01T00:00:00Z
[waf]
packs = []
[[waf.rule]]
id = "select"
score = 5
targets = ["query"]
match = { regex = 'union\s+select' }
[admin]
listen = "127.0.0.1:0"
token_file = "admin.token"
[log]
sink = { file = "decisions.jsonl" }
[timeouts]
drain_delay = "0s"
[server]
listen = ["127.0.0.1:0"]
"#;

/// Replacements in the good text, each of which makes it bad.
const EDITS: &[(&str, &str)] = &[
    ("version = 1", "version = 2"),
    ("version = 1", "version = \"1\""),
    ("version = 1", "version = 1\nversion = 1"),
    ("version = 1", "verson = 1"),
    ("version = 1", "version = 1\ninclude = [\"nothing/*.toml\"]"),
    ("version = 1", "version = 1\ninclude = [\"portcullis.toml\"]"),
    ("version = 1", "version = 1\ninclude = \"a\""),
    ("version = 1", "version = 1\n[unknown]"),
    ("version = 1", "version = 1\nx = \u{202e}1"),
    ("[upstream.demo]", "[upstream.Demo]"),
    ("[upstream.demo]", "[upstream.demo]\n[upstream.demo]"),
    ("builtin:echo", "ftp://example.com"),
    ("builtin:echo", "http://"),
    ("builtin:echo", "http://a/b"),
    ("builtin:echo", "http://a:99999"),
    ("[\"builtin:echo\"]", "[]"),
    ("[\"builtin:echo\"]", "[[\"builtin:echo\"]]"),
    ("id = \"all\"\npath", "id = \"ALL\"\npath"),
    ("id = \"all\"\npath", "id = \"\"\npath"),
    ("id = \"all\"\npath", "id = 7\npath"),
    ("id = \"all\"\npath", "path"),
    ("path = \"/{*rest}\"", "path = \"{*rest}\""),
    ("path = \"/{*rest}\"", "path = \"/{*rest}/x\""),
    ("path = \"/{*rest}\"", "path = \"/{a}/{a}\""),
    ("path = \"/{*rest}\"", "path = \"/../x\""),
    ("path = \"/{*rest}\"", "path = \"/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}\""),
    ("path = \"/{*rest}\"", "path = \"/{*rest}\"\nhost = \"http://x\""),
    ("path = \"/{*rest}\"", "path = \"/{*rest}\"\nhost = \"a.*.b\""),
    ("path = \"/{*rest}\"", "path = \"/{*rest}\"\nmode = \"off\""),
    ("path = \"/{*rest}\"", "path = \"/{*rest}\"\nmode = \"shadow\""),
    ("path = \"/{*rest}\"", "path = \"/{*rest}\"\nshadow_until = 2030-01-01T00:00:00Z"),
    ("path = \"/{*rest}\"", "path = \"/{*rest}\"\nbody_limit = \"lots\""),
    ("path = \"/{*rest}\"", "path = \"/{*rest}\"\nmethods = [\"get\"]"),
    ("upstream = \"demo\"", "upstream = \"demmo\""),
    ("upstream = \"demo\"", ""),
    ("authn = \"optional\"", "authn = \"maybe\""),
    ("accept = [\"encoded-slash\"]", "accept = [\"encoded_slash\"]"),
    ("accept = [\"encoded-slash\"]", "accept = \"encoded-slash\""),
    ("[network]\n", "[[route]]\nid = \"all\"\npath = \"/x\"\nupstream = \"demo\"\n[network]\n"),
    ("[network]\n", "[[route]]\nid = \"two\"\npath = \"/{*all}\"\nupstream = \"demo\"\n[network]\n"),
    ("\"192.0.2.0/24\"", "\"192.0.2.0/33\""),
    ("\"192.0.2.0/24\"", "\"192.0.2.1/24\""),
    ("\"192.0.2.0/24\"", "\"192.0.2.300\""),
    ("\"192.0.2.0/24\"", "\"012.0.0.1\""),
    ("\"192.0.2.0/24\"", "\"2001:db8::/129\""),
    ("\"192.0.2.0/24\"", "\"fe80::1%eth0\""),
    ("\"192.0.2.0/24\"", "\"nowhere\""),
    ("\"192.0.2.0/24\"", "\"office\""),
    ("\"192.0.2.0/24\"", "7"),
    ("[\"192.0.2.0/24\"]", "{ file = \"missing.txt\" }"),
    ("[\"192.0.2.0/24\"]", "{ file = \"\" }"),
    ("[\"192.0.2.0/24\"]", "{ file = \"empty.txt\" }"),
    ("[\"192.0.2.0/24\"]", "{ file = \"rubbish.txt\" }"),
    ("[\"192.0.2.0/24\"]", "{ file = \"folder\" }"),
    ("[\"192.0.2.0/24\"]", "{ file = \"fifo\" }"),
    ("[\"192.0.2.0/24\"]", "{ file = \"loop\" }"),
    ("[\"192.0.2.0/24\"]", "{ file = \"binary.txt\" }"),
    ("[\"192.0.2.0/24\"]", "{ file = \"/dev/zero\" }"),
    ("[\"192.0.2.0/24\"]", "{ fil = \"x\" }"),
    ("deny = [\"office\"]", "deny = [\"offices\"]"),
    ("deny = [\"office\"]", "deny = []"),
    ("deny = [\"office\"]", "deny = [\"office\"]\nallow = [\"office\"]"),
    ("deny = [\"office\"]", ""),
    ("deny = [\"office\"]", "deny = [\"office\"]\nroutes = [\"nowhere\"]"),
    ("deny = [\"office\"]", "deny = [\"office\"]\nroutes = []"),
    ("deny = [\"office\"]", "deny = [\"office\"]\nmode = \"of\""),
    ("id = \"no-office\"", "id = \"no-rule\""),
    ("mode = \"optional\"", "mode = \"required!\""),
    ("mode = \"optional\"", "mode = \"optional\"\nrevoked = { file = \"missing.toml\" }"),
    ("mode = \"optional\"", "mode = \"optional\"\nrevoked = { file = \"rubbish.txt\" }"),
    ("header = \"x-api-key\"", "header = \"x api key\""),
    ("header = \"x-api-key\"", "header = \"\""),
    ("sha256:ba78", "sha256:ba7"),
    ("sha256:ba78", "md5:ba78"),
    ("sha256:ba78", "zz"),
    ("roles = [\"reader\"]", "roles = [\"raeder\"]"),
    ("[rbac.role.reader]", "[rbac.role.anyone]"),
    ("[rbac.role.reader]", "[rbac.role.\"Big Boss\"]"),
    ("[rbac.role.reader]", "[rbac.role.reader]\ninherits = [\"writer\"]"),
    ("inherits = [\"reader\"]", "inherits = [\"writer\"]"),
    ("inherits = [\"reader\"]", "inherits = [\"nobody\"]"),
    ("id = \"all\"\nroles", "id = \"default-deny\"\nroles"),
    ("id = \"all\"\nroles", "id = \"own\"\nroles"),
    ("id = \"all\"\nroles", "id = \"freeze\"\nroles"),
    ("roles = [\"anyone\"]", ""),
    ("roles = [\"anyone\"]", "roles = []"),
    ("roles = [\"anyone\"]", "roles = [\"anyone\"]\nmode = \"shadow\""),
    ("roles = [\"anyone\"]", "roles = [\"anyone\"]\nmethods = []"),
    ("claims.sub == path.id", "claims.sub == path.other"),
    ("claims.sub == path.id", "claims.sub = path.id"),
    ("claims.sub == path.id", "claims.sub =="),
    ("claims.sub == path.id", "client.ip in nowhere"),
    ("claims.sub == path.id", "method > 7"),
    ("claims.sub == path.id", "system('x')"),
    (
        "claims.sub == path.id",
        "not not not not not not not not not not not not not not not not not has claims.x",
    ),
    ("claims.sub == path.id", "((((((((((((((((((((has claims.x))))))))))))))))))))"),
    ("until = 2030-01-01T00:00:00Z", "until = 2030-01-01"),
    ("until = 2030-01-01T00:00:00Z", "until = \"tomorrow\""),
    ("until = 2030-01-01T00:00:00Z", "until = 2030-13-01T00:00:00Z"),
    ("methods = [\"DELETE\"]", "methods = [\"DEL ETE\"]"),
    ("packs = []", "packs = [\"cors\"]"),
    ("packs = []", "packs = []\nparanoia = 9"),
    ("packs = []", "packs = []\nseclang = [\"x.conf\"]"),
    ("packs = []", "packs = []\nmode = \"shadow\""),
    ("packs = []", "packs = []\n[waf.body]\nlimit = \"0B\""),
    ("score = 5", ""),
    ("score = 5", "score = 5\naction = \"deny\""),
    ("score = 5", "score = -5"),
    ("targets = [\"query\"]", "targets = []"),
    ("targets = [\"query\"]", "targets = [\"querry\"]"),
    ("targets = [\"query\"]", "targets = [\"cookie:/(/\"]"),
    ("targets = [\"query\"]", "targets = [\"query\"]\ntransforms = [\"urldecode\"]"),
    ("match = { regex = 'union\\s+select' }", ""),
    ("match = { regex = 'union\\s+select' }", "match = { }"),
    ("match = { regex = 'union\\s+select' }", "match = { regexp = 'x' }"),
    ("union\\s+select", "union("),
    ("union\\s+select", "x*"),
    ("union\\s+select", "(?<=x+)y"),
    ("union\\s+select", "(?=x"),
    ("union\\s+select", "((a{1000}){1000}){1000}"),
    ("union\\s+select", "(a+)\\2"),
    ("union\\s+select", "\\xZZ"),
    ("listen = \"127.0.0.1:0\"", "listen = \"localhost:0\""),
    ("listen = \"127.0.0.1:0\"", "listen = \"127.0.0.1\""),
    ("file = \"decisions.jsonl\"", "flie = \"decisions.jsonl\""),
    ("drain_delay = \"0s\"", "drain_delay = 0"),
    ("drain_delay = \"0s\"", "drain_delay = \"-1s\""),
    ("drain_delay = \"0s\"", "drain_delay = \"1 fortnight\""),
    ("drain_delay = \"0s\"", "head = \"0s\""),
    ("[timeouts]", "[limits]\nhead = \"1KiB\"\n[timeouts]"),
    ("[timeouts]", "[limits]\nfields = 0\n[timeouts]"),
    ("[timeouts]", "[limits]\nconnections = 99999999999999999999\n[timeouts]"),
    ("[timeouts]", "[[disclosure]]\nlevel = \"all\"\n[timeouts]"),
    ("[timeouts]", "[[disclosure]]\nlevel = \"full\"\nroles = [\"sre\"]\n[timeouts]"),
    ("[timeouts]", "[contact]\nurl = \"javascript:alert(1)\"\n[timeouts]"),
    ("[timeouts]", "[upstream_headers]\nsubject = \"host\"\n[timeouts]"),
    ("[timeouts]", "[upstream_headers]\nsubject = \"x_subject\"\n[timeouts]"),
    ("listen = [\"127.0.0.1:0\"]", "listen = [\"127.0.0.1:0\"]\ntrusted_proxies = [\"0.0.0.0/0\"]"),
    (
        "listen = [\"127.0.0.1:0\"]",
        "listen = [\"127.0.0.1:0\"]\ntrusted_proxies = [\"0.0.0.0/1\", \"128.0.0.0/1\"]",
    ),
    ("listen = [\"127.0.0.1:0\"]", "listen = [\"127.0.0.1:0\"]\nclient_address = \"x-real-ip\""),
    ("listen = [\"127.0.0.1:0\"]", "listen = [\"127.0.0.1:8080\", \"127.0.0.1:8080\"]"),
    ("listen = [\"127.0.0.1:0\"]", "threads = 99999999"),
];

/// Texts that are no edit of the good one.
fn hostile() -> Vec<(String, Vec<u8>)> {
    let text = |name: &str, text: String| (name.to_owned(), text.into_bytes());
    let mut texts = vec![
        text("empty", String::new()),
        text("blank", " \n\n".to_owned()),
        text("not TOML", "<html><body>404</body></html>".to_owned()),
        text("JSON", "{\"version\": 1}".to_owned()),
        text("YAML", "version: 1\nserver:\n  listen: []\n".to_owned()),
        text("deep arrays", format!("version = {}1{}", "[".repeat(100_000), "]".repeat(100_000))),
        text("deep tables", format!("a{} = 1", ".a".repeat(100_000))),
        text("deep inline tables", format!("a = {}1{}", "{a=".repeat(100_000), "}".repeat(100_000))),
        text("a long line", format!("version = \"{}\"", "x".repeat(5_000_000))),
        text("many errors", "x y\n".repeat(200_000)),
        text(
            "many unknown keys",
            (0..50_000).fold(String::new(), |text, key| text + &format!("k{key} = 1\n")),
        ),
        ("invalid UTF-8".to_owned(), [GOOD.as_bytes(), b"\n# \xff\xfe\n"].concat()),
        ("NUL".to_owned(), [GOOD.as_bytes(), b"\n\0\n"].concat()),
        ("UTF-16".to_owned(), GOOD.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("a large file".to_owned(), vec![b'#'; 70 << 20]),
    ];
    let rule = "[[rbac.grant]]\nid = \"g\"\nroles = [\"anyone\"]\npath = \"/some/path/of/usual/length\"\n";
    texts.push(text("a million rules", GOOD.to_owned() + &rule.repeat(1_000_000)));
    texts
}

#[test]
fn none_of_five_hundred_is_taken_and_each_is_told_by_file_and_line() {
    let folder = tempfile::tempdir().expect("a folder");
    files(folder.path());
    let gateway = Gateway::start_in(folder, GOOD, &[]);
    let token = fs::read_to_string(gateway.folder().join("admin.token")).expect("made");
    let bearer = format!("Bearer {}", token.trim());
    let admin = gateway.admin.expect("an admin listener");
    let mut count = 0;
    let mut refused = |name: &str, bytes: &[u8]| {
        fs::write(gateway.folder().join("next"), bytes).expect("written");
        fs::rename(gateway.folder().join("next"), gateway.folder().join("portcullis.toml")).expect("renamed");
        let response = request(admin, "POST", "/api/reload", &[("Authorization", &bearer)], b"");
        assert_eq!(
            response.status,
            422,
            "{name} was taken:\n{}",
            String::from_utf8_lossy(&bytes[..bytes.len().min(3000)])
        );
        let errors = response.json()["errors"].clone();
        let first = errors[0].as_str().unwrap_or("");
        let told = ["portcullis.toml:", ".txt:"].iter().any(|file| {
            let behind = first.split_once(file).map(|(_, behind)| behind);
            behind.is_some_and(|behind| behind.starts_with(|digit: char| digit.is_ascii_digit()))
        });
        // A file that cannot be read at all has no lines.
        let unreadable = first.contains("cannot be read");
        assert!(told || unreadable, "{name}: {errors}");
        count += 1;
    };
    for end in (0..GOOD.len() - 1).step_by(2) {
        refused(&format!("truncated at {end}"), &GOOD.as_bytes()[..end]);
    }
    for (from, to) in EDITS {
        assert!(GOOD.contains(from), "{from}");
        refused(&format!("{from} -> {to}"), GOOD.replacen(from, to, 1).as_bytes());
    }
    for (name, bytes) in hostile() {
        refused(&name, &bytes);
    }
    assert!(count >= 500, "only {count}");
    let response = get(gateway.address, "/");
    assert_eq!(response.status, 200);
    assert!(response.header("x-portcullis-policy").is_some_and(|policy| policy.starts_with("1-")));
}

#[test]
fn what_is_no_file_is_not_read() {
    let folder = tempfile::tempdir().expect("a folder");
    files(folder.path());
    for (name, why) in [
        ("folder", "it is a directory"),
        ("fifo", "it is not a regular file"),
        ("loop", "symbolic links"),
        ("missing", "there is no such file"),
        ("/dev/zero", "it is not a regular file"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(["run", "--config", name])
            .current_dir(folder.path())
            .output()
            .expect("the binary runs");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{name}: {error}");
        assert!(error.contains(why), "{name}: {error}");
    }
}

fn files(folder: &Path) {
    fs::create_dir(folder.join("folder")).expect("made");
    fs::write(folder.join("empty.txt"), "# nothing\n").expect("written");
    fs::write(folder.join("rubbish.txt"), "192.0.2.1\nhello\n").expect("written");
    fs::write(folder.join("binary.txt"), b"192.0.2.1\n\xff\xff\n").expect("written");
    symlink("loop", folder.join("loop")).expect("linked");
    assert!(Command::new("mkfifo").arg(folder.join("fifo")).status().expect("mkfifo runs").success());
}
