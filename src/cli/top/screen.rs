//! What `top` shows: one text for each state of things, and the terminal that it is drawn on.

use std::io::{self, Write};

use anstyle::Style;
use rustix::termios::tcgetwinsize;
use serde_json::Value;

use crate::cli::layout::{padded, printable, visible_width};
use crate::cli::reply::{BAD, FAINT, GOOD, STRONG, WARN, styled};

/// What the gateway said at one time.
#[derive(Clone, Debug)]
pub(super) struct Shot {
    status: Value,
    policy: Value,
}

/// A terminal that is drawn on until this is dropped.
pub(super) struct Screen {
    colour: bool,
}

impl Shot {
    pub(super) fn new(status: Value, policy: Value) -> Shot {
        Shot { status, policy }
    }

    /// How much a rule refused, failed and allowed so far.
    fn hits(rule: &Value) -> (u64, u64) {
        let count = |name: &str| rule["hits"][name].as_u64().unwrap_or(0);
        (count("refused") + count("failed"), count("allowed"))
    }

    fn rule(&self, name: &Value) -> Option<&Value> {
        self.policy["rules"].as_array()?.iter().find(|rule| rule["rule"] == *name)
    }
}

/// The whole screen, for a terminal of so many columns and lines. Rates are of the time between two
/// shots, which is a second.
pub(super) fn text(shot: &Shot, before: Option<&Shot>, last: &[Value], size: (usize, usize)) -> String {
    let (columns, height) = size;
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let word = |value: &Value| printable(value.as_str().unwrap_or("-")).into_owned();
    let rate = |name: &str| {
        let now = number(&shot.policy[name]);
        before.map_or(0, |before| now.saturating_sub(number(&before.policy[name])))
    };
    let (decided, refused) = (number(&shot.policy["decided"]), number(&shot.policy["refused"]));
    let share = if decided == 0 { 0.0 } else { refused as f64 * 100.0 / decided as f64 };
    let mut lines = vec![
        format!(
            "{}  policy {}-{}  connections {}  up {} s",
            styled(STRONG, "portcullis top"),
            number(&shot.policy["generation"]),
            word(&shot.policy["hash"]),
            number(&shot.status["connections"]),
            number(&shot.status["uptime_seconds"])
        ),
        format!(
            "{} decisions/s, {} refused/s; since the start {decided} decided, {refused} refused ({share:.1} %)",
            styled(STRONG, rate("decided")),
            styled(if rate("refused") > 0 { BAD } else { STRONG }, rate("refused"))
        ),
        String::new(),
        styled(
            FAINT,
            format!("{:>9} {:>9} {:>10} {:>10}  RULE", "REFUSED/S", "ALLOWED/S", "REFUSED", "ALLOWED"),
        ),
    ];
    let rules = shot.policy["rules"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut rows: Vec<_> = rules
        .iter()
        .map(|rule| {
            let now = Shot::hits(rule);
            let then = before.and_then(|before| before.rule(&rule["rule"])).map_or(now, Shot::hits);
            ((now.0.saturating_sub(then.0), now.1.saturating_sub(then.1)), now, rule)
        })
        .filter(|(_, now, _)| *now != (0, 0))
        .collect();
    rows.sort_by_key(|(rates, now, _)| std::cmp::Reverse((*rates, *now)));
    let room = (height.saturating_sub(8) / 2).max(3);
    for ((refusing, allowing), (refused, allowed), rule) in rows.into_iter().take(room) {
        let style = if refusing > 0 { BAD } else { Style::new() };
        lines.push(styled(
            style,
            format!("{refusing:>9} {allowing:>9} {refused:>10} {allowed:>10}  {}", word(&rule["rule"])),
        ));
    }
    lines.push(String::new());
    lines.push(styled(FAINT, "TIME      DECISION STATUS RULE (REASON)                            REQUEST"));
    let left = height.saturating_sub(lines.len() + 1);
    lines.extend(last.iter().take(left).map(|record| line(record, Some(columns))));
    lines.join("\n") + "\n"
}

/// A decision in one line; with a width, cut to it.
pub(super) fn line(record: &Value, columns: Option<usize>) -> String {
    let word = |pointer: &str| {
        printable(record.pointer(pointer).and_then(Value::as_str).unwrap_or("-")).into_owned()
    };
    let (decision, style) = match record["decision"].as_str() {
        Some("allow") => ("allow", GOOD),
        Some("deny") => ("deny", BAD),
        _ => ("error", WARN),
    };
    let rule = match record["reason"].as_str() {
        Some(reason) => format!("{} ({})", word("/rule"), printable(reason)),
        None => word("/rule"),
    };
    let time = word("/ts").get(11..19).unwrap_or("-").to_owned();
    let head = format!(
        "{time}  {} {:<6} {}",
        padded(&styled(style, decision), 8),
        printable(&record["status"].to_string()),
        padded(&rule, 40)
    );
    let request = format!(
        "{} {}  {} {}",
        word("/method"),
        word("/path"),
        word("/client/ip"),
        word("/identity/subject")
    );
    let id = match columns {
        // A line that is read by programs ends with what finds the whole record.
        None => format!("  {}", word("/request_id")),
        Some(_) => String::new(),
    };
    let room = columns.map_or(usize::MAX, |columns| columns.saturating_sub(visible_width(&head) + 1));
    let request: String = request.chars().take(room).collect();
    format!("{head} {request}{id}")
}

impl Screen {
    /// Takes the terminal: another screen, without a cursor.
    pub(super) fn open() -> io::Result<Screen> {
        let colour = anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
        let mut out = io::stdout().lock();
        out.write_all(b"\x1b[?1049h\x1b[?25l")?;
        out.flush()?;
        Ok(Screen { colour })
    }

    /// Columns and lines.
    pub(super) fn size(&self) -> (usize, usize) {
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
            _ => (80, 24),
        }
    }

    /// Draws a text over what was there.
    pub(super) fn show(&mut self, text: &str) {
        let text = if self.colour { text.to_owned() } else { anstream::adapter::strip_str(text).to_string() };
        // To the start; each line is cleared behind its end, and what is below the last as well.
        let drawn = format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\r\n"));
        let mut out = io::stdout().lock();
        // A terminal that is gone ends the process by its signal.
        let _ = out.write_all(drawn.as_bytes()).and_then(|()| out.flush());
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut out = io::stdout().lock();
        let _ = out.write_all(b"\x1b[?25h\x1b[?1049l").and_then(|()| out.flush());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shot(refused: u64, allowed: u64) -> Shot {
        let rule = |name: &str, refused: u64, allowed: u64| json!({ "rule": name, "hits": { "refused": refused, "failed": 0, "allowed": allowed } });
        Shot::new(
            json!({ "connections": 3, "uptime_seconds": 61 }),
            json!({
                "generation": 7, "hash": "3f9a2c1d", "decided": refused + allowed, "refused": refused,
                "rules": [rule("rbac/read", 0, allowed), rule("rbac/default-deny", refused, 0), rule("ip/idle", 0, 0)],
            }),
        )
    }

    #[test]
    fn the_screen_tells_rates_the_busiest_rules_and_the_last_decisions() {
        let record = json!({
            "ts": "2026-11-24T09:12:03.000001Z", "decision": "deny", "status": 403, "rule": "rbac/default-deny",
            "reason": "role_missing", "method": "DELETE", "path": "/orders/\u{1b}[2J42", "request_id": "r-1",
            "client": {"ip": "203.0.113.9"}, "identity": {"subject": "alice"},
        });
        let text = text(&shot(4, 16), Some(&shot(1, 10)), std::slice::from_ref(&record), (100, 24));
        insta::assert_snapshot!(anstream::adapter::strip_str(&text), @r"
        portcullis top  policy 7-3f9a2c1d  connections 3  up 61 s
        9 decisions/s, 3 refused/s; since the start 20 decided, 4 refused (20.0 %)

        REFUSED/S ALLOWED/S    REFUSED    ALLOWED  RULE
                3         0          4          0  rbac/default-deny
                0         6          0         16  rbac/read

        TIME      DECISION STATUS RULE (REASON)                            REQUEST
        09:12:03  deny     403    rbac/default-deny (role_missing)         DELETE /orders/\u{1b}[2J42  203.0
        ");
        let line = line(&record, None);
        assert!(anstream::adapter::strip_str(&line).to_string().ends_with("203.0.113.9 alice  r-1"));
    }

    #[test]
    fn nothing_that_a_gateway_says_moves_the_terminal() {
        let evil = "2026-11-24T\u{1b}]0;t\u{7}\u{202e}\u{9b}31m\r\u{2066}\u{200f}";
        let record = json!({
            "ts": evil, "decision": evil, "status": evil, "rule": evil, "reason": evil, "method": evil,
            "path": evil, "request_id": evil, "client": {"ip": evil}, "identity": {"subject": evil},
        });
        let rules = json!([{ "rule": evil, "hits": { "refused": 1, "allowed": 1 } }]);
        let shot = Shot::new(
            json!({ "connections": evil, "uptime_seconds": evil }),
            json!({ "generation": evil, "hash": evil, "decided": evil, "refused": evil, "rules": rules }),
        );
        let screen = text(&shot, None, std::slice::from_ref(&record), (200, 24)) + &line(&record, None);
        let plain = anstream::adapter::strip_str(&screen).to_string();
        assert!(!plain.chars().any(|c| c != '\n' && crate::deny::is_deceptive(c)), "{plain:?}");
        // Nothing was taken for a style and stripped.
        assert!(plain.contains("\\u{1b}]0;t"), "{plain:?}");
    }
}
