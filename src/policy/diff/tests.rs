//! Differences: case by case, and the cells against every single request.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::decision::Stage;
use crate::policy::fixture::{ask, compile_with, time};
use crate::policy::rbac::Access;
use crate::policy::scope::PathPattern;

const NOW: &str = "2026-11-24T12:00:00Z";

fn difference_with(old: &str, new: &str, files: [&str; 2]) -> Difference {
    let side = |text: &str, list: &str| {
        let mut sources = Sources::single("t.toml", text);
        sources.attach("list.txt", list);
        let policy = compile_with(text, &[("list.txt", Some(list))]);
        (policy.0.unwrap_or_else(|| panic!("{:#?}", policy.1)), sources)
    };
    let (was, is) = (side(old, files[0]), side(new, files[1]));
    Difference::between(
        Version { policy: &was.0, sources: &was.1 },
        Version { policy: &is.0, sources: &is.1 },
        time(NOW),
    )
}

fn difference(old: &str, new: &str) -> Difference {
    difference_with(old, new, ["", ""])
}

/// The names that differ, with how and why.
fn names(list: &[ChangedName]) -> Vec<String> {
    let show =
        |found: &ChangedName| format!("{} {} {}", found.name, found.kind.name(), found.because.join(", "));
    list.iter().map(|found| show(found).trim_end().to_owned()).collect()
}

fn cells(difference: &Difference) -> Vec<String> {
    let changes = difference.cells.changes.iter();
    changes
        .map(|cell| {
            format!(
                "{}{} {} {}{} {:?}→{:?} by {}",
                cell.role,
                cell.subjects.iter().map(|name| format!("={name}")).collect::<String>(),
                cell.methods.join("+"),
                cell.hosts.join("|"),
                cell.path,
                cell.from,
                cell.to,
                cell.rules.join(", ")
            )
        })
        .collect()
}

const ROLES: &str = "[rbac.role.reader]\n[rbac.role.writer]\ninherits = [\"reader\"]\n";

fn grant(id: &str, more: &str) -> String {
    format!("[[rbac.grant]]\nid = \"{id}\"\n{more}\n")
}

#[test]
fn spelling_is_no_difference() {
    let old = format!(
        "{ROLES}[[rbac.grant]]\nid = \"a\"\npath = \"/a\"\nroles = [\"reader\", \"writer\"]\nreason = \"x\"\n"
    );
    let new = format!(
        "# new\n[[rbac.grant]]\nroles = ['writer', 'reader']\npaths = [\"/a\"]\nid = \"a\"\nremediation = \"y\"\n{ROLES}"
    );
    let found = difference(&old, &new);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_role_gains_and_loses_by_rules() {
    let old =
        format!("{ROLES}{}", grant("a", "roles = [\"reader\"]\nmethods = [\"GET\"]\npath = \"/a/{*rest}\""));
    let new = format!(
        "{ROLES}{}[[rbac.deny]]\nid = \"no\"\npath = \"/a/b\"\n",
        grant("a", "roles = [\"reader\"]\nmethods = [\"GET\", \"PUT\"]\npath = \"/a/{*rest}\"")
    );
    let found = difference(&old, &new);
    assert_eq!(names(&found.rules), ["rbac/a changed itself", "rbac/no added"]);
    assert_eq!(
        cells(&found),
        [
            "reader PUT /a/{*rest} Never→Always by rbac/a",
            "reader GET /a/b Always→Never by rbac/a, rbac/no",
            "writer PUT /a/{*rest} Never→Always by rbac/a",
            "writer GET /a/b Always→Never by rbac/a, rbac/no",
        ]
    );
}

#[test]
fn what_begins_or_ends_is_allowed_at_times_only() {
    let reads = |more: &str| {
        let keys = "roles = [\"writer\"]\nmethods = [\"GET\"]\npath = \"/a\"\n";
        format!("{ROLES}{}", grant("a", &format!("{keys}{more}")))
    };
    for window in ["from = 2026-01-01T00:00:00Z", "until = 2027-01-01T00:00:00Z"] {
        let found = difference(&reads(""), &reads(window));
        assert_eq!(cells(&found), ["writer GET /a Always→Sometimes by rbac/a"], "{window}");
    }
}

#[test]
fn what_a_rule_refers_to_changes_it() {
    let rule = "[[ip.rule]]\nid = \"o\"\nallow = [\"office\"]\n";
    let old = format!("[network]\noffice = [\"lab\"]\nlab = [\"192.0.2.0/24\"]\n{rule}");
    let new = format!("[network]\noffice = [\"lab\"]\nlab = [\"192.0.2.0/25\"]\n{rule}");
    let found = difference(&old, &new);
    assert_eq!(names(&found.rules), ["ip/o changed network office"]);
    assert_eq!(names(&found.definitions), ["network lab changed", "network office changed"]);
    // A list in a file.
    let text = format!("[network]\noffice = {{ file = \"list.txt\" }}\n{rule}");
    let found = difference_with(&text, &text, ["192.0.2.1\n", "192.0.2.2\n"]);
    assert_eq!(names(&found.rules), ["ip/o changed network office"]);
}

#[test]
fn a_subject_gains_and_no_role_does() {
    let get = "methods = [\"GET\"]";
    let ledger = grant("l", &format!("subjects = [\"frank\", \"gina\"]\npath = \"/l\"\n{get}"));
    let added = difference(ROLES, &format!("{ROLES}{ledger}"));
    assert_eq!(cells(&added), ["authenticated=frank=gina GET /l Never→Always by rbac/l"]);
    // A grant for one with a role; and who may anyway gains nothing.
    let both = grant("l", &format!("subjects = [\"frank\"]\nroles = [\"reader\"]\npath = \"/l\"\n{get}"));
    let old = format!("{ROLES}{}", grant("w", &format!("roles = [\"writer\"]\npath = \"/l\"\n{get}")));
    let added = difference(&old, &format!("{old}{both}"));
    assert_eq!(cells(&added), ["reader=frank GET /l Never→Always by rbac/l"]);
    // What is lifted for all is told of whom it frees: frank has a grant, and so have readers.
    let deny = "[[rbac.deny]]\nid = \"no\"\npath = \"/l\"\n";
    let reads = grant("r", &format!("roles = [\"reader\"]\npath = \"/l\"\n{get}"));
    let open = format!("{ROLES}{ledger}{reads}");
    let lifted = difference(&format!("{open}{deny}"), &open);
    assert_eq!(
        cells(&lifted),
        [
            "authenticated=frank=gina GET /l Never→Always by rbac/no",
            "reader GET /l Never→Always by rbac/no",
            "writer GET /l Never→Always by rbac/no",
        ]
    );
    // A deny for a subject takes from it alone, whatever its roles.
    let deny = "[[rbac.deny]]\nid = \"no\"\npath = \"/l\"\nsubjects = [\"gina\"]\n";
    let old = format!("{ROLES}{reads}");
    let told = cells(&difference(&old, &format!("{old}{deny}")));
    assert_eq!(
        told,
        ["reader=gina GET /l Always→Never by rbac/no", "writer=gina GET /l Always→Never by rbac/no"]
    );
}

#[test]
fn a_list_that_is_another_is_the_change_of_its_rule_alone() {
    let deny = |more: &str| {
        format!(
            "{ROLES}{}[[rbac.deny]]\nid = \"nc\"\npath = \"/a\"\nwhen = \"client.ip in office\"\n{more}\n[network]\noffice = [\"192.0.2.0/24\"]\n",
            grant("a", "roles = [\"anyone\"]\npath = \"/a\"\nmethods = [\"GET\"]")
        )
    };
    let found = difference(&deny("except_roles = [\"writer\"]"), &deny(""));
    assert_eq!(names(&found.rules), ["rbac/nc changed itself"]);
    // For whoever was not exempt, it depends on what it depended on.
    assert_eq!(cells(&found), ["writer GET /a Always→Sometimes by rbac/nc"]);
    let found = difference(&deny(""), &deny("").replace("/24", "/25"));
    assert_eq!(names(&found.rules), ["rbac/nc changed network office"]);
    assert_eq!(cells(&found).len(), 4, "{:?}", cells(&found));
}

#[test]
fn how_the_folder_is_spelled_is_no_difference() {
    let policy = compile_with(ROLES, &[]).0.unwrap();
    let definitions = |folder: &str| {
        let mut sources = Sources::single(format!("{folder}t.toml"), ROLES);
        sources.attach(format!("{folder}lists/words.data"), "a\n");
        sources.attach("/etc/other.data", "b\n");
        Meaning::of(&sources, &policy.rules).definitions
    };
    let here = definitions("");
    assert!(here.contains_key("file lists/words.data") && here.contains_key("file /etc/other.data"));
    for folder in ["/etc/portcullis/", "../a/", "./"] {
        assert_eq!(definitions(folder), here, "{folder}");
    }
}

#[test]
fn whoever_inherits_a_role_now_is_who_a_rule_is_about() {
    let rule = grant("a", "roles = [\"reader\"]\npath = \"/a\"\nmethods = [\"GET\"]");
    let found =
        difference(&format!("[rbac.role.reader]\n[rbac.role.writer]\n{rule}"), &format!("{ROLES}{rule}"));
    assert_eq!(names(&found.rules), ["rbac/a changed role reader"]);
    assert_eq!(cells(&found), ["writer GET /a Never→Always by rbac/a"]);
}

#[test]
fn conditions_make_it_depend() {
    let old = format!("{ROLES}{}", grant("a", "roles = [\"reader\"]\npath = \"/a\"\nmethods = [\"GET\"]"));
    let new = format!(
        "{ROLES}{}",
        grant("a", "roles = [\"reader\"]\npath = \"/a\"\nmethods = [\"GET\"]\nwhen = \"claims.x == 1\"")
    );
    let found = difference(&old, &new);
    assert_eq!(
        cells(&found),
        ["reader GET /a Always→Sometimes by rbac/a", "writer GET /a Always→Sometimes by rbac/a"]
    );
    let other = new.replace("== 1", "== 2");
    assert_eq!(
        cells(&difference(&new, &other)),
        ["reader GET /a Sometimes→Sometimes by rbac/a", "writer GET /a Sometimes→Sometimes by rbac/a"]
    );
}

#[test]
fn a_host_is_named_where_it_matters() {
    let old = ROLES.to_owned();
    let more = "roles = [\"writer\"]\npath = \"/a\"\nmethods = [\"GET\"]";
    let new = format!("{ROLES}{}", grant("a", &format!("{more}\nhost = \"api.test\"")));
    assert_eq!(cells(&difference(&old, &new)), ["writer GET api.test/a Never→Always by rbac/a"]);
    let new = format!("{ROLES}{}", grant("a", more));
    assert_eq!(cells(&difference(&old, &new)), ["writer GET /a Never→Always by rbac/a"]);
}

/// Who may do what is lost also where no rule changed: where a route goes, or wants somebody to be shown.
#[test]
fn what_routes_take_away_is_lost() {
    let route = |id: &str, more: &str| {
        format!("[[route]]\nid = \"{id}\"\npath = \"/{id}\"\nupstream = \"up\"\n{more}")
    };
    let key = "[[authn.api_key]]\nid = \"k\"\nheader = \"x-api-key\"\nhash = \"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"\nroles = [\"writer\"]\n";
    let rules = format!(
        "{key}{ROLES}{}[[rbac.grant]]\nid = \"b\"\nroles = [\"anyone\"]\nmethods = [\"GET\"]\npath = \"/b\"\n",
        grant("a", "roles = [\"writer\"]\nmethods = [\"GET\"]\npath = \"/a\"")
    );
    let (a, b) = (route("a", ""), route("b", ""));
    let both = format!("{a}{b}{rules}");
    let found = cells(&difference(&both, &format!("{b}{rules}")));
    assert_eq!(found, ["writer GET /a Always→Never by rbac/a"]);
    let found = cells(&difference(&format!("{b}{rules}"), &both));
    assert_eq!(found, ["writer GET /a Never→Always by rbac/a"]);
    // Of what nothing serves before or after, nothing is lost with a route.
    assert_eq!(cells(&difference(&format!("{b}{rules}"), &format!("{b}{rules}"))), [""; 0]);
    let wanted = ["anyone GET /b Always→Never by rbac/b"];
    let demanding = route("b", "authn = \"required\"\n");
    assert_eq!(cells(&difference(&both, &format!("{a}{demanding}{rules}"))), wanted);
    let mode = format!("[authn]\nmode = \"required\"\n{both}");
    assert_eq!(cells(&difference(&both, &mode)), wanted);
}

#[test]
fn exclusions_and_packs_are_seen() {
    let rule =
        "[[waf.rule]]\nid = \"w\"\naction = \"deny\"\ntargets = [\"query\"]\nmatch = { contains = \"x\" }\n";
    let exclude = "[[waf.exclude]]\nid = \"e\"\npath = \"/s\"\nrules = [\"waf/w\"]\n";
    let found = difference(rule, &format!("{rule}{exclude}"));
    assert_eq!(names(&found.rules), ["waf/w changed waf.exclude e"]);
    assert_eq!(names(&found.definitions), ["waf.exclude e added"]);
    let found = difference("", "[waf]\npacks = [\"core\"]\n");
    assert!(found.rules.len() > 10 && found.rules.iter().all(|rule| rule.kind == Kind::Added));
}

// === against every single request ===

fn pattern() -> impl Strategy<Value = String> {
    let segment = prop_oneof![Just("a"), Just("b"), Just("{}")];
    (prop::collection::vec(segment, 0..4), any::<bool>()).prop_map(|(segments, rest)| {
        let mut text = String::new();
        for (at, segment) in segments.iter().enumerate() {
            text.push('/');
            text.push_str(&segment.replace("{}", &format!("{{s{at}}}")));
        }
        if rest {
            text.push_str("/{*rest}");
        }
        if text.is_empty() { "/".to_owned() } else { text }
    })
}

fn rules() -> impl Strategy<Value = String> {
    let role = prop_oneof![Just("anyone"), Just("authenticated"), Just("reader"), Just("writer")];
    let methods =
        prop_oneof![Just(""), Just("methods = [\"GET\"]\n"), Just("methods = [\"PUT\", \"GET\"]\n")];
    let host =
        prop_oneof![3 => Just(""), 1 => Just("host = \"api.test\"\n"), 1 => Just("host = \"*.test\"\n")];
    let rule = (any::<bool>(), role, pattern(), methods, host);
    prop::collection::vec(rule, 0..5).prop_map(|rules| {
        let mut text = ROLES.to_owned();
        for (at, (deny, role, path, methods, host)) in rules.iter().enumerate() {
            let list = if *deny { "deny" } else { "grant" };
            text.push_str(&format!(
                "[[rbac.{list}]]\nid = \"r{at}\"\nroles = [\"{role}\"]\npath = \"{path}\"\n{methods}{host}"
            ));
        }
        text
    })
}

/// The paths over two names and a stranger, up to four deep.
fn paths() -> Vec<String> {
    let mut paths = vec![String::new()];
    let mut layer = paths.clone();
    for _ in 0..4 {
        layer = layer.iter().flat_map(|path| ["a", "b", "c"].map(|name| format!("{path}/{name}"))).collect();
        paths.extend(layer.iter().cloned());
    }
    paths.iter().map(|path| if path.is_empty() { "/".to_owned() } else { path.clone() }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn cells_say_what_asking_for_every_request_says(old in rules(), new in rules()) {
        let found = difference(&old, &new);
        prop_assert!(found.cells.complete);
        let (was, is) = (compile_with(&old, &[]).0.unwrap(), compile_with(&new, &[]).0.unwrap());
        let covers = |pattern: &PathPattern, path: &str| {
            let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
            pattern.matches(segments.into_iter())
        };
        // The class of a path: the one pattern that covers it and is within all others that do.
        let class = |path: &str| {
            let covering: Vec<_> =
                found.cells.patterns.iter().filter(|pattern| covers(pattern, path)).collect();
            let within = |a: &PathPattern, b: &PathPattern| {
                paths().iter().all(|path| !covers(a, path) || covers(b, path))
            };
            covering.iter().copied().find(|one| covering.iter().all(|other| within(one, other)))
        };
        for path in paths() {
            let class = class(&path);
            for host in ["api.test", "x.test", "elsewhere.example"] {
                for role in ["anyone", "authenticated", "reader", "writer"] {
                    for method in ["GET", "PUT", "DELETE"] {
                        let request = ask(method, &path).host(host);
                        let request = if role == "anyone" { request } else { request.by("s", &[role]) };
                        let may = |policy| request.verdict(policy, Stage::Rbac).starts_with("pass");
                        let (before, after) = (may(&was), may(&is));
                        let named = |hosts: &[Box<str>]| hosts.is_empty() || hosts.iter().any(|name| match &**name {
                            "*" => host == "elsewhere.example" || (host == "x.test" && !found.cells.changes.iter().any(|c| c.hosts.iter().any(|h| &**h == "*.test")) && !old.contains("*.test") && !new.contains("*.test")) || (host == "api.test" && !old.contains(".test\"") && !new.contains(".test\"")),
                            "*.test" => host == "x.test" || (host == "api.test" && !old.contains("\"api.test") && !new.contains("\"api.test")),
                            name => name == host,
                        });
                        let told: BTreeMap<_, _> = found.cells.changes.iter()
                            .filter(|cell| Some(&cell.path) == class && &*cell.role == role)
                            .filter(|cell| cell.methods.iter().any(|name| &**name == method) && named(&cell.hosts))
                            .map(|cell| ((cell.from, cell.to), ()))
                            .collect();
                        let access = |may| if may { Access::Always } else { Access::Never };
                        let want = (before != after).then(|| (access(before), access(after)));
                        prop_assert_eq!(told.keys().next().copied(), want, "{} {} {} {}", role, method, host, path);
                    }
                }
            }
        }
    }
}

/// What came into the lists that differ, and went out of them, by the names of what they are of.
fn addresses(difference: &Difference) -> Vec<String> {
    let part = |sign: char, nets: &Nets| {
        let mut text: String = nets.first.iter().map(|net| format!(" {sign}{net}")).collect();
        if nets.more > 0 {
            text.push_str(&format!(" {sign}{} more", nets.more));
        }
        text
    };
    let all = difference.rules.iter().chain(&difference.definitions);
    let lines = all.flat_map(|found| {
        found.addresses.iter().map(|change| {
            let list = change.list.map(|list| format!(" {list}")).unwrap_or_default();
            format!("{}{list}:{}{}", found.name, part('+', &change.added), part('-', &change.removed))
        })
    });
    lines.collect()
}

#[test]
fn of_a_changed_network_it_is_told_which_addresses_came_and_went() {
    let with = |office: &str, rule: &str| {
        format!(
            "[network]\noffice = {office}\nall = [\"office\", \"203.0.113.7\"]\nlisted = {{ file = \"list.txt\" }}\n\
             [[ip.rule]]\nid = \"a\"\n{rule}\n[[ip.rule]]\nid = \"l\"\ndeny = [\"listed\", \"all\"]\n"
        )
    };
    let lists = ["198.51.100.1\n198.51.100.2\n", "198.51.100.2\n# new\n198.51.100.4/31\n"];
    let allow = "allow = [\"office\"]";
    let one = "[\"192.0.2.0/25\", \"192.0.2.128/25\", \"2001:db8::/48\"]";
    // As sets: the halves are the whole, and what stands in a network already is nothing new.
    let other = "[\"192.0.2.0/24\", \"192.0.2.9\", \"2001:db8::/49\"]";
    let found = difference_with(&with(one, allow), &with(other, allow), lists);
    assert_eq!(
        addresses(&found),
        [
            "network all: -2001:db8:0:8000::/49",
            "network listed: +198.51.100.4/31 -198.51.100.1/32",
            "network office: -2001:db8:0:8000::/49",
        ]
    );
    // What is only written otherwise changed, and has all of its addresses.
    let found = difference_with(&with(one, allow), &with(one, allow), ["192.0.2.1\n", "# a\n192.0.2.1\n"]);
    assert_eq!(addresses(&found), ["network listed:"]);
    // A rule's own lists, with what the networks that it names stand for.
    let before = "allow = [\"office\"]\nexcept = [\"203.0.113.9\"]";
    let after = "allow = [\"office\", \"198.51.100.0/24\"]";
    let found = difference_with(&with(one, before), &with(one, after), [lists[0]; 2]);
    assert_eq!(addresses(&found), ["ip/a allow: +198.51.100.0/24", "ip/a except: -203.0.113.9/32"]);
    let found = difference_with(&with(one, allow), &with(one, "deny = [\"203.0.113.8\"]"), [lists[0]; 2]);
    assert_eq!(addresses(&found), ["ip/a allow: -192.0.2.0/24 -2001:db8::/48", "ip/a deny: +203.0.113.8/32"]);
    // A rule that is about something else has the addresses that it had.
    let found =
        difference_with(&with(one, allow), &with(one, "allow = [\"office\"]\npath = \"/a\""), [lists[0]; 2]);
    assert!(names(&found.rules) == ["ip/a changed itself"] && addresses(&found).is_empty());
}

#[test]
fn of_many_addresses_the_first_are_told_and_the_others_counted() {
    let many: String = (0..1000).map(|low| format!("10.0.{}.{}\n", low / 100, low % 100 * 2)).collect();
    let text = "[network]\nlisted = { file = \"list.txt\" }\n[[ip.rule]]\nid = \"a\"\ndeny = [\"listed\"]\n";
    let found = difference_with(text, text, ["192.0.2.1\n", &many]);
    let told = &found.definitions[0].addresses[0];
    assert_eq!((told.added.first.len(), told.added.more), (10, 990));
    assert_eq!((told.removed.first.len(), told.removed.more), (1, 0));
    // A new network has all of its addresses as new ones.
    let new = "[network]\noffice = [\"192.0.2.0/24\"]\n[[ip.rule]]\nid = \"a\"\nallow = [\"office\"]\n";
    assert_eq!(addresses(&difference("", new)), ["network office: +192.0.2.0/24"]);
    assert_eq!(addresses(&difference(new, "")), ["network office: -192.0.2.0/24"]);
}

/// The keys that changed of a rule or definition, as `key: what went → what came`.
fn keys(difference: &Difference, name: &str) -> Vec<String> {
    let all = difference.rules.iter().chain(&difference.definitions);
    let found = all.into_iter().find(|found| *found.name == *name).unwrap_or_else(|| panic!("{name}"));
    let show =
        |change: &KeyChange| format!("{}: {} → {}", change.key, change.was.join(" "), change.is.join(" "));
    found.keys.iter().map(show).collect()
}

#[test]
fn which_keys_changed_is_told_with_what_stood_there() {
    let old = "[rbac.role.reader]\n[rbac.role.writer]\ninherits = [\"reader\"]\n[[rbac.grant]]\nid = \"g\"\nroles = [\"reader\"]\npaths = [\"/a\", \"/b\"]\nreason = \"x\"\n[[rbac.deny]]\nid = \"d\"\nmethods = [\"PUT\"]\nwhen = 'method == \"PUT\"'\n";
    let new = "[rbac.role.reader]\n[rbac.role.writer]\n[[rbac.grant]]\nid = \"g\"\nroles = [\"reader\"]\npath = \"/b\"\nhost = \"a.test\"\nreason = \"y\"\n[[rbac.deny]]\nid = \"d\"\nmethods = [\"PUT\"]\nwhen = 'method == \"POST\"'\nmode = \"enforce\"\n";
    let found = difference(old, new);
    assert_eq!(keys(&found, "rbac/g"), ["hosts:  → \"a.test\"", "paths: \"/a\" → "]);
    assert_eq!(keys(&found, "rbac/d"), ["when: 'method == \"PUT\"' → 'method == \"POST\"'"]);
    assert_eq!(keys(&found, "role writer"), ["inherits: \"reader\" → "]);
}

#[test]
fn what_is_new_or_gone_is_told_by_all_that_it_says() {
    let with = "[rbac.role.reader]\n[[rbac.grant]]\nid = \"g\"\nroles = [\"reader\"]\npath = \"/a\"\n";
    let (come, gone) = (difference("", with), difference(with, ""));
    assert_eq!(keys(&come, "rbac/g"), ["paths:  → \"/a\"", "roles:  → \"reader\""]);
    assert_eq!(keys(&gone, "rbac/g"), ["paths: \"/a\" → ", "roles: \"reader\" → "]);
    let upstream = Sources::single("t.toml", "[upstream.u]\nservers = [\"http://192.0.2.1\"]\n".to_owned());
    let nothing = Sources::single("t.toml", String::new());
    let [was, is] = [&nothing, &upstream].map(|sources| Meaning::of(sources, &Default::default()));
    let mut definitions = Difference::definitions(&was, &is);
    super::keys::tell((&nothing, &upstream), &mut [], &mut definitions, usize::MAX);
    let come = Difference { definitions, ..Difference::default() };
    assert_eq!(keys(&come, "upstream u"), ["servers:  → [\"http://192.0.2.1\"]"]);
}

#[test]
fn of_a_list_without_names_the_entries_that_changed_are_told() {
    let disclosure = |level: &str| {
        format!(
            "[[disclosure]]\nlevel = \"none\"\n[[disclosure]]\nnetworks = [\"office\"]\nlevel = \"{level}\"\n"
        )
    };
    let sources = ["full", "rule"].map(|level| Sources::single("t.toml", disclosure(level)));
    let [was, is] = sources.each_ref().map(|sources| Meaning::of(sources, &Default::default()));
    let mut definitions = Difference::definitions(&was, &is);
    super::keys::tell((&sources[0], &sources[1]), &mut [], &mut definitions, usize::MAX);
    let found = Difference { definitions, ..Difference::default() };
    let entry = |level: &str| format!("{{ networks = [\"office\"], level = \"{level}\" }}");
    assert_eq!(keys(&found, "[disclosure]"), [format!("entries: {} → {}", entry("full"), entry("rule"))]);
    assert!(found.definitions.iter().all(|found| found.keys.iter().all(|key| key.entries)));
}

#[test]
fn of_what_may_be_a_secret_it_is_told_that_it_is_another() {
    let source = |hash: &str, file: &str| {
        format!(
            "[[authn.api_key]]\nid = \"k\"\nheader = \"x-api-key\"\nhash = \"sha256:{}\"\n[[authn.jwt]]\nid = \"j\"\nissuer = \"i\"\naudience = [\"a\"]\nalgorithms = [\"HS256\"]\nsecret_file = \"{file}\"\n",
            hash.repeat(64)
        )
    };
    let sources = [source("a", "old"), source("b", "new")].map(|text| Sources::single("t.toml", text));
    let was = Meaning::of(&sources[0], &Default::default());
    let is = Meaning::of(&sources[1], &Default::default());
    let mut definitions = Difference::definitions(&was, &is);
    super::keys::tell((&sources[0], &sources[1]), &mut [], &mut definitions, usize::MAX);
    let found = Difference { definitions, ..Difference::default() };
    assert_eq!(keys(&found, "authn.api_key k"), ["hash: … → …"]);
    assert_eq!(keys(&found, "authn.jwt j"), ["secret_file: \"old\" → \"new\""]);
}

#[test]
fn texts_that_take_too_long_are_not_parsed_again() {
    let sources = ["/a", "/b"]
        .map(|path| Sources::single("t.toml", format!("[[rbac.deny]]\nid = \"d\"\npath = \"{path}\"\n")));
    let [was, is] = sources.each_ref().map(|sources| Meaning::of(sources, &Default::default()));
    for (most, told) in [(usize::MAX, 1), (10, 0)] {
        let mut rules = Difference::rules(&was, &is);
        super::keys::tell((&sources[0], &sources[1]), &mut rules, &mut [], most);
        assert_eq!(rules[0].keys.len(), told);
    }
}

/// Whatever the field is called: operators put credentials for the service behind into any of them.
#[test]
fn what_a_route_sets_in_header_fields_is_not_shown() {
    let route = |value: &str| {
        format!(
            "[[route]]\nid = \"r\"\npath = \"/\"\nupstream = \"u\"\nrequest_headers = {{ set = {{ x-shared = \"{value}\" }} }}\n"
        )
    };
    let sources = ["one", "two"].map(|value| Sources::single("t.toml", route(value)));
    let [was, is] = sources.each_ref().map(|sources| Meaning::of(sources, &Default::default()));
    let mut definitions = Difference::definitions(&was, &is);
    super::keys::tell((&sources[0], &sources[1]), &mut [], &mut definitions, usize::MAX);
    let found = Difference { definitions, ..Difference::default() };
    let hidden = "{ set = { x-shared = … } }";
    assert_eq!(keys(&found, "route r"), [format!("request_headers: {hidden} → {hidden}")]);
}
