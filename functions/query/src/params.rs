//! The query string of `/api/v1/series`, read strictly: what is not understood is an error.

use fieldline_model::Timestamp;
use fieldline_store::{Aggregate, Buckets, Cursor, Glob, SeriesQuery};
use serde::Deserialize;

use crate::points::Precision;
use crate::problem::Problem;

/// Points in a page where nothing is said.
const LIMIT: usize = 10_000;
/// Points in a page at most.
const LIMIT_MAX: usize = 100_000;

/// The query string as it came.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Params {
    device: Option<String>,
    metric: Option<String>,
    from: Option<String>,
    to: Option<String>,
    step: Option<String>,
    agg: Option<String>,
    limit: Option<String>,
    precision: Option<String>,
    next: Option<String>,
}

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) query: SeriesQuery,
    pub(crate) precision: Precision,
    /// The names as given, for an answer about exactly one series.
    pub(crate) single: Option<(String, String)>,
}

impl Params {
    pub(crate) fn read(self) -> Result<Request, Problem> {
        let device = required("device", self.device)?;
        let metric = required("metric", self.metric)?;
        let query = SeriesQuery {
            device: Glob::new(&device),
            metric: Glob::new(&metric),
            from: self.from.map_or(Ok(Timestamp::MIN), |text| moment("from", &text))?,
            to: self.to.map_or(Ok(Timestamp::MAX), |text| moment("to", &text))?,
            buckets: buckets(self.step.as_deref(), self.agg.as_deref())?,
            limit: self.limit.map_or(Ok(LIMIT), |text| limit(&text))?,
            after: self.next.map(|text| cursor(&text)).transpose()?,
        };
        let precision = match self.precision.as_deref() {
            None => Precision::default(),
            Some(word) => Precision::from_word(word)
                .ok_or_else(|| Problem::bad_request(format!("precision={word}: must be ms, us or ns")))?,
        };
        let one = query.device.exact().is_some() && query.metric.exact().is_some();
        Ok(Request { query, precision, single: one.then_some((device, metric)) })
    }
}

fn required(key: &str, value: Option<String>) -> Result<String, Problem> {
    value.filter(|value| !value.is_empty()).ok_or_else(|| {
        Problem::bad_request(format!(
            "{key} is missing: give a name, or a pattern in which * stands for any text"
        ))
    })
}

/// RFC 3339, or epoch milliseconds.
fn moment(key: &str, text: &str) -> Result<Timestamp, Problem> {
    let time = match text.parse::<i64>() {
        Ok(millis) => Timestamp::from_millis(millis),
        // A `+` of a zone that was not percent-encoded has become a blank.
        Err(_) => text.replace(' ', "+").parse(),
    };
    time.map_err(|_| {
        Problem::bad_request(format!(
            "{key}={text}: must be RFC 3339 such as 2026-11-22T10:00:00Z, or epoch milliseconds"
        ))
    })
}

fn buckets(step: Option<&str>, agg: Option<&str>) -> Result<Option<Buckets>, Problem> {
    let aggregate = match agg {
        None => Aggregate::Mean,
        Some(word) => aggregate(word).ok_or_else(|| {
            Problem::bad_request(format!("agg={word}: must be mean, min, max, sum, count, first or last"))
        })?,
    };
    match step {
        None if agg.is_some() => {
            Err(Problem::bad_request("agg needs step: the width of a bucket, such as step=1h".to_owned()))
        }
        None => Ok(None),
        Some(text) => Ok(Some(Buckets { step_nanos: duration(text)?, aggregate })),
    }
}

/// A duration such as `10s` or `1h`, or a number of milliseconds.
fn duration(text: &str) -> Result<i64, Problem> {
    let nanos = match text.parse::<i64>() {
        Ok(millis) => millis.checked_mul(1_000_000),
        Err(_) => humantime::parse_duration(text).ok().and_then(|step| i64::try_from(step.as_nanos()).ok()),
    };
    nanos.filter(|nanos| *nanos > 0).ok_or_else(|| {
        Problem::bad_request(format!(
            "step={text}: must be a duration above 0 such as 10s, 5m or 1h, or milliseconds"
        ))
    })
}

fn aggregate(word: &str) -> Option<Aggregate> {
    Some(match word {
        "mean" => Aggregate::Mean,
        "min" => Aggregate::Min,
        "max" => Aggregate::Max,
        "sum" => Aggregate::Sum,
        "count" => Aggregate::Count,
        "first" => Aggregate::First,
        "last" => Aggregate::Last,
        _ => return None,
    })
}

fn limit(text: &str) -> Result<usize, Problem> {
    match text.parse() {
        Ok(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
        _ => Err(Problem::bad_request(format!(
            "limit={text}: must be 1 to {LIMIT_MAX}; follow `next` for more"
        ))),
    }
}

fn cursor(text: &str) -> Result<Cursor, Problem> {
    text.parse().map_err(|_| {
        Problem::bad_request("next: must be what an earlier answer gave as `next`, unchanged".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params() -> Params {
        Params { device: Some("press-4".into()), metric: Some("t".into()), ..Params::default() }
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let request = params().read().unwrap();
        assert_eq!(request.query.from, Timestamp::MIN);
        assert_eq!(request.query.limit, LIMIT);
        assert_eq!(request.query.buckets, None);
        assert!(request.single.is_some());
        let all = Params { metric: Some("*".into()), ..params() }.read().unwrap();
        assert!(all.single.is_none());
    }

    #[test]
    fn times_and_steps_are_read_in_both_forms() {
        let request = Params {
            from: Some("1970-01-01T00:00:01Z".into()),
            to: Some("2000".into()),
            step: Some("1h".into()),
            agg: Some("max".into()),
            ..params()
        };
        let query = request.read().unwrap().query;
        assert_eq!((query.from.millis(), query.to.millis()), (1000, 2000));
        assert_eq!(query.buckets, Some(Buckets { step_nanos: 3_600_000_000_000, aggregate: Aggregate::Max }));
        let query = Params { step: Some("250".into()), ..params() }.read().unwrap().query;
        assert_eq!(query.buckets, Some(Buckets { step_nanos: 250_000_000, aggregate: Aggregate::Mean }));
    }

    #[test]
    fn each_mistake_names_its_key() {
        let text = |text: &str| Some(text.to_owned());
        let table = [
            (Params { device: None, ..params() }, "device is missing"),
            (Params { metric: text(""), ..params() }, "metric is missing"),
            (Params { from: text("soon"), ..params() }, "from=soon"),
            (Params { to: text("9999999999999999"), ..params() }, "to="),
            (Params { step: text("0"), ..params() }, "step=0"),
            (Params { step: text("h"), ..params() }, "step=h"),
            (Params { agg: text("max"), ..params() }, "agg needs step"),
            (Params { agg: text("median"), step: text("1h"), ..params() }, "agg=median"),
            (Params { limit: text("0"), ..params() }, "limit=0"),
            (Params { limit: text("100001"), ..params() }, "limit=100001"),
            (Params { precision: text("s"), ..params() }, "precision=s"),
            (Params { next: text("x"), ..params() }, "next"),
        ];
        for (params, expected) in table {
            let problem = params.read().unwrap_err();
            assert!(problem.detail.starts_with(expected), "{expected}: {}", problem.detail);
        }
    }
}
