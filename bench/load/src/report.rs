//! The table: each target's value, how many times the relay's it is, and the budgets of the design.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::rows::{Row, to_json};

/// What a budget compares with.
enum Against {
    /// A multiple of another target's value of the same metric.
    Target(&'static str),
    /// A multiple of another metric's value, of the target that has it.
    Metric(&'static str),
    /// So much more than another target's value of the same metric.
    Beyond(&'static str),
    /// A plain value in the metric's unit.
    Value,
}

/// One line of the design's table of budgets, as far as this tool measures it.
struct Budget {
    metric: &'static str,
    bar: f64,
    against: Against,
}

/// The design's budgets. For a login it says "dominated by the hash: at most 2 x the bare SCRAM computation"; which
/// computation it does not say, so both are held against it: with PBKDF2, and without (StoredKey and ServerKey kept).
const BUDGETS: [Budget; 7] = [
    Budget { metric: "chat.in_flight_1.cpu", bar: 2.0, against: Against::Target("relay") },
    Budget { metric: "chat.in_flight_4.cpu", bar: 3.0, against: Against::Target("relay") },
    Budget { metric: "rooms.10x100.cpu", bar: 1.5, against: Against::Beyond("relay") },
    Budget { metric: "login.plain.cpu", bar: 2.0, against: Against::Metric("scram.derive") },
    Budget { metric: "login.plain.cpu", bar: 2.0, against: Against::Metric("scram.verify") },
    Budget { metric: "memory.plain.anonymous", bar: 3.0 * 1024.0, against: Against::Value },
    Budget { metric: "memory.tls.anonymous", bar: 16.0 * 1024.0, against: Against::Value },
];

/// How a target stands to one budget.
struct Verdict {
    metric: &'static str,
    budget: String,
    /// The measured multiple, or the measured value.
    measured: f64,
    bar: f64,
}

impl Verdict {
    fn of(budget: &Budget, rows: &[Row], subject: &str) -> Option<Verdict> {
        let value = find(rows, budget.metric, subject)?.value;
        let bar = budget.bar;
        if let Against::Beyond(name) = budget.against {
            let measured = value - find(rows, budget.metric, name)?.value;
            let budget = (budget.metric, format!("<= {name} + {bar} us"));
            return Some(Verdict { metric: budget.0, budget: budget.1, measured, bar });
        }
        let (base, text) = match budget.against {
            Against::Beyond(_) => return None,
            Against::Target(name) => (find(rows, budget.metric, name)?.value, format!("<= {bar} x {name}")),
            Against::Metric(name) => (rows.iter().find(|r| r.metric == name)?.value, format!("<= {bar} x {name}")),
            Against::Value => (1.0, format!("<= {bar} B")),
        };
        Some(Verdict { metric: budget.metric, budget: text, measured: value / base, bar })
    }

    fn met(&self) -> bool {
        self.measured <= self.bar
    }

    fn sentence(&self) -> String {
        let share = self.measured / self.bar;
        match self.met() {
            true => format!("met, at {:.0} % of the bar", share * 100.0),
            false => format!("MISSED by {share:.2}x"),
        }
    }
}

fn find<'a>(rows: &'a [Row], metric: &str, target: &str) -> Option<&'a Row> {
    rows.iter().find(|r| r.metric == metric && r.target == target)
}

fn unique<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 1_000.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// One line for each metric, one column for each target; then `subject` against the budgets.
pub(crate) fn table(rows: &[Row], subject: &str) -> String {
    let metrics = unique(rows.iter().map(|r| r.metric.as_str()));
    let mut targets = unique(rows.iter().map(|r| r.target.as_str()));
    targets.sort_by_key(|t| *t != "relay");
    let mut out = String::new();
    let _ = write!(out, "{:<26}{:<5}", "metric", "unit");
    for target in &targets {
        let _ = write!(out, "{target:>18}");
    }
    out.push('\n');
    for metric in metrics {
        let unit = rows.iter().find(|r| r.metric == metric).map_or("", |r| &r.unit);
        let _ = write!(out, "{metric:<26}{unit:<5}");
        let relay = find(rows, metric, "relay").map(|r| r.value).filter(|v| *v > 0.0 && unit != "%");
        for target in &targets {
            let cell = match (find(rows, metric, target), relay) {
                (None, _) => "-".to_owned(),
                (Some(row), Some(relay)) if *target != "relay" => {
                    format!("{} ({}x)", number(row.value), number(row.value / relay))
                }
                (Some(row), _) => number(row.value),
            };
            let _ = write!(out, "{cell:>18}");
        }
        out.push('\n');
    }
    let verdicts: Vec<Verdict> = BUDGETS.iter().filter_map(|b| Verdict::of(b, rows, subject)).collect();
    if !verdicts.is_empty() {
        let _ = writeln!(out, "\n{subject} against the budgets of the design");
    }
    for verdict in verdicts {
        let measured = number(verdict.measured);
        let _ = writeln!(out, "{:<26}{:<22}{measured:>10}   {}", verdict.metric, verdict.budget, verdict.sentence());
    }
    out
}

/// The same for machines.
pub(crate) fn json(rows: &[Row], subject: &str) -> Value {
    let verdicts = BUDGETS
        .iter()
        .filter_map(|b| Verdict::of(b, rows, subject))
        .map(|v| json!({"metric": v.metric, "budget": v.budget, "bar": v.bar, "measured": v.measured, "met": v.met()}));
    json!({"rows": to_json(rows), "subject": subject, "budgets": verdicts.collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(ours: f64) -> Vec<Row> {
        vec![
            Row::median("chat.in_flight_1.cpu", "xmppd", "us", vec![ours]),
            Row::median("chat.in_flight_1.cpu", "relay", "us", vec![5.0]),
            Row::median("memory.plain.anonymous", "xmppd", "B", vec![3_072.0]),
        ]
    }

    #[test]
    fn a_budget_is_a_ratio_in_the_same_run() {
        let met = table(&rows(9.0), "xmppd");
        assert!(met.contains("9.00 (1.80x)"), "{met}");
        assert!(met.contains("met, at 90 % of the bar"), "{met}");
        assert!(met.contains("met, at 100 % of the bar"), "{met}");
        let missed = table(&rows(25.0), "xmppd");
        assert!(missed.contains("MISSED by 2.50x"), "{missed}");
    }

    #[test]
    fn no_verdict_without_both_sides() {
        let alone = &rows(9.0)[..1];
        assert!(!table(alone, "xmppd").contains("budgets"));
        assert!(!table(&rows(9.0), "another").contains("budgets"));
        assert_eq!(json(alone, "xmppd").get("budgets").and_then(Value::as_array).map(Vec::len), Some(0));
    }
}
