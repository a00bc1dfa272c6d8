//! `check` on a policy with many faults in it, and on those that ship with portcullis.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::command::Bench;

/// Each fault stands on the line that it is reported for, with its code behind it.
const PLANTED: &str = r#"version = 1

[server]
listen = ["127.0.0.1:8080"]
trusted_proxies = ["0.0.0.0/0"]                 # trusts-the-world

[upstream.app]
servers = ["http://127.0.0.1:9001"]

[upstream.old]
servers = ["http://127.0.0.1:9009"]             # unused-name

[[route]]
id = "app"
host = "app.example.com"
path = "/{*rest}"
upstream = "app"

[[route]]
id = "metrics"                                  # unreached-route
host = "metrics.example.com"
path = "/{*rest}"
upstream = "app"

[[route]]
id = "files"                                    # shadowed-route
host = "app.example.com"
path = "/files"
upstream = "app"

[[route]]
id = "files-beta"
host = "app.example.com"
path = "/files"
headers = { x-beta = true }
upstream = "app"

[[route]]
id = "files-stable"
host = "app.example.com"
path = "/files"
headers = { x-beta = false }
upstream = "app"

[network]
office = ["192.0.2.0/24"]
vpn = ["198.51.100.0/24"]
lab = ["203.0.113.0/24"]                        # unused-name

[[ip.rule]]
id = "admin-from-office"
path = "/admin/{*rest}"
allow = ["office"]

[[ip.rule]]                                     # shadowed-rule
id = "admin-from-vpn-too"
path = "/admin/{*rest}"
allow = ["office", "vpn"]

[[authn.api_key]]
id = "batch"
header = "x-api-key"
hash = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
roles = ["reader", "admin"]

[rbac.role.reader]
[rbac.role.admin]
inherits = ["reader"]
[rbac.role.auditor]                             # role-without-source
[rbac.role.intern]                              # unused-name

[[rbac.grant]]
id = "orders-read"
roles = ["reader"]
host = "app.example.com"
methods = ["GET", "HEAD"]
path = "/orders/{*rest}"

[[rbac.grant]]
id = "files"
roles = ["reader"]
host = "app.example.com"
path = "/files"

[[rbac.grant]]                                  # redundant-grant
id = "one-order"
roles = ["admin"]
host = "app.example.com"
methods = ["GET"]
path = "/orders/{id}"

[[rbac.grant]]                                  # never-matches
id = "shop"
roles = ["reader"]
host = "shop.example.com"
path = "/shop/{*rest}"

[[rbac.grant]]
id = "audit"
roles = ["auditor"]
host = "app.example.com"
path = "/audit/{*rest}"
until = 2020-01-01T00:00:00Z                    # never-valid

[[rbac.grant]]
id = "help"
roles = ["anyone"]
host = "app.example.com"
path = "/Orders/help"                           # lookalike-path

[[rbac.grant]]                                  # unknown-claim
id = "own-profile"
roles = ["reader"]
host = "app.example.com"
path = "/users/{id}"
when = "claims.sub == path.id"

[[rbac.grant]]
id = "reports"
roles = ["reader"]
host = "app.example.com"
path = "/internal/reports"

[[rbac.deny]]                                   # overbroad-deny
id = "internal-closed"
path = "/internal/{*rest}"

[[rbac.deny]]                                   # shadowed-rule
id = "no-internal-writes"
path = "/internal/{*rest}"
methods = ["POST", "PUT"]

[[rbac.deny]]
id = "no-deletes"
methods = ["DELETE"]
mode = "shadow"
shadow_until = 2020-01-01T00:00:00Z             # shadow-ended

[[rbac.deny]]
id = "no-patches"
methods = ["PATCH"]
mode = "shadow"                                 # shadow-rule-without-end

[[waf.rule]]
id = "comment"
score = 5
targets = ["query:comment"]
match = { regex = '^.+$' }                      # matches-everything

[[waf.rule]]
id = "shout"
score = 5
targets = ["query:comment"]
transforms = ["lowercase"]
match = { regex = 'DROP\s+TABLE' }              # never-matches

[[waf.rule]]
id = "script"
action = "deny"
targets = ["query"]
match = { contains = "<script" }

[[waf.rule]]                                    # shadowed-rule
id = "script-in-orders"
action = "deny"
path = "/orders/{*rest}"
targets = ["query"]
match = { contains = "<script" }

[[waf.exclude]]
id = "search-box"
targets = ["form:q"]
rules = ["waf/comment"]                         # useless-exclusion

[[lint.allow]]                                  # unused-allow
code = "demo-key"
reason = "there was one once"
"#;

#[test]
fn every_planted_fault_is_found_where_it_stands_and_nothing_else() {
    let planted: BTreeSet<(u64, String)> = (1..)
        .zip(PLANTED.lines())
        .filter_map(|(line, text)| Some((line, text.split_once("  # ")?.1.to_owned())))
        .collect();
    assert!(planted.len() >= 22);
    let bench = Bench::with(PLANTED);
    let ran = bench.run(&["check", "--format", "json"]);
    assert_eq!(ran.code, 1, "{}", ran.show());
    let document = ran.json();
    let found: BTreeSet<(u64, String)> = document["diagnostics"]
        .as_array()
        .expect("findings")
        .iter()
        .map(|found| {
            let code = found["code"].as_str().expect("a code").to_owned();
            (found["line"].as_u64().expect("a line"), code)
        })
        .collect();
    assert_eq!(found, planted);
    // Each has a page of its own.
    for (_, code) in planted {
        let ran = bench.run(&["explain", "--lint", &code]);
        assert_eq!(ran.code, 0, "{}", ran.show());
        for part in ["Why it matters", "Example", "How to mend it"] {
            assert!(ran.out.contains(part), "{}", ran.show());
        }
    }
}

#[test]
fn a_grant_that_ends_soon_is_reported_by_the_clock() {
    let soon = |until: jiff::Timestamp| {
        let grant = format!(
            "[[rbac.grant]]\nid = \"guest\"\nroles = [\"anyone\"]\npath = \"/guests\"\nuntil = {until}\n"
        );
        let text = PLANTED.replacen(
            "[[rbac.grant]]\nid = \"orders-read\"",
            &(grant + "[[rbac.grant]]\nid = \"orders-read\""),
            1,
        );
        Bench::with(&text).run(&["check", "--format", "json"]).out.contains("grant-expires-soon")
    };
    let now = jiff::Timestamp::now();
    let in_hours = |hours: i64| now + jiff::SignedDuration::from_hours(hours);
    assert!(soon(in_hours(24 * 13)) && !soon(in_hours(24 * 15)) && !soon(in_hours(-24)));
}

#[test]
fn no_lint_fires_on_what_ships() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("a folder") {
        let file = entry.expect("an entry").path();
        if file.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let ran = Bench::new().run(&["check", "--deny", "warnings", "--config", &file.display().to_string()]);
        assert_eq!(ran.code, 0, "{}: {}", file.display(), ran.show());
        count += 1;
    }
    assert!(count >= 3);
    let bench = Bench::new();
    assert_eq!(bench.run(&["init"]).code, 0);
    let ran = bench.run(&["check", "--deny", "warnings"]);
    assert_eq!(ran.code, 0, "{}", ran.show());
}

#[test]
fn what_is_allowed_is_counted_and_told_with_its_reason() {
    let bench = Bench::with(
        &PLANTED.replace("code = \"demo-key\"", "code = \"unused-name\"\nname = \"role/intern\""),
    );
    let document = bench.run(&["check", "--format", "json"]).json();
    let allowed = document["allowed"].as_array().expect("a list");
    assert_eq!(allowed.len(), 1);
    assert_eq!(allowed[0]["about"], "role/intern");
    assert_eq!(allowed[0]["reason"], "there was one once");
    // A lint that would stop `run` can be allowed too, by whoever answers for it.
    let text = "version = 1\n[server]\nlisten = [\"127.0.0.1:8080\"]\ntrusted_proxies = [\"::/0\"]\n\
                [upstream.app]\nservers = [\"builtin:echo\"]\n[[route]]\nid = \"r\"\npath = \"/{*rest}\"\nupstream = \"app\"\n\
                [[rbac.grant]]\nid = \"g\"\nroles = [\"anyone\"]\nmethods = [\"GET\"]\n";
    assert_eq!(Bench::with(text).run(&["check"]).code, 1);
    let allow =
        "[[lint.allow]]\ncode = \"trusts-the-world\"\nreason = \"only the balancer reaches this port\"\n";
    let ran = Bench::with(&format!("{text}{allow}")).run(&["check", "--verbose"]);
    assert_eq!(ran.code, 0, "{}", ran.show());
    assert!(
        ran.out.contains("1 finding allowed") && ran.out.contains("only the balancer reaches"),
        "{}",
        ran.show()
    );
}

/// The cost of lints grows with the rules, and not with their square.
#[test]
fn many_rules_are_looked_through_in_bounded_steps() {
    let mut text = String::from(
        "version = 1\n[server]\nlisten = [\"127.0.0.1:8080\"]\n[upstream.app]\nservers = [\"http://127.0.0.1:9001\"]\n\
         [[route]]\nid = \"all\"\npath = \"/{*rest}\"\nupstream = \"app\"\n[rbac.role.r]\n\
         [[authn.jwt]]\nid = \"j\"\nissuer = \"https://j.test\"\naudience = [\"a\"]\nalgorithms = [\"RS256\"]\njwks = { url = \"https://j.test/k\" }\nroles = \"roles\"\n",
    );
    // All at one place, so that each might be compared with each.
    for number in 0..2_000 {
        text.push_str(&format!("[[rbac.grant]]\nid = \"g{number}\"\nroles = [\"r\"]\npath = \"/a/{{*rest}}\"\nwhen = 'header.x == \"{number}\"'\n"));
        text.push_str(&format!(
            "[[ip.rule]]\nid = \"i{number}\"\npath = \"/a/{{*rest}}\"\ndeny = [\"10.{}.{}.1\"]\n",
            number / 256,
            number % 256
        ));
    }
    let bench = Bench::with(&text);
    let ran = bench.run(&["check", "--format", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.show());
    assert_eq!(ran.json()["summary"]["warnings"], 0);
}
