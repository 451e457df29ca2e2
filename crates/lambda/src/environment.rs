use std::fmt;
use std::str::FromStr;

/// Why a function cannot start: which variable, and what is wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// The variable is not set, or empty.
    #[error("the environment variable {name} is not set: {expected}")]
    Missing {
        /// Its name.
        name: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
    /// The variable holds something else.
    #[error("the environment variable {name} is \"{value}\": {expected}")]
    Wrong {
        /// Its name.
        name: &'static str,
        /// What it holds.
        value: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// What the variable points to cannot be used.
    #[error("what the environment variable {name} names cannot be used")]
    Unusable {
        /// Its name.
        name: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

type Variables = dyn Fn(&str) -> Option<String> + Send + Sync;

/// The function's settings, by name; those of the process, or a test's.
pub struct Environment(Box<Variables>);

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}

impl Environment {
    /// The variables of this process.
    pub fn of_process() -> Self {
        Self::new(|name| std::env::var(name).ok())
    }

    /// Variables from anywhere.
    pub fn new(variables: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Box::new(variables))
    }

    /// A variable that may be missing or empty.
    pub fn optional(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    /// A variable that has to be there; `expected` says what it holds.
    ///
    /// # Errors
    /// It is missing or empty.
    pub fn required(&self, name: &'static str, expected: &'static str) -> Result<String, SettingError> {
        self.optional(name).ok_or(SettingError::Missing { name, expected })
    }

    /// A variable that has to be there and to read as a `T`.
    ///
    /// # Errors
    /// It is missing, or does not.
    pub fn parsed<T: FromStr>(&self, name: &'static str, expected: &'static str) -> Result<T, SettingError> {
        let value = self.required(name, expected)?;
        value.parse().map_err(|_not_so| SettingError::Wrong { name, value, expected })
    }

    /// A variable that has to be the URL of a service: `http://` or `https://` and a host.
    ///
    /// # Errors
    /// It is missing, or is none.
    pub fn url(&self, name: &'static str, expected: &'static str) -> Result<String, SettingError> {
        let value = self.required(name, expected)?;
        let host = value.strip_prefix("https://").or_else(|| value.strip_prefix("http://"));
        match host.is_some_and(|host| !host.is_empty() && !host.starts_with('/')) {
            true => Ok(value),
            false => Err(SettingError::Wrong { name, value, expected }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_wrong_is_told_by_name() {
        let environment = Environment::new(|name| match name {
            "NUMBER" => Some("12".to_owned()),
            "WORD" => Some("twelve".to_owned()),
            "URL" => Some("https://data.example".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        });
        assert_eq!(environment.parsed::<u32>("NUMBER", "a number").unwrap(), 12);
        assert_eq!(environment.url("URL", "a URL").unwrap(), "https://data.example");
        let told = [
            (environment.required("NONE", "a name").unwrap_err(), "NONE is not set: a name"),
            (environment.required("EMPTY", "a name").unwrap_err(), "EMPTY is not set: a name"),
            (environment.parsed::<u32>("WORD", "a number").unwrap_err(), "WORD is \"twelve\": a number"),
            (environment.url("WORD", "a URL").unwrap_err(), "WORD is \"twelve\": a URL"),
        ];
        for (error, end) in told {
            assert!(error.to_string().ends_with(end), "{error}");
        }
    }
}
