//! WAF rules: intermediate representation, front ends, compiled engine.
//!
//! ```text
//! raw ── toml ──▶ ir ── compile ──▶ gates {sight, matcher} ── run ──▶ verdict, notes, trace
//!                                             ▲
//!                       facts ── collect, body ── values
//! ```
//!
//! Two gates: the head (line, header fields, cookies, query) and the body, which also runs when there
//! is none. A rule runs once, at the earliest gate where all its texts are known. Without rules none of
//! this costs anything.

mod bits;
mod body;
mod budget;
pub mod bytes;
mod collect;
mod compile;
mod concerns;
mod documented;
pub mod ir;
mod lints;
mod matcher;
mod memory;
mod needs;
pub mod operators;
mod pack;
mod program;
mod raw;
mod record;
mod run;
mod seclang;
mod sight;
pub mod targets;
mod toml;
pub mod transforms;
mod twin;
mod values;
mod weigh;

#[cfg(test)]
mod cases;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::{HeaderMap, HeaderName, StatusCode};

pub use self::concerns::{Concerns, RuleReach};
pub(in crate::policy) use self::lints::lint;
pub use self::memory::{Kept, Memory, Owner, Remembered, Update};
pub use self::pack::text as pack_text;
pub use self::raw::{
    ActionWord, PackWord, RawArgument, RawCondition, RawMatch, RawWaf, RawWafBody, RawWafExclude, RawWafLink,
    RawWafRule, TargetWord, TransformWord,
};
pub use self::run::Carried;
pub use self::seclang::{References, references};

use self::body::Bounds;
use self::compile::{Engine, Settings};
use self::ir::{Exclusion, Phase};
use self::operators::TableBudget;
use self::program::{Judge, Program};
use self::record::Recorder;
use self::run::Run;
use self::seclang::{EngineMode, ScriptItem};
use self::weigh::Weigh;
use super::code::Code;
use super::compile::Compile;
use super::diagnostic::At;
use super::mode::Mode;
use super::{Answer, AnswerPlan};
use crate::decision::{BodyInspection, Builtin, Denial, Notes, Stage, StepOutcome, Trace, Verdict, Written};
use crate::facts::{Body, Facts};

/// The compiled WAF rules.
#[derive(Clone, Default)]
pub struct Waf {
    engine: Option<Arc<Engine>>,
    program: Option<Arc<Program>>,
    /// What every rule means, for people who ask; first those of the engine, then those of the program.
    meant: Arc<[(Written, Arc<ir::Rule>)]>,
    /// How many of them are the engine's.
    own: usize,
    budget: u64,
    bounds: Bounds,
    /// How many bytes of a matched text are kept for the record (`log.waf_data`); none by default.
    pub data_limit: usize,
    /// Header fields that carry credentials, besides the standard ones; never recorded.
    pub credentials: Vec<HeaderName>,
}

/// The work that one request may cause unless `waf.budget` says otherwise.
const BUDGET: u64 = 32_000_000;
/// The sum of scores at which a request is refused unless `waf.threshold` says otherwise.
const THRESHOLD: u32 = 5;
/// How much memory the tables of expressions may take, over all rules that users write.
const TABLES: usize = 64 << 20;

impl Waf {
    /// Compiles `[waf]`; the mode is that of the whole stage.
    pub fn compile(raw: Option<&RawWaf>, cx: &mut Compile<'_>) -> (Waf, Mode) {
        let Some(raw) = raw else { return (Waf::default(), Mode::Enforce) };
        let mode = cx.stage_mode(&raw.mode, Some("waf"));
        let settings = settings(raw, cx);
        let mut entries = Vec::new();
        let mut packs: Vec<PackWord> = Vec::new();
        for pack in raw.packs.iter().flat_map(|packs| &packs.value) {
            if packs.contains(&pack.value) {
                cx.diagnostics.push(
                    Code::BadValue,
                    pack.place,
                    format!("the pack `{}` is named twice", pack.value.word()),
                );
                continue;
            }
            packs.push(pack.value);
            entries.extend(pack::add(pack, cx));
        }
        let mut tables = TableBudget(TABLES);
        entries.extend(toml::rules(&raw.rule, &mut tables, cx));
        let globs = raw.seclang.as_ref().map_or(&[][..], |globs| globs.value.as_slice());
        let script = seclang::read(globs, cx);
        let mut all: Vec<_> = entries.iter().map(|(written, _)| *written).collect();
        let own = all.len();
        all.extend(script.items.iter().filter_map(ScriptItem::rule).map(|rule| rule.written));
        toml::distinct(&raw.exclude, cx);
        let exclusions: Vec<_> =
            raw.exclude.iter().map(|exclude| toml::exclusion(exclude, &all, cx)).collect();
        let written =
            entries.iter().filter_map(|(written, built)| Some((*written, built.as_ref()?.meaning())));
        let scripted = script.items.iter().filter_map(ScriptItem::rule);
        let scripted = scripted.map(|rule| (rule.written, Arc::new(rule.rule.clone())));
        let mut meant: Vec<_> = written.collect();
        let engines = meant.len();
        meant.extend(scripted);
        let engine = Engine::new(&entries, &exclusions, settings, cx.diagnostics);
        let engine = (!engine.is_empty()).then(|| Arc::new(engine));
        let program = (!script.items.is_empty() && script.settings.engine != EngineMode::Off).then(|| {
            // The program counts its rules from the first of its own.
            let mine = exclusions.into_iter().map(|exclusion| Exclusion {
                rules: exclusion.rules.iter().filter_map(|rule| rule.checked_sub(own)).collect(),
                ..exclusion
            });
            let mut tables = TableBudget(TABLES);
            Arc::new(program::build(&script, mine.collect(), &mut tables, cx.diagnostics))
        });
        (
            Waf {
                engine,
                program,
                meant: meant.into(),
                own: engines,
                budget: settings.budget,
                bounds: settings.bounds,
                ..Waf::default()
            },
            mode,
        )
    }

    /// Judges the request line, headers, cookies and query. `shadow`: the stage or the route is in
    /// shadow.
    pub fn check_head(
        &self,
        facts: &Facts<'_>,
        shadow: bool,
        carried: &mut Carried,
        notes: &mut Notes,
        trace: Option<&mut Trace>,
    ) -> Verdict {
        let mut trace = trace;
        let verdict = match &self.engine {
            None => Verdict::Pass(Builtin::WafClean.into()),
            Some(engine) => {
                let (recorder, trace) = (self.recorder(), trace.as_deref_mut());
                Run { engine, stage: Stage::Waf, facts, shadow, recorder, notes, trace }.head(carried)
            }
        };
        let Some(program) = &self.program else { return verdict };
        let transaction = carried.transaction();
        let judged = self.judge(program, facts).head(facts, transaction);
        let scripted =
            Weigh { stage: Stage::Waf, shadow, notes, trace }.weigh(judged, None, program, transaction);
        first_refusal(verdict, scripted)
    }

    /// A rule in TOML and in SecLang, as far as each has words for it.
    pub fn twins(&self, wanted: Written, id: &str) -> Option<(String, String)> {
        let (_, rule) = self.meant.iter().find(|(written, _)| *written == wanted)?;
        Some((twin::toml(id, rule), twin::seclang(id, rule)))
    }

    /// Whether a rule is asked once the body is there, and not before.
    pub fn runs_late(&self, wanted: Written) -> bool {
        let meant = self.meant.iter().find(|(written, _)| *written == wanted);
        meant.is_some_and(|(_, rule)| rule.phase == Phase::RequestBody)
    }

    /// Whether any rule remembers requests (`initcol`).
    pub fn remembers(&self) -> bool {
        self.program.as_ref().is_some_and(|program| program.remembers())
    }

    /// Whether any rule looks at the bodies of answers.
    pub fn reads_answers(&self) -> bool {
        self.program.as_ref().is_some_and(|program| program.reads_answers())
    }

    /// What is to become of an answer.
    pub fn answer_plan(&self, status: StatusCode, headers: &HeaderMap) -> AnswerPlan {
        match &self.program {
            Some(program) if program.looks_at_answers() => program.answer_plan(status, headers),
            Some(_) | None => AnswerPlan::Pass,
        }
    }

    /// Judges an answer, and then what is only for the record.
    pub fn check_answer(
        &self,
        facts: &Facts<'_>,
        answer: &Answer<'_>,
        shadow: bool,
        carried: &mut Carried,
        notes: &mut Notes,
    ) -> Verdict {
        let Some(program) = &self.program else { return Verdict::Pass(Builtin::WafClean.into()) };
        let (judge, transaction) = (self.judge(program, facts), carried.transaction());
        let mut refusal = Verdict::Pass(Builtin::WafClean.into());
        for phase in [Phase::ResponseHead, Phase::ResponseBody, Phase::Logging] {
            if matches!(refusal, Verdict::Deny(_)) && phase != Phase::Logging {
                continue;
            }
            let judged = judge.answer(phase, answer, transaction);
            let weigh = Weigh { stage: Stage::WafBody, shadow, notes, trace: None };
            refusal = first_refusal(refusal, weigh.weigh(judged, None, program, transaction));
        }
        refusal
    }

    /// Looks at a request that was refused before any rule was asked. What is found is recorded as if
    /// the rules were in shadow, and changes nothing: rules remember nothing of it either.
    pub fn look_at_refused(&self, facts: &Facts<'_>, notes: &mut Notes) {
        let Some(program) = &self.program else { return };
        let mut carried = Carried::default();
        let (judge, transaction) = (self.judge(program, facts), carried.transaction());
        let judged = judge.head(facts, transaction);
        let weigh = Weigh { stage: Stage::Waf, shadow: true, notes, trace: None };
        let _ = weigh.weigh(judged, None, program, transaction);
        let (judged, _) = judge.body(facts, &self.bounds, transaction);
        let weigh = Weigh { stage: Stage::WafBody, shadow: true, notes, trace: None };
        let _ = weigh.weigh(judged, None, program, transaction);
    }

    fn judge<'a, 'f>(&'a self, program: &'a Program, facts: &'a Facts<'f>) -> Judge<'a, 'f> {
        Judge { program, facts: Some(facts), recorder: self.recorder(), budget: self.budget }
    }

    /// Whether any rule wants the body of this request read.
    pub fn wants_body(&self, facts: &Facts<'_>) -> bool {
        if self.program.as_ref().is_some_and(|program| program.reads_bodies()) {
            return true;
        }
        let Some(engine) = &self.engine else { return false };
        !engine.body.rules.is_empty() && engine.body.needs_body(&engine.body.active(facts))
    }

    /// Whether any rule could want a body read.
    pub fn inspects_bodies(&self) -> bool {
        self.engine.as_ref().is_some_and(|engine| !engine.body.rules.is_empty())
            || self.program.as_ref().is_some_and(|program| program.reads_bodies())
    }

    /// The largest body that is read for inspection.
    pub fn body_limit(&self) -> u64 {
        self.bounds.limit
    }

    /// Judges the body; also runs when there is none. Where it was not read, rules still see the
    /// texts of the head.
    pub fn check_body(
        &self,
        facts: &Facts<'_>,
        shadow: bool,
        carried: &mut Carried,
        notes: &mut Notes,
        trace: Option<&mut Trace>,
    ) -> Verdict {
        if *facts.body == Body::TooLarge {
            let denial = Denial::builtin(Stage::WafBody, Builtin::BodyTooLarge);
            if let Some(trace) = trace {
                let why = Builtin::BodyTooLarge.info().text;
                trace.rule(Stage::WafBody, Builtin::BodyTooLarge, StepOutcome::Deny(denial.reason), why);
            }
            return Verdict::Deny(denial);
        }
        let mut trace = trace;
        let verdict = match &self.engine {
            None => Verdict::Pass(Builtin::WafClean.into()),
            Some(engine) => {
                let (recorder, trace) = (self.recorder(), trace.as_deref_mut());
                Run { engine, stage: Stage::WafBody, facts, shadow, recorder, notes, trace }.body(carried)
            }
        };
        let Some(program) = &self.program else { return verdict };
        if facts.body.bytes().is_some_and(|bytes| !bytes.is_empty()) {
            notes.waf.body = BodyInspection::Inspected;
        }
        let transaction = carried.transaction();
        let (judged, unreadable) = self.judge(program, facts).body(facts, &self.bounds, transaction);
        let weigh = Weigh { stage: Stage::WafBody, shadow, notes, trace };
        first_refusal(verdict, weigh.weigh(judged, unreadable, program, transaction))
    }

    fn recorder(&self) -> Recorder<'_> {
        Recorder { data_limit: self.data_limit, credentials: &self.credentials }
    }
}

fn first_refusal(first: Verdict, second: Verdict) -> Verdict {
    if matches!(first, Verdict::Deny(_)) { first } else { second }
}

impl std::fmt::Debug for Waf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = |engine: &Arc<Engine>| engine.head.rules.len() + engine.body.rules.len();
        f.debug_struct("Waf").field("rules", &self.engine.as_ref().map_or(0, count)).finish_non_exhaustive()
    }
}

fn settings(raw: &RawWaf, cx: &mut Compile<'_>) -> Settings {
    let mut bounds = Bounds::default();
    if let Some(body) = &raw.body {
        let within = |value: Option<At<u64>>, (least, most): (u64, u64), key: &str, cx: &mut Compile<'_>| {
            let value = value?;
            if (least..=most).contains(&value.value) {
                return Some(value.value);
            }
            let message = format!("`waf.body.{key}` is {}, and not from {least} to {most}", value.value);
            cx.diagnostics.push(Code::BadValue, value.place, message);
            None
        };
        let limit = within(body.limit.map(|limit| limit.map(|size| size.0)), (1, 1 << 30), "limit", cx);
        let depth = within(body.depth.map(|depth| depth.map(u64::from)), (1, 100), "depth", cx);
        let fields = within(body.fields.map(|fields| fields.map(u64::from)), (1, 1 << 20), "fields", cx);
        bounds.limit = limit.unwrap_or(bounds.limit);
        bounds.depth = depth.and_then(|depth| depth.try_into().ok()).unwrap_or(bounds.depth);
        bounds.fields = fields.and_then(|fields| fields.try_into().ok()).unwrap_or(bounds.fields);
    }
    for (zero, key, place) in [
        (
            raw.threshold.is_some_and(|threshold| threshold.value == 0),
            "threshold",
            raw.threshold.map(|at| at.place),
        ),
        (raw.budget.is_some_and(|budget| budget.value == 0), "budget", raw.budget.map(|at| at.place)),
    ] {
        if zero {
            cx.diagnostics.push(
                Code::BadValue,
                place,
                format!("`waf.{key}` is 0, which would refuse every request"),
            );
        }
    }
    Settings {
        paranoia: raw.paranoia.and_then(|level| toml::level_of(level, cx)).unwrap_or(1),
        threshold: raw.threshold.map_or(THRESHOLD, |threshold| threshold.value),
        budget: raw.budget.map_or(BUDGET, |budget| budget.value),
        bounds,
    }
}
