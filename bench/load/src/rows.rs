//! Measured values, and how they are kept between the commands that make them and the report that compares them.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::process::Cpu;
use crate::stats::median;

/// One measured quantity of one target.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Row {
    /// What was measured, with dots from the general to the special: `chat.in_flight_4.cpu`.
    pub(crate) metric: String,
    pub(crate) target: String,
    pub(crate) unit: String,
    /// The median of the rounds, unless the metric says otherwise.
    pub(crate) value: f64,
    pub(crate) rounds: Vec<f64>,
}

impl Row {
    pub(crate) fn median(metric: impl Into<String>, target: &str, unit: &str, rounds: Vec<f64>) -> Row {
        Row { metric: metric.into(), target: target.to_owned(), unit: unit.to_owned(), value: median(&rounds), rounds }
    }

    fn to_json(&self) -> Value {
        json!({"metric": self.metric, "target": self.target, "unit": self.unit, "value": self.value, "rounds": self.rounds})
    }

    fn from_json(value: &Value) -> Option<Row> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Row {
            metric: text("metric")?,
            target: text("target")?,
            unit: text("unit")?,
            value: value.get("value")?.as_f64()?,
            rounds: value.get("rounds")?.as_array()?.iter().filter_map(Value::as_f64).collect(),
        })
    }
}

pub(crate) fn to_json(rows: &[Row]) -> Value {
    Value::Array(rows.iter().map(Row::to_json).collect())
}

pub(crate) fn load(file: &Path) -> Result<Vec<Row>> {
    let text = fs::read_to_string(file)?;
    let value: Value = serde_json::from_str(&text)?;
    let rows = value.as_array().map(|rows| rows.iter().map(Row::from_json).collect::<Option<Vec<_>>>());
    rows.flatten().ok_or_else(|| Error::Usage(format!("{} holds no results", file.display())))
}

/// Work done by a target between two moments, and what it cost.
pub(crate) struct Span {
    start: Instant,
    cpu: Option<(u32, Cpu)>,
}

/// What a [`Span`] came to.
#[derive(Clone, Copy)]
pub(crate) struct Spent {
    pub(crate) wall: Duration,
    /// CPU microseconds, if the process is known.
    pub(crate) cpu: Option<f64>,
}

impl Span {
    pub(crate) fn start(pid: Option<u32>) -> Result<Span> {
        let cpu = pid.map(|pid| Cpu::of(pid).map(|cpu| (pid, cpu))).transpose()?;
        Ok(Span { start: Instant::now(), cpu })
    }

    pub(crate) fn end(self) -> Result<Spent> {
        let wall = self.start.elapsed();
        let cpu = self.cpu.map(|(pid, then)| Cpu::of(pid).map(|now| now.micros_since(&then))).transpose()?;
        Ok(Spent { wall, cpu })
    }
}

/// The rounds of one kind of work: how much was done, in what time, with what CPU.
#[derive(Default)]
pub(crate) struct Rounds {
    rates: Vec<f64>,
    costs: Vec<f64>,
    busy: Vec<f64>,
}

impl Rounds {
    pub(crate) fn add(&mut self, done: usize, spent: Spent) -> Result<()> {
        if done == 0 {
            return Err(Error::Timeout("unit of work done"));
        }
        self.rates.push(done as f64 / spent.wall.as_secs_f64());
        if let Some(cpu) = spent.cpu {
            self.costs.push(cpu / done as f64);
            self.busy.push(cpu / spent.wall.as_micros() as f64 * 100.0);
        }
        Ok(())
    }

    /// `metric.cpu`, `metric.rate` and `metric.busy` (share of one core that the target used).
    pub(crate) fn rows(self, metric: &str, target: &str) -> Vec<Row> {
        let mut rows = vec![Row::median(format!("{metric}.rate"), target, "1/s", self.rates)];
        if !self.costs.is_empty() {
            rows.insert(0, Row::median(format!("{metric}.cpu"), target, "us", self.costs));
            rows.push(Row::median(format!("{metric}.busy"), target, "%", self.busy));
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rows_survive_their_file() {
        let row = Row::median("chat.in_flight_1.cpu", "relay", "us", vec![3.0, 1.0, 2.0]);
        assert_eq!(row.value, 2.0);
        assert_eq!(Row::from_json(&row.to_json()), Some(row));
        assert_eq!(Row::from_json(&json!({"metric": "x"})), None);
    }

    #[test]
    fn a_round_is_cost_rate_and_share_of_a_core() {
        let mut rounds = Rounds::default();
        rounds.add(1_000, Spent { wall: Duration::from_secs(2), cpu: Some(500_000.0) }).unwrap();
        let values: Vec<f64> = rounds.rows("x", "y").iter().map(|r| r.value).collect();
        assert_eq!(values, [500.0, 500.0, 25.0]);
        assert!(Rounds::default().add(0, Spent { wall: Duration::from_secs(1), cpu: None }).is_err());
    }
}
