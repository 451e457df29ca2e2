//! How long the server's answers take, on one connection that stays open.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::figure::Figure;
use crate::store::SECONDS;
use crate::walk::{BASE_S, SERIES};

/// Each figure is the median of so many requests, after as many that warm up.
const REQUESTS: usize = 21;

/// What was measured in all runs, in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    series: Vec<f64>,
    hourly: Vec<f64>,
}

impl Answers {
    /// Asks the server that holds the random-walk set.
    pub(crate) fn measure(&mut self, address: SocketAddr) -> Result<()> {
        let (from, to) = (BASE_S * 1_000, (BASE_S + SECONDS as i64) * 1_000);
        let mut connection = Connection::open(address)?;
        let series = format!("/api/v1/series?device=walk-7&metric=v&from={from}&to={to}&limit={SECONDS}");
        let body = connection.get(&series)?;
        ensure!(body.matches("],[").count() + 1 == SECONDS, "the series is not whole: {:.200}", body);
        self.series.push(connection.median_ms(&series)?);
        let hourly = format!("/api/v1/series?device=*&metric=v&from={from}&to={to}&step=1h&agg=mean");
        let body = connection.get(&hourly)?;
        ensure!(body.matches("\"device\"").count() == SERIES, "not every series answers: {:.200}", body);
        self.hourly.push(connection.median_ms(&hourly)?);
        Ok(())
    }

    pub(crate) fn figures(self) -> [Figure; 2] {
        [
            Figure::new("query, one series of 10,000 points", "ms", Some(0.7), self.series),
            Figure::new("query, hourly mean of 1,000 series, 10 M points", "ms", Some(7.0), self.hourly),
        ]
    }
}

struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::with_capacity(256 * 1024, stream)))
    }

    fn median_ms(&mut self, path: &str) -> Result<f64> {
        let mut times = Vec::new();
        for round in 0..2 * REQUESTS {
            let began = Instant::now();
            self.get(path)?;
            if round >= REQUESTS {
                times.push(began.elapsed().as_secs_f64() * 1e3);
            }
        }
        times.sort_by(f64::total_cmp);
        times.get(REQUESTS / 2).copied().context("there are requests")
    }

    fn get(&mut self, path: &str) -> Result<String> {
        write!(self.0.get_mut(), "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let mut length = 0;
        let mut status = String::new();
        self.0.read_line(&mut status)?;
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        let body = String::from_utf8(body)?;
        ensure!(status.contains(" 200 "), "{path} answers {status} {body:.300}");
        Ok(body)
    }
}
