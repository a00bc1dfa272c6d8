//! A rule in the words of both languages, from what both are lowered to. For people: what one of them
//! has no word for is said in a comment.

use super::ir::{
    Action, Change, Condition, Effect, Input, Link, Operand, Piece, Rule, Severity, Template, Test, Variable,
    VariableKind,
};
use super::operators::{Argument, OperatorKind};
use super::targets::{Part, Selector, Target};

/// The rule as `[[waf.rule]]`.
pub(super) fn toml(id: &str, rule: &Rule) -> String {
    let mut lines = vec!["[[waf.rule]]".to_owned(), format!("id = {}", quoted(id))];
    lines.push(match (rule.action, scored(rule)) {
        (Action::Deny, _) => "action = \"deny\"".to_owned(),
        (Action::Score(score), _) => format!("score = {score}"),
        (Action::Log | Action::Pass, true) => format!("score = {}", score_of(rule.severity)),
        (Action::Log | Action::Pass, false) => "action = \"log\"".to_owned(),
    });
    let mut links = rule.links.iter();
    let mut unsaid = Vec::new();
    if let Some(head) = links.next() {
        lines.extend(toml_link(head, &mut unsaid));
    }
    let chain: Vec<String> =
        links.map(|link| format!("{{ {} }}", toml_link(link, &mut unsaid).join(", "))).collect();
    if !chain.is_empty() {
        lines.push(format!("chain = [{}]", chain.join(", ")));
    }
    if !rule.msg.pieces.is_empty() {
        lines.push(format!("msg = {}", quoted(&template(&rule.msg))));
    }
    if !rule.tags.is_empty() {
        let tags = rule.tags.iter().map(|tag| quoted(tag)).collect::<Vec<_>>();
        lines.push(format!("tags = [{}]", tags.join(", ")));
    }
    if rule.paranoia > 1 {
        lines.push(format!("paranoia = {}", rule.paranoia));
    }
    for effect in &rule.effects {
        match effect {
            Effect::SkipAfter(marker) => unsaid.push(format!("goes on behind {marker}")),
            Effect::Allow(_) => unsaid.push("asks no further rule".to_owned()),
            Effect::Recall { kept, .. } => {
                unsaid.push(format!("remembers requests by {}", kept.name().to_ascii_uppercase()));
            }
            Effect::Set { .. } | Effect::Expire { .. } | Effect::Control(_) => {}
        }
    }
    lines.extend(unsaid.iter().map(|what| format!("# not in TOML: {what}")));
    lines.join("\n")
}

/// The rule as `SecRule`.
pub(super) fn seclang(id: &str, rule: &Rule) -> String {
    let number = if id.bytes().all(|byte| byte.is_ascii_digit()) { id } else { "1" };
    let mut out = String::new();
    for (at, link) in rule.links.iter().enumerate() {
        let variables: Vec<String> = link.inputs.iter().map(variable).collect();
        let mut actions = Vec::new();
        if at == 0 {
            actions.push(format!("id:{number}"));
            actions.push(format!("phase:{}", rule.phase as u8));
            actions.push(match rule.action {
                Action::Deny => "deny".to_owned(),
                Action::Score(score) => {
                    format!("block,setvar:'tx.anomaly_score_pl{}=+{score}'", rule.paranoia)
                }
                Action::Log | Action::Pass => "pass".to_owned(),
            });
            actions.extend((!rule.logged).then(|| "nolog".to_owned()));
        }
        actions.push("t:none".to_owned());
        actions.extend(link.transforms.iter().map(|transform| format!("t:{}", camel(transform.info().name))));
        actions.extend(link.multi_match.then(|| "multiMatch".to_owned()));
        actions.extend(link.capture.then(|| "capture".to_owned()));
        if at == 0 {
            let said = template(&rule.msg);
            actions.extend((!said.is_empty()).then(|| format!("msg:'{}'", said.replace('\'', "\\'"))));
            actions.extend(rule.tags.iter().map(|tag| format!("tag:'{tag}'")));
        }
        actions.extend(link.effects.iter().filter_map(set));
        actions.extend((at + 1 < rule.links.len()).then(|| "chain".to_owned()));
        let indent = "    ".repeat(at);
        let actions = actions.join(",");
        out.push_str(&match &link.test {
            Test::Always => format!("{indent}SecAction \"{actions}\"\n"),
            Test::All(conditions) | Test::Any(conditions) => {
                let several = match conditions.len() {
                    0 | 1 => "",
                    _ => "# the first of several conditions, which SecLang says in rules of their own\n",
                };
                let operator = conditions.first().map(operator).unwrap_or_default();
                format!(
                    "{several}{indent}SecRule {} \"{}\" \\\n{indent}    \"{actions}\"\n",
                    variables.join("|"),
                    operator.replace('"', "\\\"")
                )
            }
        });
    }
    out.trim_end().to_owned()
}

// === TOML ===

fn toml_link(link: &Link, unsaid: &mut Vec<String>) -> Vec<String> {
    let mut targets = Vec::new();
    for input in &link.inputs {
        match input {
            Input::Texts(target) if target.collection.is_worded() => {
                targets.push(quoted(&target.to_string()))
            }
            other => unsaid.push(format!("looks at {}", variable(other))),
        }
    }
    let mut parts = vec![format!("targets = [{}]", targets.join(", "))];
    if !link.transforms.is_empty() {
        let names: Vec<String> =
            link.transforms.iter().map(|transform| quoted(transform.info().name)).collect();
        parts.push(format!("transforms = [{}]", names.join(", ")));
    }
    parts.push(match &link.test {
        Test::Always => "match = { present = true }".to_owned(),
        Test::All(conditions) if conditions.len() == 1 => {
            format!("match = {}", conditions.first().map(condition).unwrap_or_default())
        }
        Test::All(conditions) => format!("match = {{ all = [{}] }}", list(conditions)),
        Test::Any(conditions) => format!("match = {{ any = [{}] }}", list(conditions)),
    });
    unsaid.extend(link.multi_match.then(|| "multiMatch".to_owned()));
    unsaid.extend(link.effects.iter().filter_map(set));
    parts
}

fn list(conditions: &[Condition]) -> String {
    conditions.iter().map(condition).collect::<Vec<_>>().join(", ")
}

fn condition(condition: &Condition) -> String {
    let argument = match &condition.argument {
        Operand::Macro(text) => quoted(&template(text)),
        Operand::Fixed(argument) => match argument {
            Argument::Nothing => "true".to_owned(),
            Argument::Text(text) if condition.operator == OperatorKind::Regex && !text.contains("'''") => {
                format!("'''{text}'''")
            }
            Argument::Text(text) => quoted(text),
            Argument::Words(words) => {
                let shown: Vec<String> = words.iter().take(MANY).map(|word| quoted(word)).collect();
                let more = if words.len() > MANY { ", …" } else { "" };
                format!("[{}{more}]", shown.join(", "))
            }
            Argument::Number(number) => number.to_string(),
            Argument::Bytes(set) => format!("[{}]", ranges(set).join(", ")),
            Argument::Networks(nets) => {
                let nets: Vec<String> = nets.iter().map(|net| quoted(&net.to_string())).collect();
                format!("[{}]", nets.join(", "))
            }
        },
    };
    let not = if condition.negated { ", not = true" } else { "" };
    format!("{{ {} = {argument}{not} }}", condition.operator.info().name)
}

/// More words of a list are not shown.
const MANY: usize = 12;

fn ranges(set: &super::bytes::ByteSet) -> Vec<String> {
    let mut out: Vec<(u8, u8)> = Vec::new();
    for byte in set.iter() {
        match out.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(byte) => *last = byte,
            _ => out.push((byte, byte)),
        }
    }
    out.into_iter().map(|(first, last)| quoted(&format!("{first}-{last}"))).collect()
}

fn quoted(text: &str) -> String {
    ::toml::Value::String(text.to_owned()).to_string()
}

/// Whether a match adds to an anomaly score.
fn scored(rule: &Rule) -> bool {
    let effects = rule.links.iter().flat_map(|link| &link.effects);
    effects.into_iter().any(|effect| match effect {
        Effect::Set { name, change: Change::Add(_), .. } => template(name).contains("anomaly_score"),
        _ => false,
    })
}

/// What a match of this severity adds in the Core Rule Set.
fn score_of(severity: Option<Severity>) -> u32 {
    match severity {
        Some(Severity::Error) => 4,
        Some(Severity::Warning) => 3,
        Some(Severity::Notice | Severity::Info | Severity::Debug) => 2,
        Some(Severity::Emergency | Severity::Alert | Severity::Critical) | None => 5,
    }
}

// === SecLang ===

fn variable(input: &Input) -> String {
    match input {
        Input::Texts(target) => format!("{}{}", if target.excluded { "!" } else { "" }, texts(target)),
        Input::Count(variables) => format!("&{}", variables.first().map(name).unwrap_or_default()),
        Input::Variable(variable) => name(variable),
        Input::Without(variable) => format!("!{}", name(variable)),
    }
}

fn name(variable: &Variable) -> String {
    let word = match &variable.kind {
        VariableKind::Texts(target) => return texts(target),
        VariableKind::Transaction => "TX",
        VariableKind::Stored(collection) => collection,
        VariableKind::Matched => "MATCHED_VARS",
        VariableKind::MatchedName => "MATCHED_VARS_NAMES",
        VariableKind::Named(name) => name,
    };
    format!("{word}{}", selector(&variable.selector))
}

fn texts(target: &Target) -> String {
    use super::targets::Collection as C;
    let word = match target.collection {
        C::Method => "REQUEST_METHOD",
        C::Line | C::Uri => "REQUEST_URI",
        C::Path => "REQUEST_FILENAME",
        C::Client => "REMOTE_ADDR",
        C::Query => "ARGS_GET",
        C::Form | C::Json => "ARGS_POST",
        C::Cookie => "REQUEST_COOKIES",
        C::Header => "REQUEST_HEADERS",
        C::Xml => "XML",
        C::File => "FILES",
        C::Body => "REQUEST_BODY",
        other => other.name(),
    };
    let names = if target.part == Part::Names { "_NAMES" } else { "" };
    let member = match (target.collection, &target.selector) {
        (C::Xml, Selector::All) => ":/*".to_owned(),
        (_, member) => selector(member),
    };
    format!("{word}{names}{member}")
}

fn selector(selector: &Selector) -> String {
    match selector {
        Selector::All => String::new(),
        Selector::Name(name) => format!(":{name}"),
        Selector::Pattern(pattern) => format!(":/{pattern}/"),
    }
}

fn operator(condition: &Condition) -> String {
    let (word, known) = match condition.operator.info().name {
        "starts_with" => ("beginsWith", true),
        "ends_with" => ("endsWith", true),
        "contains" => ("contains", true),
        "contains_word" => ("containsWord", true),
        "contains_any_nocase" | "contains_any" => ("pm", true),
        "equals" => ("streq", true),
        "equals_any" | "within" => ("within", true),
        "regex" => ("rx", true),
        "ip_match" => ("ipMatch", true),
        "bytes_outside" => ("validateByteRange", true),
        "invalid_url_encoding" => ("validateUrlEncoding", true),
        "invalid_utf8" => ("validateUtf8Encoding", true),
        "detect_sqli" => ("detectSQLi", true),
        "detect_xss" => ("detectXSS", true),
        "present" => ("unconditionalMatch", true),
        other => (other, false),
    };
    debug_assert!(known || matches!(word, "eq" | "ge" | "gt" | "le" | "lt"));
    let argument = match &condition.argument {
        Operand::Macro(text) => template(text),
        Operand::Fixed(argument) => match argument {
            Argument::Nothing => String::new(),
            Argument::Text(text) => text.to_string(),
            Argument::Words(words) => {
                let more = if words.len() > MANY { " …" } else { "" };
                let shown: Vec<&str> = words.iter().take(MANY).map(|word| &**word).collect();
                shown.join(" ") + more
            }
            Argument::Number(number) => number.to_string(),
            Argument::Bytes(set) => ranges(set).join(",").replace('"', ""),
            Argument::Networks(nets) => nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        },
    };
    let not = if condition.negated { "!" } else { "" };
    format!("{not}@{word} {argument}").trim_end().to_owned()
}

fn set(effect: &Effect) -> Option<String> {
    let (collection, name, change) = match effect {
        Effect::Set { collection, name, change } => (collection, name, change),
        Effect::Recall { kept, key } => return Some(format!("initcol:{}={}", kept.name(), template(key))),
        Effect::Expire { kept, name, seconds } => {
            return Some(format!("expirevar:'{}.{}={}'", kept.name(), template(name), template(seconds)));
        }
        Effect::Control(_) => return Some("ctl".to_owned()),
        Effect::SkipAfter(_) | Effect::Allow(_) => return None,
    };
    let name = format!("{collection}.{}", template(name));
    Some(match change {
        Change::Value(text) => format!("setvar:'{name}={}'", template(text)),
        Change::Add(text) => format!("setvar:'{name}=+{}'", template(text)),
        Change::Subtract(text) => format!("setvar:'{name}=-{}'", template(text)),
        Change::Unset => format!("setvar:!{name}"),
    })
}

fn template(text: &Template) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => text.to_string(),
        Piece::Macro(variables) => {
            format!("%{{{}}}", variables.first().map(name).unwrap_or_default().replacen(':', ".", 1))
        }
    };
    text.pieces.iter().map(piece).collect()
}

/// `url_decode_uni` as SecLang writes it.
fn camel(name: &str) -> String {
    match name {
        "base64_decode_lenient" => return "base64Decode".to_owned(),
        "utf8_to_unicode" => return "utf8toUnicode".to_owned(),
        _ => {}
    }
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut all, word| {
        let mut letters = word.chars();
        all.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        all.push_str(letters.as_str());
        all
    })
}
