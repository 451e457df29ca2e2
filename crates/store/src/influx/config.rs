use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Which database speaks at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InfluxDialect {
    /// InfluxDB 1: `/write`, `/query`.
    V1,
    /// InfluxDB 2, also as Timestream for InfluxDB: `/api/v2/write`, `/query`.
    V2,
    /// InfluxDB 3, also as Timestream for InfluxDB: as [`InfluxDialect::V2`], without an organisation.
    V3,
    /// VictoriaMetrics: `/write` only, numbers and milliseconds only.
    VictoriaMetrics,
}

/// The text names no dialect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no dialect; there are v1, v2, v3 and victoriametrics")]
pub struct InfluxDialectError(String);

impl FromStr for InfluxDialect {
    type Err = InfluxDialectError;

    fn from_str(text: &str) -> Result<Self, InfluxDialectError> {
        match text {
            "v1" => Ok(Self::V1),
            "v2" => Ok(Self::V2),
            "v3" => Ok(Self::V3),
            "victoriametrics" => Ok(Self::VictoriaMetrics),
            other => Err(InfluxDialectError(other.to_owned())),
        }
    }
}

impl InfluxDialect {
    /// The service's name in errors.
    pub(super) fn service(self) -> &'static str {
        match self {
            Self::V1 | Self::V2 | Self::V3 => "InfluxDB",
            Self::VictoriaMetrics => "VictoriaMetrics",
        }
    }
}

/// What proves to the database who asks: a token, or `user:password` for InfluxDB 1 and
/// VictoriaMetrics. Never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct InfluxToken(String);

impl InfluxToken {
    /// Empty where the database asks for none.
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    pub(super) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for InfluxToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "…" })
    }
}

/// Where the database is, and how long and how much it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InfluxConfig {
    /// `http://HOST:PORT` or `https://HOST:PORT`, perhaps with a path before the API's own. No user
    /// or password: these are the `token`.
    pub url: String,
    /// The database; in InfluxDB 2 the bucket, which needs a mapping (`influx v1 dbrp create`) from a
    /// database of the same name for queries.
    pub database: String,
    /// InfluxDB 2's organisation; else empty.
    pub org: String,
    /// What speaks there.
    pub dialect: InfluxDialect,
    /// Who asks.
    pub token: InfluxToken,
    /// A connection stands, or the attempt has failed.
    pub connect_timeout: Duration,
    /// An attempt is answered to its end, or it has failed.
    pub request_timeout: Duration,
    /// Attempts at one request, the first included.
    pub attempts_max: u32,
    /// The pause after the first failed attempt; it doubles with each, and a part of it is random.
    pub backoff_first: Duration,
    /// The longest pause, also where the server asks for a longer one.
    pub backoff_max: Duration,
    /// Lines in one request.
    pub lines_max: usize,
    /// Bytes in one request, before it is compressed; a single line may have more.
    pub bytes_max: usize,
    /// Bytes in one answer.
    pub answer_bytes_max: usize,
    /// What is older than this at its arrival is set aside without asking. For VictoriaMetrics, which
    /// drops it in silence; InfluxDB says itself what it does not take.
    pub retention: Option<Duration>,
}

impl InfluxConfig {
    /// No token, time-outs of 3 s and 10 s, 5 attempts with pauses from 100 ms to 5 s, 5,000 lines and
    /// 1 MiB in a request, 32 MiB in an answer.
    pub fn new(dialect: InfluxDialect, url: &str, database: &str) -> Self {
        Self {
            url: url.to_owned(),
            database: database.to_owned(),
            org: String::new(),
            dialect,
            token: InfluxToken::default(),
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(10),
            attempts_max: 5,
            backoff_first: Duration::from_millis(100),
            backoff_max: Duration::from_secs(5),
            lines_max: 5_000,
            bytes_max: 1 << 20,
            answer_bytes_max: 32 << 20,
            retention: None,
        }
    }
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InfluxConfigError {
    /// The URL is none, or has a scheme other than these two.
    #[error("the URL of InfluxDB has to be http://HOST:PORT or https://HOST:PORT")]
    Url,
    /// User and password would be seen in logs.
    #[error("the URL of InfluxDB holds a user or a query; give user:password as the token")]
    Credentials,
    /// There is no database to write to.
    #[error("the name of InfluxDB's database (or bucket) is empty")]
    Database,
    /// A token has characters that no header takes.
    #[error("the token of InfluxDB has characters that HTTP does not take")]
    Token,
    /// A limit is zero.
    #[error("{what} of InfluxDB has to be above 0")]
    Limit {
        /// Which one.
        what: &'static str,
    },
    /// The system's certificates cannot be read.
    #[error("cannot read the system's certificates")]
    Certificates(#[source] std::io::Error),
}

impl InfluxConfig {
    pub(super) fn check(&self) -> Result<(), InfluxConfigError> {
        let limits = [
            ("attempts_max", self.attempts_max > 0),
            ("lines_max", self.lines_max > 0),
            ("bytes_max", self.bytes_max > 0),
            ("answer_bytes_max", self.answer_bytes_max > 0),
        ];
        if let Some((what, _)) = limits.iter().find(|(_, good)| !good) {
            return Err(InfluxConfigError::Limit { what });
        }
        if self.database.is_empty() && self.dialect != InfluxDialect::VictoriaMetrics {
            return Err(InfluxConfigError::Database);
        }
        let rest = self.url.strip_prefix("http://").or_else(|| self.url.strip_prefix("https://"));
        let rest = rest.ok_or(InfluxConfigError::Url)?;
        if rest.contains(['@', '?', '#']) {
            return Err(InfluxConfigError::Credentials);
        }
        let uri: hyper::Uri = self.url.parse().map_err(|_| InfluxConfigError::Url)?;
        uri.host().filter(|host| !host.is_empty()).map(drop).ok_or(InfluxConfigError::Url)
    }
}
