use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::Resolve;

const BODY: &str = r#"{"specversion":"1.0"}"#;

/// A receiver on loopback that answers connection after connection from a script; `None`: never. Every request is
/// handed over as it came.
async fn receiver(script: Vec<Option<String>>) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (heard, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut silent = Vec::new();
        for answer in script {
            let (mut stream, _) = listener.accept().await.unwrap();
            heard.send(request(&mut stream).await).unwrap();
            match answer {
                Some(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
                None => silent.push(stream),
            }
        }
        // Later connections are accepted by the system, and answered by nobody.
        let _open = (listener, silent);
        std::future::pending::<()>().await;
    });
    (address, requests)
}

async fn request(stream: &mut TcpStream) -> String {
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    while !text.ends_with(BODY) {
        let length = stream.read(&mut buffer).await.unwrap();
        assert_ne!(length, 0, "the request breaks off: {text}");
        text.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
    }
    text
}

fn answer(status: &str) -> Option<String> {
    Some(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"))
}

/// Quick, without secret and rate, with one try.
fn config(url: String) -> WebhookConfig {
    WebhookConfig {
        allow_private: true,
        tries: 1,
        timeout: Duration::from_secs(5),
        backoff_first: Duration::from_millis(4),
        backoff_max: Duration::from_millis(50),
        ..WebhookConfig::new(url)
    }
}

fn outside() -> Outside {
    Outside { unix_seconds: || 1_700_000_000, chance: || 0.5, ..Outside::default() }
}

fn webhook(config: WebhookConfig) -> Webhook {
    Webhook::new(config, outside()).unwrap()
}

async fn send(config: WebhookConfig) -> Result<(), Undelivered> {
    webhook(config).send("rule/boiler-1/42", BODY.into()).await
}

/// What a failure says, with all its causes.
fn said(failure: &Undelivered) -> String {
    let (mut text, mut cause) = (String::new(), Some(failure as &dyn std::error::Error));
    while let Some(error) = cause {
        text += &format!("{error}; ");
        cause = error.source();
    }
    text
}

#[tokio::test]
async fn a_receiver_can_verify_what_it_gets() {
    let (address, mut requests) = receiver(vec![answer("204 No Content")]).await;
    let secret = Secret::from(b"hush".as_slice());
    let config =
        WebhookConfig { secret: Some(secret.clone()), ..config(format!("http://{address}/hook?a=b")) };
    send(config).await.unwrap();
    let request = requests.recv().await.unwrap();
    let has = |line: &str| request.lines().any(|sent| sent == line);
    assert!(has("POST /hook?a=b HTTP/1.1"), "{request}");
    assert!(has(&format!("host: {address}")), "{request}");
    assert!(has("content-type: application/cloudevents+json"), "{request}");
    assert!(has("idempotency-key: rule/boiler-1/42"), "{request}");
    let expected = signature(&secret, 1_700_000_000, BODY.as_bytes());
    assert!(has(&format!("fieldline-signature: {expected}")), "{request}");
    assert!(request.ends_with(&format!("\r\n\r\n{BODY}")), "{request}");
}

#[tokio::test]
async fn without_a_secret_nothing_is_signed() {
    let (address, mut requests) = receiver(vec![answer("200 OK")]).await;
    send(config(format!("http://{address}"))).await.unwrap();
    assert!(!requests.recv().await.unwrap().contains(SIGNATURE));
}

#[tokio::test]
async fn statuses_mean_later_or_never() {
    let later =
        ["408 Request Timeout", "425 Too Early", "429 Too Many Requests", "500 No", "503 No", "599 No"];
    for status in later {
        let (address, _requests) = receiver(vec![answer(status)]).await;
        let sent = send(config(format!("http://{address}"))).await;
        assert!(matches!(sent, Err(Undelivered::Later(_))), "{status}: {sent:?}");
    }
    let never = ["304 Not Modified", "400 Bad Request", "401 No", "404 Not Found", "410 Gone", "422 No"];
    for status in never {
        let (address, _requests) = receiver(vec![answer(status)]).await;
        let sent = send(config(format!("http://{address}"))).await;
        assert!(matches!(sent, Err(Undelivered::Never(_))), "{status}: {sent:?}");
    }
}

#[tokio::test]
async fn a_receiver_that_fails_for_a_while_is_told_in_one_go() {
    let script = vec![answer("500 No"), answer("502 No"), answer("202 Accepted")];
    let (address, mut requests) = receiver(script).await;
    send(WebhookConfig { tries: 3, ..config(format!("http://{address}")) }).await.unwrap();
    for _ in 0..3 {
        assert!(requests.recv().await.unwrap().contains("idempotency-key: rule/boiler-1/42\r\n"));
    }
    let (address, mut requests) = receiver(vec![answer("500 No"), answer("500 No"), answer("200 OK")]).await;
    let sent = send(WebhookConfig { tries: 2, ..config(format!("http://{address}")) }).await;
    assert!(matches!(sent, Err(Undelivered::Later(_))), "{sent:?}");
    requests.recv().await.unwrap();
    requests.recv().await.unwrap();
    assert!(requests.try_recv().is_err(), "two tries are two");
}

#[tokio::test]
async fn one_that_hangs_or_is_not_there_is_told_later() {
    let (address, _requests) = receiver(vec![None]).await;
    let short = Duration::from_millis(100);
    let started = std::time::Instant::now();
    let sent = send(WebhookConfig { timeout: short, ..config(format!("http://{address}")) }).await;
    assert!(matches!(sent, Err(Undelivered::Later(_))), "{sent:?}");
    assert!(started.elapsed() >= short && started.elapsed() < Duration::from_secs(4));
    // A port that nobody listens at.
    let free = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    let sent = send(config(format!("http://{free}"))).await;
    assert!(matches!(sent, Err(Undelivered::Later(_))), "{sent:?}");
}

#[tokio::test]
async fn an_answer_without_end_is_not_read() {
    let endless = "HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\nand so on".to_owned();
    let (address, _requests) = receiver(vec![Some(endless)]).await;
    send(config(format!("http://{address}"))).await.unwrap();
}

#[tokio::test]
async fn a_redirect_is_refused_and_nobody_hears_of_it() {
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let (other, mut elsewhere) = receiver(vec![answer("200 OK")]).await;
        let redirect = format!("HTTP/1.1 {status}\r\nlocation: http://{other}/\r\ncontent-length: 0\r\n\r\n");
        let (address, _requests) = receiver(vec![Some(redirect)]).await;
        let sent = send(WebhookConfig { tries: 3, ..config(format!("http://{address}")) }).await;
        let failure = sent.unwrap_err();
        assert!(matches!(failure, Undelivered::Never(_)), "{failure:?}");
        assert!(said(&failure).contains("redirects are not followed"), "{}", said(&failure));
        assert!(elsewhere.try_recv().is_err());
    }
}

/// One name, with these addresses.
struct Names(Vec<IpAddr>);

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, host: &str, _port: u16) -> io::Result<Vec<IpAddr>> {
        assert_eq!(host, "hooks.example");
        Ok(self.0.clone())
    }
}

#[tokio::test]
async fn an_address_that_is_not_public_is_refused_unless_it_is_meant() {
    let (address, mut requests) = receiver(vec![answer("200 OK")]).await;
    let port = address.port();
    let guarded = |url: String| WebhookConfig { allow_private: false, tries: 3, ..config(url) };
    // However it is written: the system's resolver reads all of these.
    for host in ["127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433", "[::1]", "[::ffff:127.0.0.1]"]
    {
        let sent = send(guarded(format!("http://{host}:{port}/"))).await;
        let refused = matches!(sent, Err(Undelivered::Never(_)));
        assert!(refused && said(sent.as_ref().unwrap_err()).contains("allow_private"), "{host}: {sent:?}");
    }
    // A name that says both, whichever comes first, and one of a public address alone.
    let (loopback, public) = ([127, 0, 0, 1].into(), [1, 1, 1, 1].into());
    for addresses in [vec![public, loopback], vec![loopback, public], vec![loopback]] {
        let outside = Outside { resolver: Arc::new(Names(addresses)), ..outside() };
        let webhook = Webhook::new(guarded(format!("http://hooks.example:{port}/")), outside).unwrap();
        let sent = webhook.send("a", BODY.into()).await;
        assert!(matches!(sent, Err(Undelivered::Never(_))), "{sent:?}");
    }
    assert!(requests.try_recv().is_err(), "nobody was told");
    let outside = Outside { resolver: Arc::new(Names(vec![loopback])), ..outside() };
    let webhook = Webhook::new(config(format!("http://hooks.example:{port}/")), outside).unwrap();
    webhook.send("a", BODY.into()).await.unwrap();
    assert!(requests.recv().await.unwrap().contains(&format!("host: hooks.example:{port}\r\n")));
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_told_later() {
    let outside = Outside { resolver: Arc::new(Names(Vec::new())), ..outside() };
    let webhook = Webhook::new(config("http://hooks.example/".to_owned()), outside).unwrap();
    assert!(matches!(webhook.send("a", BODY.into()).await, Err(Undelivered::Later(_))));
}

#[tokio::test]
async fn what_is_beyond_the_rate_comes_later() {
    let (address, mut requests) = receiver(vec![answer("500 No"), answer("200 OK"), answer("200 OK")]).await;
    let rate = Some(Rate { per_hour: 60, burst: 1 });
    let webhook = webhook(WebhookConfig { rate, ..config(format!("http://{address}")) });
    // What fails does not use the rate up.
    assert!(matches!(webhook.send("a", BODY.into()).await, Err(Undelivered::Later(_))));
    webhook.send("a", BODY.into()).await.unwrap();
    let failure = webhook.send("b", BODY.into()).await.unwrap_err();
    assert!(said(&failure).contains("rate is used up"), "{}", said(&failure));
    requests.recv().await.unwrap();
    requests.recv().await.unwrap();
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn a_receiver_says_when_to_come_back_within_bounds() {
    let wants = |value: &str| {
        let text = format!("HTTP/1.1 503 No\r\nretry-after: {value}\r\ncontent-length: 0\r\n\r\n");
        vec![Some(text), answer("200 OK")]
    };
    // Seconds, a date 30 s ahead of the clock (RFC 9110), and far too long: as long as is bearable at most.
    let cases = [("1", 1_000), ("Tue, 14 Nov 2023 22:13:50 GMT", 30_000), ("86400", 60_000)];
    for (value, expected_ms) in cases {
        let (address, _requests) = receiver(wants(value)).await;
        let patient = WebhookConfig::new(format!("http://{address}"));
        let webhook = webhook(WebhookConfig { allow_private: true, tries: 2, ..patient });
        let answer = webhook.client.request(webhook.request("a", &BODY.into()).unwrap()).await.unwrap();
        let Err(Failure::Passing(_, wanted)) = judge(&answer, 1_700_000_000) else { panic!("{value}") };
        assert_eq!(webhook.pause(wanted, Duration::from_millis(4)).as_millis(), expected_ms, "{value}");
    }
    let webhook = webhook(config("http://192.0.2.1".to_owned()));
    assert_eq!(webhook.pause(None, Duration::from_millis(4)), Duration::from_millis(2), "jittered");
}

#[test]
fn only_urls_of_webhooks_are_taken() {
    for url in ["https://example.com", "http://10.0.0.1:8080/a?b=c", "https://[2606:4700::1]/x"] {
        assert!(WebhookConfig::new(url).uri().is_ok(), "{url}");
    }
    let wrong = [
        "",
        "example.com",
        "/hook",
        "ftp://example.com/",
        "https://",
        "https://user:pw@example.com/",
        "https://a/#b",
    ];
    for url in wrong {
        assert!(WebhookConfig::new(url).uri().is_err(), "{url}");
    }
}

#[test]
fn nothing_secret_shows() {
    let secret = Some(Secret::from(b"hush".as_slice()));
    let config = WebhookConfig { secret, ..WebhookConfig::new("https://hooks.example/T0/tokentoken") };
    let shown = format!("{config:?} {:?}", webhook(config.clone()));
    assert!(shown.contains("webhook hooks.example"), "{shown}");
    assert!(!shown.contains("hush") && !shown.contains("tokentoken"), "{shown}");
}
