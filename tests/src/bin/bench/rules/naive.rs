//! What a rule costs where each message is evaluated by itself: JSON read, every condition asked.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Result, anyhow};
use cel::{Context, Program};
use serde_json::{Value, json};

/// Nanoseconds for a message of one value that is compared by so many conditions, compiled once.
pub(super) fn nanos(rules: usize) -> Result<f64> {
    let programs: Vec<Program> = (0..rules)
        .map(|n| Program::compile(&format!("metric == 'metric_{n}' && value > 1000.0")))
        .collect::<Result<_, _>>()
        .map_err(|error| anyhow!("{error}"))?;
    let messages = 200_000 / rules.max(20);
    let payloads: Vec<String> = (0..messages)
        .map(|n| {
            json!({ "device": "device-1", "metric": format!("metric_{}", n % rules), "value": 20.5 })
                .to_string()
        })
        .collect();
    let start = Instant::now();
    for payload in &payloads {
        let message: Value = serde_json::from_str(payload)?;
        let mut context = Context::default();
        context.add_variable_from_value("metric", message["metric"].as_str().unwrap_or_default().to_owned());
        context.add_variable_from_value("value", message["value"].as_f64().unwrap_or_default());
        for program in &programs {
            black_box(program.execute(&context).map_err(|error| anyhow!("{error}"))?);
        }
    }
    Ok(start.elapsed().as_nanos() as f64 / messages as f64)
}
