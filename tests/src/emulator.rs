//! AWS's services as an emulator has them: one process, loopback, dummy credentials.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cloud::Queue;
use crate::http::{Http, encode};
use crate::process::Process;
use crate::wait;

/// The region of everything.
pub const REGION: &str = "us-east-1";

/// A running emulator, [`crate::moto`] or [`crate::localstack`]. It ends when dropped.
#[derive(Debug)]
pub struct Emulator {
    address: SocketAddr,
    account: &'static str,
    _process: Process,
}

/// What any AWS client needs so that it talks to `endpoint` and to nobody else.
pub fn variables(endpoint: SocketAddr) -> Vec<(String, String)> {
    let pairs = [
        ("AWS_ENDPOINT_URL", format!("http://{endpoint}")),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_DEFAULT_REGION", REGION.to_owned()),
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

impl Emulator {
    /// The emulator that this process becomes, as soon as it answers to `GET health`.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) fn of(
        mut process: Process,
        address: SocketAddr,
        account: &'static str,
        health: &str,
    ) -> Result<Self> {
        let http = Http::new(address);
        wait::until("an answer of the emulator", Duration::from_secs(60), || {
            ensure!(process.is_running()?, "it has ended: {}", process.log_tail());
            Ok((http.get(health)?.status == 200).then_some(()))
        })?;
        Ok(Self { address, account, _process: process })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes a bucket.
    ///
    /// # Errors
    /// The emulator refuses.
    pub fn create_bucket(&self, name: &str) -> Result<()> {
        let answer = Http::new(self.address).put(&format!("/{name}"))?;
        ensure!(answer.status == 200, "the bucket {name}: {}", answer.body);
        Ok(())
    }

    /// Puts an object into a bucket.
    ///
    /// # Errors
    /// The emulator refuses.
    pub fn put_object(&self, bucket: &str, key: &str, bytes: &[u8]) -> Result<()> {
        let answer = Http::new(self.address).put_bytes(&format!("/{bucket}/{key}"), bytes)?;
        ensure!(answer.status == 200, "the object {key}: {}", answer.body);
        Ok(())
    }

    /// The first 1,000 objects of a bucket: their names, and the sum of their bytes.
    ///
    /// # Errors
    /// The emulator refuses.
    pub fn objects(&self, bucket: &str) -> Result<(Vec<String>, u64)> {
        let answer = Http::new(self.address).get(&format!("/{bucket}?list-type=2"))?;
        ensure!(answer.status == 200, "the bucket {bucket}: {}", answer.body);
        let all = |tag: &str| -> Vec<String> {
            let open = format!("<{tag}>");
            let parts = answer.body.split(&open).skip(1);
            parts.filter_map(|part| Some(part.split_once('<')?.0.to_owned())).collect()
        };
        let bytes = all("Size").iter().filter_map(|size| size.parse::<u64>().ok()).sum();
        Ok((all("Key"), bytes))
    }

    /// Makes a secret that holds a text.
    ///
    /// # Errors
    /// The emulator refuses.
    pub fn create_secret(&self, name: &str, text: &str) -> Result<()> {
        let body = json!({ "Name": name, "SecretString": text });
        call(self.address, "secretsmanager", "secretsmanager.CreateSecret", &body).map(drop)
    }

    /// Makes a table with the ledger's keys.
    ///
    /// # Errors
    /// The emulator refuses.
    pub fn create_ledger_table(&self, name: &str) -> Result<()> {
        let key = |name: &str, kind: &str| json!({ "AttributeName": name, "KeyType": kind });
        let text = |name: &str| json!({ "AttributeName": name, "AttributeType": "S" });
        let body = json!({
            "TableName": name, "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [key("gateway", "HASH"), key("item", "RANGE")],
            "AttributeDefinitions": [text("gateway"), text("item")],
        });
        self.json("DynamoDB_20120810.CreateTable", &body).map(drop)
    }

    /// Makes a table with the keys and the index that rules have.
    ///
    /// # Errors
    /// The emulator refuses.
    pub fn create_rules_table(&self, name: &str) -> Result<()> {
        let key = |name: &str, kind: &str| json!({ "AttributeName": name, "KeyType": kind });
        let attribute = |name: &str, kind: &str| json!({ "AttributeName": name, "AttributeType": kind });
        let body = json!({
            "TableName": name, "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [key("partition", "HASH"), key("item", "RANGE")],
            "AttributeDefinitions": [
                attribute("partition", "S"), attribute("item", "S"), attribute("shard", "S"), attribute("wake", "N"),
            ],
            "GlobalSecondaryIndexes": [{
                "IndexName": "wake", "KeySchema": [key("shard", "HASH"), key("wake", "RANGE")],
                "Projection": { "ProjectionType": "KEYS_ONLY" },
            }],
        });
        self.json("DynamoDB_20120810.CreateTable", &body).map(drop)
    }

    /// Makes a database of Timestream and a table in it.
    ///
    /// # Errors
    /// The emulator refuses.
    pub fn create_timestream_table(&self, database: &str, table: &str) -> Result<()> {
        let call = |operation: &str, body: &Value| {
            let target = format!("Timestream_20181101.{operation}");
            call(self.address, "timestream", &target, body).map(drop)
        };
        call("CreateDatabase", &json!({ "DatabaseName": database }))?;
        call("CreateTable", &json!({ "DatabaseName": database, "TableName": table }))
    }

    /// Makes a FIFO topic and a FIFO queue behind it, with raw delivery; gives the topic's ARN and the
    /// queue. What fails often enough goes to a dead-letter queue, the last of the three.
    ///
    /// # Errors
    /// The emulator refuses.
    pub fn create_fifo(&self, name: &str, attempts_max: u32) -> Result<(String, Queue, Queue)> {
        let topic = self.form(
            "sns",
            &[
                ("Action", "CreateTopic"),
                ("Name", &format!("{name}.fifo")),
                ("Attributes.entry.1.key", "FifoTopic"),
                ("Attributes.entry.1.value", "true"),
            ],
        )?;
        let topic = between(&topic, "<TopicArn>", "</TopicArn>")?.to_owned();
        let account = self.account;
        let (dead, _) = self.create_queue(&format!("{name}-dead.fifo"), json!({ "FifoQueue": "true" }))?;
        let redrive = json!({
            "deadLetterTargetArn": format!("arn:aws:sqs:{REGION}:{account}:{name}-dead.fifo"),
            "maxReceiveCount": attempts_max,
        });
        let attributes = json!({
            "FifoQueue": "true", "VisibilityTimeout": "30", "RedrivePolicy": redrive.to_string(),
        });
        let (queue, arn) = self.create_queue(&format!("{name}.fifo"), attributes)?;
        self.subscribe(&topic, &arn)?;
        Ok((topic, queue, dead))
    }

    /// Makes a standard topic; gives its ARN.
    ///
    /// # Errors
    /// The emulator refuses.
    pub fn create_topic(&self, name: &str) -> Result<String> {
        let topic = self.form("sns", &[("Action", "CreateTopic"), ("Name", name)])?;
        Ok(between(&topic, "<TopicArn>", "</TopicArn>")?.to_owned())
    }

    /// Makes a standard queue behind a topic, with raw delivery.
    ///
    /// # Errors
    /// The emulator refuses.
    pub fn create_standard(&self, name: &str, topic: &str) -> Result<Queue> {
        let (queue, arn) = self.create_queue(name, json!({ "VisibilityTimeout": "30" }))?;
        self.subscribe(topic, &arn)?;
        Ok(queue)
    }

    fn subscribe(&self, topic: &str, queue: &str) -> Result<()> {
        let fields = [
            ("Action", "Subscribe"),
            ("TopicArn", topic),
            ("Protocol", "sqs"),
            ("Endpoint", queue),
            ("Attributes.entry.1.key", "RawMessageDelivery"),
            ("Attributes.entry.1.value", "true"),
        ];
        self.form("sns", &fields).map(drop)
    }

    /// What a named shadow reports; none where there is no such shadow.
    ///
    /// # Errors
    /// The emulator fails.
    pub fn reported(&self, thing: &str, shadow: &str) -> Result<Option<Value>> {
        let path = format!("/things/{thing}/shadow?name={shadow}");
        let answer = Http::new(self.address).get_with(&path, &[&scope("iotdata")])?;
        if answer.status == 404 {
            return Ok(None);
        }
        ensure!(answer.status == 200, "{path}: {}", answer.body);
        Ok(Some(serde_json::from_str::<Value>(&answer.body)?["state"]["reported"].clone()))
    }

    /// Makes a policy of AWS IoT for gateways.
    ///
    /// # Errors
    /// The emulator refuses.
    pub fn create_gateway_policy(&self, name: &str) -> Result<()> {
        self.iot(&format!("/policies/{name}"), &json!({ "policyDocument": "{}" })).map(drop)
    }

    /// Makes a thing of AWS IoT. moto knows shadows of such only, unlike AWS IoT.
    ///
    /// # Errors
    /// The emulator refuses.
    pub fn create_thing(&self, name: &str) -> Result<()> {
        self.iot(&format!("/things/{name}"), &json!({})).map(drop)
    }

    /// The certificates that a gateways' policy is attached to.
    ///
    /// # Errors
    /// The emulator refuses.
    pub fn policy_targets(&self, name: &str) -> Result<Value> {
        Ok(self.iot(&format!("/policy-targets/{name}"), &json!({}))?["targets"].clone())
    }

    /// What AWS IoT's control plane answers to a `GET`; none when it does not know what is asked for.
    ///
    /// # Errors
    /// The emulator fails.
    pub fn iot_get(&self, path: &str) -> Result<Option<Value>> {
        let answer = Http::new(self.address).get_with(path, &[&scope("iot")])?;
        if answer.status == 404 {
            return Ok(None);
        }
        ensure!(answer.status == 200, "{path}: {}", answer.body);
        Ok(Some(serde_json::from_str(&answer.body)?))
    }

    /// A `POST` of AWS IoT's control plane.
    fn iot(&self, path: &str, body: &Value) -> Result<Value> {
        let scope = scope("iot");
        let http = Http::new(self.address);
        let answer = http.post_with(path, "application/json", &[&scope], body.to_string().as_bytes())?;
        ensure!(answer.status == 200, "{path}: {}", answer.body);
        Ok(serde_json::from_str(&answer.body)?)
    }

    fn create_queue(&self, name: &str, attributes: Value) -> Result<(Queue, String)> {
        let body = json!({ "QueueName": name, "Attributes": attributes });
        let answer = self.json("AmazonSQS.CreateQueue", &body)?;
        let url = answer["QueueUrl"].as_str().context("a queue has a URL")?;
        Ok((Queue::new(self.address, url), format!("arn:aws:sqs:{REGION}:{}:{name}", self.account)))
    }

    fn json(&self, target: &str, body: &Value) -> Result<Value> {
        let service = if target.starts_with("DynamoDB") { "dynamodb" } else { "sqs" };
        call(self.address, service, target, body)
    }

    /// A call by AWS's query protocol; the service is told by the signature's scope.
    fn form(&self, service: &str, fields: &[(&str, &str)]) -> Result<String> {
        let scope = scope(service);
        let body: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let http = Http::new(self.address);
        let body = body.join("&");
        let answer = http.post_with("/", "application/x-www-form-urlencoded", &[&scope], body.as_bytes())?;
        ensure!(answer.status == 200, "{service}: {}", answer.body);
        Ok(answer.body)
    }
}

/// A call by one of AWS's JSON protocols; an empty answer is `null`.
///
/// # Errors
/// The emulator refuses.
pub fn call(endpoint: SocketAddr, service: &str, target: &str, body: &Value) -> Result<Value> {
    let headers = [format!("X-Amz-Target: {target}"), scope(service)];
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let body = body.to_string();
    let answer =
        Http::new(endpoint).post_with("/", "application/x-amz-json-1.0", &headers, body.as_bytes())?;
    ensure!(answer.status == 200, "{target} answers {}: {}", answer.status, answer.body);
    if answer.body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&answer.body).with_context(|| format!("{target} answers {}", answer.body))
}

/// The header by which the emulator tells services apart; nobody checks the signature.
pub fn scope(service: &str) -> String {
    format!(
        "Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/{service}/aws4_request, \
         SignedHeaders=host, Signature=0"
    )
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Result<&'a str> {
    let (_, rest) = text.split_once(start).with_context(|| format!("no {start} in {text}"))?;
    Ok(rest.split_once(end).with_context(|| format!("no {end} in {text}"))?.0)
}
