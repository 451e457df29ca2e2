//! What has to be there before anything is built or changed. Nothing is installed here.

/// What a command said: its output, or why it failed.
pub(super) type Answer = Result<String, String>;

/// Below this many functions at a time AWS gives no account anything, and the chain would stall.
const CONCURRENCY_MIN: u32 = 5;
/// The address that infra/samconfig.toml has until somebody puts theirs.
const SAMPLE_DATABASE: &str = "influx.example.com";

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) name: &'static str,
    /// What is there, or what to do.
    pub(super) verdict: Result<String, String>,
}

impl Check {
    pub(super) fn line(&self) -> String {
        match &self.verdict {
            Ok(found) => format!("ok       {}: {found}", self.name),
            Err(remedy) => format!("MISSING  {}: {remedy}", self.name),
        }
    }
}

/// What is to be deployed, and where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish<'a> {
    /// An environment of infra/samconfig.toml.
    pub(super) environment: &'a str,
    pub(super) region: Option<&'a str>,
    /// The template's parameters, as `NAME=VALUE`, each once.
    pub(super) parameters: &'a [String],
}

impl Wish<'_> {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find_map(|text| text.strip_prefix(name)?.strip_prefix('='))
    }

    /// The Rust target of the functions' processor; arm64 is the template's default.
    fn target(&self) -> &'static str {
        match self.parameter("Architecture") {
            Some("x86_64") => "x86_64-unknown-linux-gnu",
            _ => "aarch64-unknown-linux-gnu",
        }
    }
}

/// Looks at everything. `run` runs a command, its program first.
pub(super) fn all(wish: Wish<'_>, run: &mut dyn FnMut(&[&str]) -> Answer) -> Vec<Check> {
    let mut checks =
        vec![target(wish.target(), run), tool("cargo-lambda", &["cargo", "lambda", "--version"], run)];
    checks.push(tool("zig", &["python3", "-m", "ziglang", "version"], run));
    checks.push(tool("sam", &["sam", "--version"], run));
    let region = region(wish.region);
    let credentials = credentials(run);
    let reachable = region.verdict.is_ok() && credentials.verdict.is_ok();
    checks.extend([region, credentials]);
    checks.push(asked("account's limit", reachable, || concurrency(run)));
    match wish.environment {
        "timestream" => checks.push(asked("Timestream", reachable, || timestream(run))),
        "influxdb" => checks.push(database(wish.parameter("InfluxUrl"))),
        _ => {}
    }
    checks
}

fn target(target: &str, run: &mut dyn FnMut(&[&str]) -> Answer) -> Check {
    let verdict = match run(&["rustup", "target", "list", "--installed"]) {
        Ok(list) if list.lines().any(|line| line.trim() == target) => Ok(target.to_owned()),
        Ok(_) => Err(format!("rustup target add {target}")),
        Err(why) => {
            Err(format!("rustup does not answer ({why}); install Rust with it, then the target {target}"))
        }
    };
    Check { name: "Rust target", verdict }
}

fn tool(name: &'static str, command: &[&str], run: &mut dyn FnMut(&[&str]) -> Answer) -> Check {
    let verdict = run(command).map(|version| first_line(&version).to_owned());
    let remedy = |why| format!("it does not start ({why}); it is pinned in tests/cloud/requirements.txt");
    Check { name, verdict: verdict.map_err(remedy) }
}

fn region(region: Option<&str>) -> Check {
    let remedy = "give --region, or set AWS_REGION, such as eu-central-1";
    Check { name: "region", verdict: region.map(str::to_owned).ok_or_else(|| remedy.to_owned()) }
}

fn credentials(run: &mut dyn FnMut(&[&str]) -> Answer) -> Check {
    let query = ["aws", "sts", "get-caller-identity", "--query", "Arn", "--output", "text"];
    let verdict = run(&query).map_err(|why| {
        format!(
            "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run `aws sso login` ({why})"
        )
    });
    Check { name: "credentials", verdict }
}

/// A question to the account, which needs region and credentials.
fn asked(name: &'static str, reachable: bool, ask: impl FnOnce() -> Result<String, String>) -> Check {
    let verdict =
        if reachable { ask() } else { Err("not asked: region and credentials come first".to_owned()) };
    Check { name, verdict }
}

fn concurrency(run: &mut dyn FnMut(&[&str]) -> Answer) -> Result<String, String> {
    let field = "AccountLimit.ConcurrentExecutions";
    let said = run(&["aws", "lambda", "get-account-settings", "--query", field, "--output", "text"])?;
    match said.trim().parse::<u32>() {
        Ok(limit) if limit >= CONCURRENCY_MIN => Ok(format!("{limit} functions at a time")),
        Ok(limit) => Err(format!(
            "{limit} functions at a time are too few; ask for more (Service Quotas, Lambda, concurrent executions)"
        )),
        Err(_) => Err(format!("AWS answers {said:?} and not a number")),
    }
}

fn timestream(run: &mut dyn FnMut(&[&str]) -> Answer) -> Result<String, String> {
    let query = "Endpoints[0].Address";
    run(&["aws", "timestream-write", "describe-endpoints", "--query", query, "--output", "text"]).map_err(|why| {
        format!(
            "this account or region cannot use Timestream for LiveAnalytics: AWS closed it to new accounts on \
             2025-06-20; use --environment s3 ({why})"
        )
    })
}

fn database(url: Option<&str>) -> Check {
    let verdict = match url.filter(|url| !url.contains(SAMPLE_DATABASE)) {
        Some(url) => Ok(url.to_owned()),
        None => {
            Err("put your InfluxUrl, InfluxDialect and InfluxTokenSecretArn into infra/samconfig.toml, or \
                     give each with --parameter"
                .to_owned())
        }
    };
    Check { name: "InfluxDB", verdict }
}

pub(super) fn first_line(text: &str) -> &str {
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WISH: Wish<'static> =
        Wish { environment: "timestream", region: Some("eu-central-1"), parameters: &[] };

    /// An account and a machine where all is well.
    fn well(command: &[&str]) -> Answer {
        Ok(match command {
            ["rustup", ..] => "x86_64-unknown-linux-gnu\naarch64-unknown-linux-gnu\n",
            ["aws", "sts", ..] => "arn:aws:iam::111122223333:user/ann",
            ["aws", "lambda", ..] => "1000\n",
            ["aws", "timestream-write", ..] => "ingest-cell1.timestream.eu-central-1.amazonaws.com",
            _ => "1.2.3",
        }
        .to_owned())
    }

    fn missing(wish: Wish<'_>, mut run: impl FnMut(&[&str]) -> Answer) -> Vec<String> {
        let checks = all(wish, &mut run);
        checks.iter().filter(|check| check.verdict.is_err()).map(Check::line).collect()
    }

    #[test]
    fn nothing_is_missing_where_all_is_there() {
        assert!(missing(WISH, well).is_empty());
    }

    #[test]
    fn without_credentials_the_account_is_not_asked() {
        let mut asked = Vec::new();
        let lines = missing(WISH, |command| {
            asked.push(command.join(" "));
            if command.starts_with(&["aws"]) {
                Err("Unable to locate credentials".to_owned())
            } else {
                well(command)
            }
        });
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].starts_with("MISSING  credentials: set AWS_PROFILE"), "{lines:?}");
        assert!(lines[1..].iter().all(|line| line.contains("not asked")), "{lines:?}");
        assert_eq!(asked.iter().filter(|command| command.starts_with("aws")).count(), 1, "{asked:?}");
    }

    #[test]
    fn without_a_region_the_account_is_not_asked_either() {
        let lines = missing(Wish { region: None, ..WISH }, well);
        assert!(lines[0].contains("AWS_REGION"), "{lines:?}");
        assert_eq!(lines.len(), 3, "{lines:?}");
    }

    #[test]
    fn an_account_without_timestream_is_led_to_s3() {
        let closed = |command: &[&str]| match command {
            ["aws", "timestream-write", ..] => {
                Err("AccessDeniedException: Only existing customers".to_owned())
            }
            other => well(other),
        };
        let lines = missing(WISH, closed);
        assert!(lines[0].contains("--environment s3") && lines[0].contains("2025-06-20"), "{lines:?}");
        assert!(missing(Wish { environment: "s3", ..WISH }, closed).is_empty());
    }

    #[test]
    fn each_missing_tool_is_named_with_what_to_do() {
        let lines = missing(WISH, |command| match command {
            ["rustup", ..] => Ok("x86_64-unknown-linux-gnu\n".to_owned()),
            ["aws", "lambda", ..] => Ok("4".to_owned()),
            ["aws", ..] => well(command),
            _ => Err("No such file or directory".to_owned()),
        });
        let text = lines.join("\n");
        for part in ["rustup target add aarch64", "cargo-lambda: ", "zig: ", "sam: ", "Service Quotas"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn the_sample_database_is_not_deployed_to() {
        let sample = ["InfluxUrl=https://influx.example.com:8086".to_owned()];
        let wish = Wish { environment: "influxdb", parameters: &sample, ..WISH };
        assert!(missing(wish, well)[0].contains("InfluxUrl"));
        let own = ["InfluxUrl=https://db.plant.example".to_owned()];
        assert!(missing(Wish { parameters: &own, ..wish }, well).is_empty());
    }

    #[test]
    fn the_rust_target_is_that_of_the_chosen_processor() {
        let only_x86 = |command: &[&str]| match command {
            ["rustup", ..] => Ok("x86_64-unknown-linux-gnu\n".to_owned()),
            other => well(other),
        };
        assert!(missing(WISH, only_x86)[0].contains("aarch64"));
        let parameters = ["Architecture=x86_64".to_owned()];
        assert!(missing(Wish { parameters: &parameters, ..WISH }, only_x86).is_empty());
    }
}
