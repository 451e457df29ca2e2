//! A client for the HTTP API, as small as it can be: one connection a request, HTTP/1.0 so that the
//! answer ends with the connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Where to ask.
#[derive(Debug, Clone, Copy)]
pub struct Http {
    address: SocketAddr,
}

/// What was answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header lines, lower case.
    pub headers: String,
    /// The body.
    pub body: String,
}

/// The points of one series: epoch milliseconds and the value as it stands in the JSON.
pub type Points = Vec<(i64, Value)>;

impl Http {
    /// Asks the listener at `address`.
    pub fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// `GET`.
    ///
    /// # Errors
    /// No answer, or none that is HTTP.
    pub fn get(&self, path: &str) -> Result<Answer> {
        self.send("GET", path, &[], b"")
    }

    /// `GET` with header lines.
    ///
    /// # Errors
    /// As [`Http::get`].
    pub fn get_with(&self, path: &str, headers: &[&str]) -> Result<Answer> {
        self.send("GET", path, headers, b"")
    }

    /// `POST`.
    ///
    /// # Errors
    /// As [`Http::get`].
    pub fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Result<Answer> {
        self.post_with(path, content_type, &[], body)
    }

    /// `POST` with further header lines.
    ///
    /// # Errors
    /// As [`Http::get`].
    pub fn post_with(&self, path: &str, content_type: &str, headers: &[&str], body: &[u8]) -> Result<Answer> {
        let content_type = format!("Content-Type: {content_type}");
        let headers: Vec<&str> =
            std::iter::once(content_type.as_str()).chain(headers.iter().copied()).collect();
        self.send("POST", path, &headers, body)
    }

    /// `DELETE`.
    ///
    /// # Errors
    /// As [`Http::get`].
    pub fn delete(&self, path: &str) -> Result<Answer> {
        self.send("DELETE", path, &[], b"")
    }

    /// `PUT` without a body.
    ///
    /// # Errors
    /// As [`Http::get`].
    pub fn put(&self, path: &str) -> Result<Answer> {
        self.send("PUT", path, &[], b"")
    }

    /// `PUT` of bytes.
    ///
    /// # Errors
    /// As [`Http::get`].
    pub fn put_bytes(&self, path: &str, body: &[u8]) -> Result<Answer> {
        self.put_with(path, &[], body)
    }

    /// `PUT` of bytes with header lines.
    ///
    /// # Errors
    /// As [`Http::get`].
    pub fn put_with(&self, path: &str, headers: &[&str], body: &[u8]) -> Result<Answer> {
        self.send("PUT", path, headers, body)
    }

    /// `PATCH` of JSON.
    ///
    /// # Errors
    /// As [`Http::get`].
    pub fn patch(&self, path: &str, body: &[u8]) -> Result<Answer> {
        self.send("PATCH", path, &["Content-Type: application/json"], body)
    }

    /// The JSON behind a path.
    ///
    /// # Errors
    /// As [`Http::get`], or the answer is an error or no JSON.
    pub fn json(&self, path: &str) -> Result<Value> {
        let answer = self.get(path)?;
        ensure!(answer.status == 200, "GET {path} answers {}: {}", answer.status, answer.body);
        serde_json::from_str(&answer.body)
            .with_context(|| format!("GET {path} answers no JSON: {}", answer.body))
    }

    /// All points of a series, page by page, over all time.
    ///
    /// # Errors
    /// As [`Http::json`]. A series that does not exist is empty, not an error.
    pub fn series(&self, device: &str, metric: &str) -> Result<Points> {
        let query = format!(
            "/api/v1/series?device={}&metric={}&from=1900-01-01T00:00:00Z&to=2200-01-01T00:00:00Z&limit=10000",
            encode(device),
            encode(metric)
        );
        let mut points = Points::new();
        let mut path = query.clone();
        loop {
            let page = self.json(&path)?;
            for point in page["points"].as_array().context("the answer has no points")? {
                points.push((point[0].as_i64().context("a point without time")?, point[1].clone()));
            }
            match &page["next"] {
                Value::Null => return Ok(points),
                Value::String(next) => path = format!("{query}&next={}", encode(next)),
                next => path = format!("{query}&next={next}"),
            }
        }
    }

    fn send(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Result<Answer> {
        let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.set_write_timeout(Some(Duration::from_secs(60)))?;
        let mut head =
            format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {}\r\n", body.len());
        for header in headers {
            head.push_str(&format!("{header}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;
        // A listener that refuses the length answers, and closes, before it has read the body.
        let sent = stream.write_all(body);
        let mut bytes = Vec::new();
        let read = stream.read_to_end(&mut bytes);
        if bytes.is_empty() {
            sent.context("cannot send the body")?;
            read.context("cannot read the answer")?;
        }
        parse(&bytes)
    }
}

fn parse(bytes: &[u8]) -> Result<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").with_context(|| format!("not HTTP: {text:?}"))?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no status code")?;
    Ok(Answer { status, headers: head.to_ascii_lowercase(), body: body.to_owned() })
}

/// Percent-encodes a query value.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}
