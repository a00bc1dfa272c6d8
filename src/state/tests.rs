//! The history on a disk that fails in the middle of things.

use std::fs;

use super::texts::name_of;
use super::*;
use crate::decision::Change;
use crate::policy::diff::{ChangedName, Difference, Kind};

fn difference(rule: &str, kind: Kind) -> Difference {
    let rules = vec![ChangedName {
        name: rule.into(),
        kind,
        because: Vec::new(),
        addresses: Vec::new(),
        keys: Vec::new(),
    }];
    Difference { rules, ..Difference::default() }
}

fn origin() -> Origin<'static> {
    Origin { at: "2026-11-24T09:12:03Z".parse().unwrap(), trigger: "file", by: None }
}

/// Puts a policy of this text in force.
fn accept(history: &mut History, hash: u32, text: &str, difference: Option<&Difference>) -> u64 {
    let mut sources = Sources::single("main.toml", text);
    sources.attach("list.txt", "192.0.2.1\n");
    sources.attach("secret.txt", "hunter2hunter2hunter2");
    sources.set_secrets(["secret.txt".to_owned()].into());
    history.accept(&Attempt { hash, sources: &sources, difference }, origin()).generation
}

fn open(folder: &Path) -> History {
    History::open(folder, Limits::default()).unwrap()
}

fn rule_change(history: &History, rule: &str) -> Option<(u64, u64)> {
    use crate::policy::fixture::policy;
    let text = "[[rbac.grant]]\nid = \"a\"\nroles = [\"anyone\"]\n[[rbac.grant]]\nid = \"b\"\nroles = [\"anyone\"]\n";
    let policy = policy(text);
    let changes = history.changes(&policy.rules);
    let at = policy.rules.iter().position(|(_, info)| &*info.name == rule).unwrap();
    changes[at].map(|Change { from, to, .. }| (from.generation, to.generation))
}

#[test]
fn what_was_accepted_is_there_after_a_restart_and_no_secret_is() {
    let folder = tempfile::tempdir().unwrap();
    {
        let mut history = open(folder.path());
        assert_eq!(accept(&mut history, 1, "one", None), 1);
        // The same policy is no new one.
        assert_eq!(accept(&mut history, 1, "one, with a comment", None), 1);
        assert_eq!(accept(&mut history, 2, "two", Some(&difference("rbac/a", Kind::Changed))), 2);
        history.refuse(&["main.toml:1:1: no".to_owned()], origin());
        history.refuse(&["main.toml:1:1: no".to_owned()], origin());
    }
    let mut history = open(folder.path());
    assert_eq!(history.entries().len(), 3);
    assert_eq!(rule_change(&history, "rbac/a"), Some((1, 2)));
    assert_eq!(rule_change(&history, "rbac/b"), None);
    assert_eq!(accept(&mut history, 1, "one", Some(&difference("rbac/b", Kind::Added))), 3);
    assert_eq!(rule_change(&history, "rbac/b"), Some((2, 3)));
    let entries = read(folder.path()).unwrap().entries;
    let kept = sources(folder.path(), entries[1].accepted().unwrap()).unwrap();
    let texts: Vec<&str> = kept.policy_files().map(|(_, source)| &*source.text).collect();
    assert_eq!(texts, ["two"]);
    assert_eq!(kept.lists().collect::<Vec<_>>(), [("list.txt", "192.0.2.1\n")]);
}

#[test]
fn only_one_process_writes() {
    let folder = tempfile::tempdir().unwrap();
    let _first = open(folder.path());
    assert!(History::open(folder.path(), Limits::default()).is_err());
}

#[test]
fn a_write_torn_anywhere_costs_only_what_was_being_written() {
    let folder = tempfile::tempdir().unwrap();
    accept(&mut open(folder.path()), 1, "one", None);
    let path = log_path(folder.path());
    let first = fs::read(&path).unwrap();
    accept(&mut open(folder.path()), 2, "two", Some(&difference("rbac/a", Kind::Added)));
    let both = fs::read(&path).unwrap();
    for length in first.len()..both.len() {
        fs::write(&path, &both[..length]).unwrap();
        // Readers pass over the beginning of a line; a writer cuts it off and goes on.
        assert_eq!(read(folder.path()).unwrap().entries.len(), 1, "{length}");
        let mut history = open(folder.path());
        assert_eq!(history.last().unwrap().generation, 1, "{length}");
        assert_eq!(accept(&mut history, 3, "three", None), 2, "{length}");
        drop(history);
        assert_eq!(read(folder.path()).unwrap().entries.len(), 2, "{length}");
    }
}

#[test]
fn a_damaged_entry_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    for hash in 1..=3 {
        accept(&mut open(folder.path()), hash, "text", None);
    }
    let path = log_path(folder.path());
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 20;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let generations = |entries: &[Entry]| -> Vec<u64> {
        entries.iter().filter_map(|entry| Some(entry.accepted()?.generation)).collect()
    };
    assert_eq!(generations(open(folder.path()).entries()), [1, 3]);
}

#[test]
fn a_damaged_text_is_mended_when_it_comes_along_again() {
    let folder = tempfile::tempdir().unwrap();
    accept(&mut open(folder.path()), 1, "one", None);
    let path = folder.path().join("texts").join(open(folder.path()).last().unwrap().files[0].text.clone());
    let whole = fs::read(&path).unwrap();
    accept(&mut open(folder.path()), 2, "two", None);
    let other = open(folder.path()).last().unwrap().files[0].text.clone();
    let other = fs::read(folder.path().join("texts").join(other)).unwrap();
    accept(&mut open(folder.path()), 1, "one", None);
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    // A torn write, a bit that turned, another text, nothing, no file.
    let damages = [Some(&whole[..whole.len() - 3]), Some(&flipped), Some(&other), Some(&[]), None];
    for damage in damages {
        // The same policy again, as at a start; and another one of the same text.
        for hash in [1, 3, 1] {
            match damage {
                Some(bytes) => fs::write(&path, bytes).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            let mut history = open(folder.path());
            assert!(history.last_sources().unwrap().is_err(), "{damage:?}");
            accept(&mut history, hash, "one", None);
            assert!(history.last_sources().unwrap().is_ok(), "{damage:?}, {hash}");
        }
    }
    // What means the same but is written otherwise is not what was put in force.
    let before = fs::read_dir(folder.path().join("texts")).unwrap().count();
    accept(&mut open(folder.path()), 1, "one, with a comment", None);
    assert_eq!(fs::read_dir(folder.path().join("texts")).unwrap().count(), before);
}

#[test]
fn what_was_kept_ahead_is_given_up_with_a_policy_that_is_not_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let texts = || {
        let found = fs::read_dir(folder.path().join("texts")).unwrap();
        let mut names: Vec<_> =
            found.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    let ahead = |text: &str| Sources::single("main.toml", text);
    let mut history = open(folder.path());
    history.keep_ahead(&ahead("one"));
    assert_eq!(texts(), [name_of("one")]);
    accept(&mut history, 1, "one", None);
    let one = texts();
    // Refused; the same policy in other words; a second look before the first has come to anything.
    history.keep_ahead(&ahead("wrong, and hunter2"));
    history.refuse(&["main.toml:1:1: no".to_owned()], origin());
    assert_eq!(texts(), one);
    history.keep_ahead(&ahead("one, with a comment"));
    accept(&mut history, 1, "one, with a comment", None);
    assert_eq!(texts(), one);
    history.keep_ahead(&ahead("two"));
    history.keep_ahead(&ahead("three"));
    accept(&mut history, 3, "three", None);
    let mut wanted = one.clone();
    wanted.push(name_of("three"));
    wanted.sort();
    assert_eq!(texts(), wanted);
    // What the policy in force is made of is not given up, whatever comes.
    history.keep_ahead(&ahead("three"));
    history.refuse(&["main.toml:1:1: no".to_owned()], origin());
    assert_eq!(texts(), wanted);
    assert_eq!(
        history.last_sources().unwrap().unwrap().policy_files().next().unwrap().1.text.as_ref(),
        "three"
    );
}

#[test]
fn the_oldest_are_given_up_and_what_they_said_of_rules_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { keep: 4, size: 1 << 20 };
    let mut history = History::open(folder.path(), limits).unwrap();
    for number in 1..=40u32 {
        let found = match number {
            1 => None,
            3 => Some(difference("rbac/a", Kind::Changed)),
            number => Some(difference(&format!("rbac/r{number}"), Kind::Added)),
        };
        assert_eq!(
            accept(&mut history, number, &format!("text {number}"), found.as_ref()),
            u64::from(number)
        );
        history.refuse(&[format!("error {number}")], origin());
    }
    assert_eq!(rule_change(&history, "rbac/a"), Some((2, 3)));
    drop(history);
    let history = History::open(folder.path(), limits).unwrap();
    assert!(history.entries().len() <= 12, "{}", history.entries().len());
    assert_eq!(rule_change(&history, "rbac/a"), Some((2, 3)));
    assert_eq!(history.last().unwrap().generation, 40);
    // As many texts as policies that are kept, and the list that all share.
    let texts = fs::read_dir(folder.path().join("texts")).unwrap().count();
    assert!(texts <= 7, "{texts}");
    assert!(history.last_sources().unwrap().is_ok());
}

#[test]
fn texts_are_bounded_by_their_size_too() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { keep: 1_000, size: 20_000 };
    let mut history = History::open(folder.path(), limits).unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    for number in 1..=20u32 {
        let text: String = (0..6_000).map(|_| random.alphanumeric()).collect();
        accept(&mut history, number, &text, None);
    }
    let size: u64 = fs::read_dir(folder.path().join("texts"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(size <= 20_000, "{size}");
    assert!(history.last_sources().unwrap().is_ok());
}

#[test]
fn what_is_kept_ahead_outlives_what_else_is_given_up_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open(folder.path(), Limits { keep: 1, size: 1 }).unwrap();
    accept(&mut history, 1, "one", None);
    history.keep_ahead(&Sources::single("main.toml", "two"));
    let jump = Jump {
        at: origin().at,
        policy: "1-00000001".to_owned(),
        rule: "rbac/a".to_owned(),
        before: 0.1,
        after: 0.9,
        refused: 7,
    };
    history.jump(jump);
    accept(&mut history, 2, "two", None);
    assert_eq!(
        history.last_sources().unwrap().unwrap().policy_files().next().unwrap().1.text.as_ref(),
        "two"
    );
}
