//! Names that contain names, and files.

use super::*;
use crate::policy::code::Code;
use crate::policy::fixture::{compile_with, problems};

fn codes(text: &str, files: &[(&str, Option<&str>)]) -> Vec<(Code, String)> {
    let (_, problems) = compile_with(text, files);
    let wanted = problems.into_iter().filter(|problem| problem.code != Code::NothingGranted);
    wanted.map(|problem| (problem.code, problem.message)).collect()
}

fn networks(text: &str, files: &[(&str, Option<&str>)]) -> Networks {
    let table = toml::de::DeTable::parse(text).unwrap();
    let mut sources = Sources::single("t.toml", text);
    for (path, text) in files {
        sources.attach(*path, text.unwrap());
    }
    let mut diagnostics = Diagnostics::default();
    let file = crate::policy::diagnostic::FileId(0);
    let mut reader =
        crate::policy::decode::TableReader::new(file, "a file", table.get_ref(), Place::default());
    let raw =
        <crate::policy::raw::RawPolicy as crate::policy::decode::Part>::read(&mut reader, &mut diagnostics);
    let networks = Networks::compile(&raw.unwrap().network, &sources, &mut diagnostics);
    assert!(!diagnostics.has_errors(), "{diagnostics:?}");
    networks
}

fn list(networks: &mut Networks, names: &[&str]) -> AddressList {
    let item = |name: &&str| match parse_net(name) {
        Ok(net) => At { value: NetItem::Net(net), place: Place::default() },
        Err(_) => At { value: NetItem::Named(Name::new(name).unwrap()), place: Place::default() },
    };
    let items: Vec<_> = names.iter().map(item).collect();
    networks.list(&items, &mut Diagnostics::default())
}

#[test]
fn mapped_networks_are_ipv4_and_host_bits_are_refused() {
    assert_eq!(parse_net("::ffff:10.0.0.0/104").map(|net| net.to_string()).as_deref(), Ok("10.0.0.0/8"));
    assert_eq!(parse_net("192.0.2.1").map(|net| net.to_string()).as_deref(), Ok("192.0.2.1/32"));
    assert!(parse_net("10.0.0.1/8").is_err() && parse_net("012.0.0.1").is_err() && parse_net("").is_err());
}

#[test]
fn a_network_holds_what_the_networks_in_it_hold() {
    let text = r#"
        [network]
        all = ["office", "lab", "10.0.0.0/8"]
        office = ["192.0.2.0/24", "lab"]
        lab = ["2001:db8::/32"]
    "#;
    let mut networks = networks(text, &[]);
    let all = list(&mut networks, &["all"]);
    let found = |ip: &str| all.find(ip.parse().unwrap()).map(|found| found.to_string());
    assert_eq!(found("192.0.2.9").as_deref(), Some("192.0.2.0/24 of `office`"));
    assert_eq!(found("2001:db8::1").as_deref(), Some("2001:db8::/32 of `lab`"));
    assert_eq!(found("::ffff:10.1.1.1").as_deref(), Some("10.0.0.0/8 of `all`"));
    assert_eq!(found("11.0.0.0"), None);
    for ip in ["192.0.2.9", "2001:db8::1", "10.0.0.0", "11.0.0.0"] {
        let ip = ip.parse().unwrap();
        assert_eq!(all.contains(ip), all.find(ip).is_some(), "{ip}");
    }
}

#[test]
fn the_narrowest_network_is_named() {
    let list = list(&mut Networks::default(), &["10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0"]);
    let found = list.find("10.1.2.3".parse().unwrap()).unwrap();
    assert_eq!(found.to_string(), "10.1.0.0/16");
}

#[test]
fn equal_lists_share_one_set() {
    let mut networks = networks("network.a = [\"10.0.0.0/8\"]", &[]);
    let (first, second) = (list(&mut networks, &["a"]), list(&mut networks, &["a"]));
    assert!(std::ptr::eq(first.set(), second.set()));
}

#[test]
fn circles_are_reported_once_and_diamonds_are_none() {
    let cycle = |text: &str| {
        let found = codes(text, &[]).into_iter().filter(|(code, _)| *code == Code::Cycle);
        found.map(|(_, message)| message).collect::<Vec<_>>()
    };
    assert_eq!(
        cycle("network.a = [\"b\"]\nnetwork.b = [\"c\"]\nnetwork.c = [\"b\"]"),
        ["networks contain each other: b → c → b"]
    );
    assert_eq!(cycle("network.a = [\"a\"]"), ["networks contain each other: a → a"]);
    assert_eq!(
        cycle("network.a = [\"b\", \"c\"]\nnetwork.b = [\"d\"]\nnetwork.c = [\"d\"]\nnetwork.d = [\"::1\"]"),
        [] as [&str; 0]
    );
}

#[test]
fn a_long_chain_of_networks_is_followed_without_recursion() {
    let mut text = String::from("[network]\nn0 = [\"10.0.0.0/8\"]\n");
    for number in 1..20_000 {
        text.push_str(&format!("n{number} = [\"n{}\", \"n{}\"]\n", number - 1, number - 1));
    }
    let mut networks = networks(&text, &[]);
    assert!(list(&mut networks, &["n19999"]).contains("10.0.0.1".parse().unwrap()));
}

#[test]
fn unknown_and_doubled_names_are_reported_where_they_stand() {
    let text = r#"
        [network]
        office = ["offise-lab"]
        office-lab = ["::1"]
        Bad = []
        [[ip.rule]]
        id = "x"
        allow = ["ofice", "office", "office-lab"]
    "#;
    let found: Vec<(Code, String)> = problems(text).into_iter().map(|(code, at, _)| (code, at)).collect();
    assert_eq!(
        found,
        [
            (Code::UnknownName, "\"offise-lab\"".into()),
            (Code::BadValue, "Bad".into()),
            (Code::UnknownName, "\"ofice\"".into())
        ]
    );
}

#[test]
fn a_file_holds_an_address_a_line_with_comments() {
    let file = "# abusers\r\n192.0.2.7 # one\n\n  2001:db8::/32\n10.0.0.0/8";
    let mut networks = networks("network.abusers = { file = \"a.txt\" }", &[("a.txt", Some(file))]);
    let list = list(&mut networks, &["abusers"]);
    for (ip, want) in [("192.0.2.7", true), ("192.0.2.8", false), ("2001:db8::9", true), ("10.9.9.9", true)] {
        assert_eq!(list.contains(ip.parse().unwrap()), want, "{ip}");
    }
}

#[test]
fn a_missing_or_empty_file_is_an_error_unless_that_is_meant() {
    let check = |keys: &str, file: Option<&str>, want: &[Code]| {
        let text =
            format!("network.n = {{ file = \"n.txt\"{keys} }}\n[[ip.rule]]\nid = \"x\"\ndeny = [\"n\"]");
        let found: Vec<Code> = codes(&text, &[("n.txt", file)]).into_iter().map(|(code, _)| code).collect();
        assert_eq!(found, want, "{keys} {file:?}");
    };
    check("", None, &[Code::File]);
    check(", optional = true", None, &[]);
    check("", Some("# nothing\n"), &[Code::File]);
    check(", may_be_empty = true", Some(""), &[]);
    check(", optional = true", Some(""), &[Code::File]);
    check("", Some("10.0.0.0/8\nrubbish\n10.0.0.1/8\n"), &[Code::BadValue, Code::BadValue]);
}

#[test]
fn a_file_of_something_else_makes_few_reports() {
    let found = codes("network.n = { file = \"n.txt\" }", &[("n.txt", Some(&"x\n".repeat(1000)))]);
    assert_eq!(found.len(), 22, "twenty lines, how many more, and that nothing uses it: {found:?}");
    assert!(found.iter().any(|(_, message)| message.contains("980 more lines")), "{found:?}");
}
