//! The second front end: SecLang, the language of ModSecurity and of the OWASP Core Rule Set, lowered
//! to the intermediate representation.
//!
//! ```text
//! text ── lex ──▶ directives ── variables, operators, actions ──▶ rules ── updates ──▶ Script
//! ```
//!
//! What is read and not run is told with its place, as an error where a rule would do less than it
//! says, as a warning where it is a setting of another engine.

mod actions;
mod effects;
mod lex;
mod operators;
mod pattern;
mod rule;
mod said;
mod settings;
mod template;
mod updates;
pub(super) mod variables;

use std::collections::BTreeSet;

use self::lex::Directive;
pub(super) use self::pattern::SYNTAX;
use self::rule::{Defaults, Open};
pub(super) use self::settings::{EngineMode, ScriptSettings};
pub(super) use self::template::plain;
pub(super) use self::updates::meets;
use super::ir::Rule;
use crate::decision::{Stage, Written};
use crate::policy::code::Code;
use crate::policy::compile::Compile;
use crate::policy::decode::Name;
use crate::policy::diagnostic::{At, Diagnostic, Diagnostics, FileId, Place};
use crate::policy::mode::Mode;
use crate::policy::rules::RuleInfo;
use crate::policy::source::Sources;

/// A SecLang program, lowered.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) items: Vec<ScriptItem>,
    pub(super) settings: ScriptSettings,
}

/// Something in the order of the program.
#[derive(Debug)]
pub(super) enum ScriptItem {
    Rule(Box<ScriptRule>),
    Marker(Box<str>),
}

impl ScriptItem {
    pub(super) fn rule(&self) -> Option<&ScriptRule> {
        match self {
            ScriptItem::Rule(rule) => Some(rule),
            ScriptItem::Marker(_) => None,
        }
    }
}

/// A rule with its number.
#[derive(Clone, Debug)]
pub(super) struct ScriptRule {
    pub(super) id: u32,
    pub(super) written: Written,
    pub(super) rule: Rule,
    /// What is wrong with it. Told once it is known that it stays: what removes it may stand behind it.
    problems: Vec<Diagnostic>,
    /// Whether all of it could be lowered.
    whole: bool,
}

/// Where problems of a program go.
pub(super) struct Report<'a> {
    diagnostics: &'a mut Diagnostics,
    /// What was told once and need not be told again.
    told: &'a mut BTreeSet<String>,
}

impl Report<'_> {
    fn error(&mut self, place: Place, message: impl Into<String>) -> &mut Diagnostic {
        self.diagnostics.push(Code::Seclang, place, message)
    }

    /// Something of another engine that has no meaning here; told once a kind.
    fn ignored(&mut self, what: &str, place: Place, message: impl Into<String>) {
        if self.told.insert(what.to_owned()) {
            self.diagnostics.push(Code::SeclangIgnored, place, message);
        }
    }
}

/// The files that a glob of `seclang`, or an `Include`, stands for.
pub(super) fn files(pattern: &str, from: Place, cx: &mut Compile<'_>) -> Vec<FileId> {
    match cx.sources.expanded(from.file, pattern) {
        Some(files) if !files.is_empty() => files.to_vec(),
        _ => {
            // The loader says why, where it looked and found none that it could read.
            if !cx.diagnostics.has_errors() {
                cx.diagnostics.push(Code::File, from, format!("`{pattern}` matches no file"));
            }
            Vec::new()
        }
    }
}

/// What a file refers to, for the loader to read: paths of files, and globs of further programs.
pub fn references(text: &str) -> References {
    let mut found = References::default();
    for directive in lex::directives(FileId::default(), text).into_iter().filter_map(Result::ok) {
        let name = directive.name.text.to_ascii_lowercase();
        if name == "include" || name == "includeoptional" {
            found.programs.extend(directive.words.into_iter().map(|word| word.text));
        } else if name == "secrule"
            && let Some(operator) = directive.words.get(1)
        {
            let text = operator.text.trim_start_matches(['!', ' ']);
            let (operator, paths) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
            let from_file = ["@pmfromfile", "@pmf", "@ipmatchfromfile", "@ipmatchf"];
            if from_file.contains(&operator.to_ascii_lowercase().as_str()) {
                found.files.extend(paths.split_ascii_whitespace().map(str::to_owned));
            }
        }
    }
    found
}

/// What a file refers to.
#[derive(Clone, Debug, Default)]
pub struct References {
    /// Lists, by their paths as written.
    pub files: Vec<String>,
    /// Programs, by their globs as written.
    pub programs: Vec<String>,
}

/// The program that is being read.
struct Reader<'a, 'b> {
    cx: &'a mut Compile<'b>,
    script: Script,
    defaults: Defaults,
    /// The rule whose chain goes on.
    open: Option<Open>,
    told: BTreeSet<String>,
}

/// How deep files may include each other.
const MAX_DEPTH: usize = 16;

/// Reads the program that these globs name. Rules are added to the policy's table.
pub(super) fn read(globs: &[At<String>], cx: &mut Compile<'_>) -> Script {
    let mut reader = Reader {
        cx,
        script: Script::default(),
        defaults: Defaults::default(),
        open: None,
        told: BTreeSet::new(),
    };
    for glob in globs {
        for file in files(&glob.value, glob.place, reader.cx) {
            reader.file(file, MAX_DEPTH);
        }
    }
    reader.close();
    let Reader { mut script, cx, .. } = reader;
    script.items.retain_mut(|item| match item {
        ScriptItem::Rule(rule) => {
            cx.diagnostics.give_back(std::mem::take(&mut rule.problems));
            rule.whole
        }
        ScriptItem::Marker(_) => true,
    });
    script
}

impl Reader<'_, '_> {
    fn report(&mut self) -> Report<'_> {
        Report { diagnostics: &mut *self.cx.diagnostics, told: &mut self.told }
    }

    /// The sources, and where problems go.
    fn parts(&mut self) -> (&Sources, Report<'_>) {
        (self.cx.sources, Report { diagnostics: &mut *self.cx.diagnostics, told: &mut self.told })
    }

    fn file(&mut self, file: FileId, depth: usize) {
        let sources = self.cx.sources;
        let text = sources.get(file).map_or("", |source| &*source.text);
        for directive in lex::directives(file, text) {
            match directive {
                Ok(directive) => self.directive(&directive, depth),
                Err(unread) => drop(self.report().error(unread.place, unread.why)),
            }
        }
    }

    fn directive(&mut self, directive: &Directive, depth: usize) {
        let name = directive.name.text.to_ascii_lowercase();
        if self.open.is_some() && name != "secrule" && name != "secaction" {
            self.close();
        }
        match name.as_str() {
            "secrule" => self.rule(directive, true),
            "secaction" => self.rule(directive, false),
            "secmarker" => match directive.words.as_slice() {
                [label] => self.script.items.push(ScriptItem::Marker(unquoted(&label.text).into())),
                _ => drop(self.report().error(directive.place, "`SecMarker` takes one name")),
            },
            "secdefaultaction" => self.default_action(directive),
            "include" | "includeoptional" => self.include(directive, depth),
            _ if name.starts_with("secruleupdate") || name.starts_with("secruleremove") => {
                self.update(&name, directive);
            }
            _ => self.setting(&name, directive),
        }
    }

    fn include(&mut self, directive: &Directive, depth: usize) {
        let [path] = directive.words.as_slice() else {
            self.report().error(directive.place, "`Include` takes one path");
            return;
        };
        if depth == 0 {
            self.report()
                .error(directive.place, format!("files include each other more than {MAX_DEPTH} deep"));
            return;
        }
        for file in files(&path.text, directive.place, self.cx) {
            self.file(file, depth - 1);
        }
    }

    /// Ends the chain that is open, and adds its rule.
    fn close(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        if open.chained {
            let before = self.cx.diagnostics.len();
            self.report().error(open.rule.place, "the chain of this rule has no end");
            open.problems.extend(self.cx.diagnostics.take_from(before));
            open.whole = false;
        }
        let Some(id) = open.id else {
            self.cx.diagnostics.give_back(open.problems);
            return;
        };
        let written = self.written(&open, id);
        let Open { rule, problems, whole, .. } = open;
        let rule = ScriptRule { id, written, rule, problems, whole };
        self.script.items.push(ScriptItem::Rule(Box::new(rule)));
    }

    /// Adds a rule to the policy's table.
    fn written(&mut self, open: &Open, id: u32) -> Written {
        let place = open.rule.place;
        let info = RuleInfo {
            stage: Stage::Waf,
            name: format!("{}/{id}", Stage::Waf.name()).into(),
            public_name: None,
            at: self.cx.sources.show(place).into(),
            place,
            mode: Mode::Enforce,
            reason: None,
            remediation: None,
            contact: None,
        };
        let name = At { value: Name::number(id), place };
        self.cx.rules.add(&name, info, self.cx.diagnostics)
    }
}

fn unquoted(text: &str) -> &str {
    text.trim_matches(|c| c == '\'' || c == '"')
}

#[cfg(test)]
mod tests;
