//! `/api/explain`, and the policies of the history that a question may name.

use std::sync::Arc;

use http::StatusCode;
use serde_json::Value;

use super::AdminState;
use super::answer::{Answer, json, problem};
use super::oracle::Question;
use crate::config::{Setup, load};
use crate::state::{Accepted, Entry, named, sources};

/// One question is judged so many times at most beside itself: it is answered on the thread that
/// answers probes.
const MOST_WHAT_IFS: usize = 16;

/// Compiling a policy takes longer than asking it.
const MOST_POLICIES: usize = 4;

/// Answers a question.
pub(super) async fn explain(state: &Arc<AdminState>, question: Question) -> Answer {
    match document(state, question, None).await {
        Ok(document) => json(StatusCode::OK, &document),
        Err(why) => problem(StatusCode::UNPROCESSABLE_ENTITY, why),
    }
}

/// The answer. `judge`: the policy of the history that judges instead of the one in force.
pub(super) async fn document(
    state: &Arc<AdminState>,
    question: Question,
    judge: Option<&str>,
) -> Result<Value, String> {
    let besides = question.besides();
    if besides > MOST_WHAT_IFS {
        return Err(format!(
            "what_if_ip, what_if_role, what_if_token, what_if_at, what_if_policy: {besides} are too many, {MOST_WHAT_IFS} at most; ask several times"
        ));
    }
    let wanted = &question.what_if_policy;
    if wanted.len() > MOST_POLICIES {
        let many = wanted.len();
        return Err(format!(
            "what_if_policy: {many} are too many, {MOST_POLICIES} at most; ask several times"
        ));
    }
    let judge = judge.map(|judge| find(state, judge)).transpose()?;
    let policies: Vec<Accepted> = wanted.iter().map(|text| find(state, text)).collect::<Result<_, _>>()?;
    if judge.is_none() && policies.is_empty() {
        return ask(state, &state.installer.setup(), &question, Vec::new());
    }
    // Policies are compiled aside, and one question at a time.
    let _turn = state.searching.acquire().await.map_err(|error| error.to_string())?;
    let state = Arc::clone(state);
    let answer = tokio::task::spawn_blocking(move || {
        let compiled = |accepted: &Accepted| {
            let name = accepted.version().to_string();
            match compile(&state, accepted) {
                Some(setup) => Ok((name, setup)),
                None => Err(format!("the policy {name} is not kept whole, so it cannot be asked")),
            }
        };
        let others = policies.iter().map(compiled).collect::<Result<_, _>>()?;
        match judge.as_ref().map(compiled).transpose()? {
            Some((_, setup)) => ask(&state, &setup, &question, others),
            None => ask(&state, &state.installer.setup(), &question, others),
        }
    });
    answer.await.map_err(|error| error.to_string())?
}

fn ask(
    state: &AdminState,
    setup: &Setup,
    question: &Question,
    others: Vec<(String, Setup)>,
) -> Result<Value, String> {
    let snapshot = state.installer.current().load_full();
    state.oracle.explain(setup, &snapshot.world, question, others)
}

/// The policies that are kept, the oldest first.
pub(super) fn kept(state: &AdminState) -> Vec<Accepted> {
    let accepted = |entries: &[Entry]| entries.iter().filter_map(Entry::accepted).cloned().collect();
    state.installer.chronicle().entries(accepted)
}

fn find(state: &AdminState, text: &str) -> Result<Accepted, String> {
    let kept = kept(state);
    let known: Vec<&Accepted> = kept.iter().collect();
    if let Some(found) = named(&known, text.trim()) {
        return Ok(found.clone());
    }
    let known = match (known.first(), known.last()) {
        (Some(first), Some(last)) => format!("{} to {} are kept", first.generation, last.generation),
        _ => "none is kept".to_owned(),
    };
    Err(format!(
        "there is no policy `{text}` in the history: write a generation, `7` or `7-3f9a2c1d`, or `-1` for the one before the last; {known}"
    ))
}

/// A policy of the history, compiled as it was then; none if it cannot be.
pub(super) fn compile(state: &AdminState, accepted: &Accepted) -> Option<Setup> {
    let folder = state.installer.current().load().settings.state_dir.clone()?;
    let sources = sources(&folder, accepted).ok()?;
    let mut setup = load::recall(sources, accepted.at).setup?;
    setup.policy.version = accepted.version();
    Some(setup)
}
