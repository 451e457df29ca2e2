//! Updates by AWS's data plane over HTTP, of whoever speaks it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use fieldline_tests::Http;
use serde_json::json;

/// Clients at once, each with a thing of its own.
pub(crate) const CLIENTS: usize = 8;
const SPAN: Duration = Duration::from_secs(3);

/// The thing of a client.
pub(crate) fn thing(client: usize) -> String {
    format!("by-http-{client}")
}

/// Updates that are answered in a second; `headers` come with each.
pub(crate) fn updates_per_second(address: SocketAddr, headers: &[&str]) -> Result<f64> {
    let began = Instant::now();
    let counts: Vec<Result<u64>> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| scope.spawn(move || update(Http::new(address), &thing(client), headers, began)))
            .collect();
        let panicked = |_| Err(anyhow!("a client panicked"));
        clients.into_iter().map(|client| client.join().unwrap_or_else(panicked)).collect()
    });
    let elapsed = began.elapsed();
    Ok(counts.into_iter().sum::<Result<u64>>()? as f64 / elapsed.as_secs_f64())
}

fn update(http: Http, thing: &str, headers: &[&str], began: Instant) -> Result<u64> {
    let path = format!("/things/{thing}/shadow");
    let mut count = 0;
    while began.elapsed() < SPAN {
        let body = json!({ "state": { "reported": { "turn": count, "mode": "auto" } } }).to_string();
        let answer = http.post_with(&path, "application/json", headers, body.as_bytes())?;
        ensure!(answer.status == 200, "POST {path} answers {}: {}", answer.status, answer.body);
        count += 1;
    }
    Ok(count)
}
