//! Plots as SVG that stands in the page, each with the same numbers as a table for who cannot see it.
//!
//! Colours are classes of the style sheet, so that they follow light and dark.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::admin::samples::{Span, Took};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;

/// How many minutes a plot shows.
const COLUMNS: usize = 60;

/// Decisions of each minute: refusals by stage, failures, and what passed.
pub(super) fn decisions(minutes: &[Span]) -> Value {
    let stages: BTreeSet<&str> =
        minutes.iter().flat_map(|span| span.refused.keys().map(String::as_str)).collect();
    // Refusals stand at the bottom, where their heights can be compared.
    let series: Vec<(&str, Vec<u64>)> = stages
        .iter()
        .map(|stage| {
            (*stage, minutes.iter().map(|span| span.refused.get(*stage).copied().unwrap_or(0)).collect())
        })
        .chain([
            ("fault", minutes.iter().map(|span| span.failed).collect()),
            ("allowed", minutes.iter().map(|span| span.allowed).collect()),
        ])
        .filter(|(name, counts): &(&str, Vec<u64>)| {
            *name == "allowed" || counts.iter().any(|count| *count > 0)
        })
        .collect();
    let most =
        (0..minutes.len()).map(|at| series.iter().map(|(_, counts)| value(counts, at)).sum::<u64>()).max();
    let top = nice(most.unwrap_or(0).max(1) as f64);
    let mut svg = open("Decisions in each minute of the last hour");
    grid(&mut svg, &[0.0, top / 2.0, top], &|at| y(at / top), &|at| format!("{at:.0}"));
    let step = (WIDTH - LEFT - RIGHT) / COLUMNS as f64;
    let first = COLUMNS.saturating_sub(minutes.len());
    for at in 0..minutes.len() {
        let mut below = 0;
        for (name, counts) in &series {
            let count = value(counts, at);
            if count == 0 {
                continue;
            }
            let (low, high) = (y(below as f64 / top), y((below + count) as f64 / top));
            let x = LEFT + (first + at) as f64 * step;
            let minute = minutes.get(at).map(|span| span.at.to_string()).unwrap_or_default();
            let minute = minute.get(11..16).unwrap_or("");
            // Writing into a string cannot fail.
            let _ = write!(
                svg,
                "<rect class=\"bar s-{name}\" x=\"{x:.1}\" y=\"{high:.1}\" width=\"{:.1}\" height=\"{:.1}\"><title>{minute}: {count} {name}</title></rect>",
                step - 1.5,
                (low - high).max(0.5)
            );
            below += count;
        }
    }
    close(&mut svg, minutes);
    let legend: Vec<Value> = series
        .iter()
        .map(|(name, counts)| json!({ "name": name, "total": counts.iter().sum::<u64>() }))
        .collect();
    let rows: Vec<Value> = minutes
        .iter()
        .enumerate()
        .filter(|(at, _)| series.iter().any(|(_, counts)| value(counts, *at) > 0))
        .map(|(at, span)| json!({ "at": span.at.to_string(), "counts": series.iter().map(|(_, counts)| value(counts, at)).collect::<Vec<_>>() }))
        .collect();
    json!({ "svg": svg, "legend": legend, "rows": rows })
}

/// How long judging and upstreams took in each minute, on a scale of powers of ten.
pub(super) fn latency(minutes: &[Span]) -> Value {
    let lines: [(&str, &str, Vec<Option<Took>>); 4] = [
        (
            "judging-median",
            "judging, median",
            minutes.iter().map(|span| span.judging.map(|(median, _)| median)).collect(),
        ),
        (
            "judging-most",
            "judging, 99 of 100",
            minutes.iter().map(|span| span.judging.map(|(_, most)| most)).collect(),
        ),
        (
            "upstream-median",
            "upstream, median",
            minutes.iter().map(|span| span.upstream.map(|(median, _)| median)).collect(),
        ),
        (
            "upstream-most",
            "upstream, 99 of 100",
            minutes.iter().map(|span| span.upstream.map(|(_, most)| most)).collect(),
        ),
    ];
    // 100 ns to 10 s.
    let place = |seconds: f64| y(((seconds.max(1e-7).log10() + 7.0) / 8.0).clamp(0.0, 1.0));
    let mut svg = open("How long judging and upstreams took in each minute of the last hour");
    grid(&mut svg, &[1e-7, 1e-5, 1e-3, 1e-1, 10.0], &place, &|at| duration(at));
    let step = (WIDTH - LEFT - RIGHT) / COLUMNS as f64;
    let first = COLUMNS.saturating_sub(minutes.len());
    for (class, name, values) in &lines {
        let mut path = String::new();
        let mut drawing = false;
        for (at, seconds) in values.iter().enumerate() {
            let Some(seconds) = seconds else {
                drawing = false;
                continue;
            };
            let (x, y) = (LEFT + (first + at) as f64 * step + step / 2.0, place(seconds.seconds()));
            let _ = write!(path, "{}{x:.1} {y:.1}", if drawing { "L" } else { "M" });
            let _ = write!(
                svg,
                "<circle class=\"dot l-{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2\"><title>{name}: {}</title></circle>",
                took(*seconds)
            );
            drawing = true;
        }
        let _ = write!(svg, "<path class=\"line l-{class}\" d=\"{path}\"/>");
    }
    close(&mut svg, minutes);
    let last = |values: &[Option<Took>]| values.iter().rev().find_map(|value| *value).map(took);
    let legend: Vec<Value> = lines
        .iter()
        .filter_map(|(class, name, values)| {
            Some(json!({ "class": class, "name": name, "last": last(values)? }))
        })
        .collect();
    let rows: Vec<Value> = (0..minutes.len())
        .filter(|at| lines.iter().any(|(.., values)| values.get(*at).is_some_and(Option::is_some)))
        .map(|at| {
            let cells: Vec<String> = lines
                .iter()
                .map(|(.., values)| values.get(at).copied().flatten().map(took).unwrap_or_default())
                .collect();
            json!({ "at": minutes.get(at).map(|span| span.at.to_string()), "cells": cells })
        })
        .collect();
    let names: Vec<&str> = lines.iter().map(|(_, name, _)| *name).collect();
    json!({ "svg": svg, "legend": legend, "names": names, "rows": rows })
}

fn value(counts: &[u64], at: usize) -> u64 {
    counts.get(at).copied().unwrap_or(0)
}

/// The height of a share of the plot.
fn y(share: f64) -> f64 {
    TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - share)
}

/// The next number that a scale can end with.
fn nice(most: f64) -> f64 {
    let power = 10f64.powf(most.log10().floor());
    let nice = [1.0, 2.0, 4.0, 5.0, 10.0].into_iter().map(|step| step * power).find(|nice| *nice >= most);
    nice.unwrap_or(most).max(2.0)
}

fn took(took: Took) -> String {
    match took {
        Took::Under(seconds) => format!("under {}", duration(seconds)),
        Took::About(seconds) => duration(seconds),
        Took::Over(seconds) => format!("over {}", duration(seconds)),
    }
}

fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 1e-6 => format!("{:.0} ns", seconds * 1e9),
        seconds if seconds < 1e-5 => format!("{:.1} µs", seconds * 1e6),
        seconds if seconds < 1e-3 => format!("{:.0} µs", seconds * 1e6),
        seconds if seconds < 1e-2 => format!("{:.1} ms", seconds * 1e3),
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        seconds => format!("{seconds:.0} s"),
    }
}

fn open(name: &str) -> String {
    format!("<svg class=\"plot\" role=\"img\" aria-label=\"{name}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\">")
}

fn grid(svg: &mut String, marks: &[f64], place: &dyn Fn(f64) -> f64, name: &dyn Fn(f64) -> String) {
    for mark in marks {
        let y = place(*mark);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text class=\"mark\" text-anchor=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            y + 4.0,
            name(*mark)
        );
    }
}

fn close(svg: &mut String, minutes: &[Span]) {
    let end = minutes.last().map(|span| span.at);
    let step = (WIDTH - LEFT - RIGHT) / COLUMNS as f64;
    for ago in [60, 45, 30, 15, 0] {
        let time = end.and_then(|end| end.checked_sub(jiff::SignedDuration::from_mins(ago)).ok());
        let time = time.map(|time| time.to_string()).unwrap_or_default();
        let x = LEFT + (COLUMNS as i64 - ago) as f64 * step;
        let anchor = match ago {
            60 => "start",
            0 => "end",
            _ => "middle",
        };
        let _ = write!(
            svg,
            "<text class=\"mark\" text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
            HEIGHT - 6.0,
            time.get(11..16).unwrap_or("")
        );
    }
    svg.push_str("</svg>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_with_round_numbers() {
        let ends = [0.0f64.max(1.0), 3.0, 7.0, 41.0, 99.0, 101.0].map(nice);
        assert_eq!(ends, [2.0, 4.0, 10.0, 50.0, 100.0, 200.0]);
    }

    #[test]
    fn durations_have_the_unit_that_people_would_use() {
        let words = [2e-7, 1.5e-6, 3.2e-5, 0.0042, 0.25, 12.0].map(duration);
        assert_eq!(words, ["200 ns", "1.5 µs", "32 µs", "4.2 ms", "250 ms", "12 s"]);
    }
}
