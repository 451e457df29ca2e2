use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;

/// A mail server on loopback that answers each line that begins with `at` with `reply`, and everything else well.
/// What it hears is handed over line by line.
async fn server(at: &'static str, reply: Option<&'static str>) -> (u16, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (heard, lines) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let heard = heard.clone();
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                stream.write_all(b"220 here\r\n").await.unwrap();
                let (mut line, mut in_data) = (String::new(), false);
                while stream.read_line(&mut line).await.unwrap_or(0) > 0 {
                    let said = line.trim_end().to_owned();
                    line.clear();
                    heard.send(said.clone()).unwrap();
                    let usual = match said.as_str() {
                        "." => "250 queued",
                        _ if in_data => continue,
                        "DATA" => "354 go on",
                        "QUIT" => "221 bye",
                        _ if said.starts_with("EHLO") => "250-here\r\n250 AUTH PLAIN",
                        _ if said.starts_with("AUTH") => "235 welcome",
                        _ => "250 fine",
                    };
                    let wanted = if said.starts_with(at) { reply } else { Some(usual) };
                    in_data = wanted.is_some_and(|reply| reply.starts_with("354"));
                    let Some(wanted) = wanted else {
                        std::future::pending::<String>().await;
                        return;
                    };
                    stream.write_all(format!("{wanted}\r\n").as_bytes()).await.unwrap();
                }
            });
        }
    });
    (port, lines)
}

fn config(port: u16) -> EmailConfig {
    EmailConfig {
        host: "127.0.0.1".to_owned(),
        port: Some(port),
        security: Security::None,
        allow_plain: false,
        login: None,
        from: "Fieldline <alarms@plant.example>".to_owned(),
        to: vec!["ops@plant.example".to_owned(), "Night Shift <night@plant.example>".to_owned()],
        rate: None,
        timeout: Duration::from_secs(5),
    }
}

fn email(config: EmailConfig) -> Email {
    let outside = Outside { unix_seconds: || 1_700_000_000, ..Outside::default() };
    Email::new(config, outside).unwrap()
}

fn drain(lines: &mut mpsc::UnboundedReceiver<String>) -> Vec<String> {
    std::iter::from_fn(|| lines.try_recv().ok()).collect()
}

#[tokio::test]
async fn a_message_reaches_the_mail_server_as_it_should() {
    let (port, mut lines) = server("nothing", None).await;
    let login =
        EmailConfig { login: Some(("alarms".to_owned(), Secret::from(b"hush".as_slice()))), ..config(port) };
    let shown = format!("{login:?} {:?}", email(login.clone()));
    assert!(!shown.contains("hush") && shown.contains("email through 127.0.0.1"), "{shown}");
    let subject = "oil hot\r\nBcc: everybody@example.com";
    email(login).send("rule/boiler-1/42", subject, "boiler-1: 81 °C\n.\nhot\n").await.unwrap();
    let heard = drain(&mut lines);
    let has = |line: &str| heard.iter().any(|heard| heard == line);
    // base64 of NUL alarms NUL hush
    assert!(has("AUTH PLAIN AGFsYXJtcwBodXNo"), "{heard:#?}");
    assert!(has("MAIL FROM:<alarms@plant.example>") || has("MAIL FROM:<alarms@plant.example> BODY=8BITMIME"));
    assert!(has("RCPT TO:<ops@plant.example>") && has("RCPT TO:<night@plant.example>"), "{heard:#?}");
    assert!(has("Auto-Submitted: auto-generated"), "{heard:#?}");
    assert!(has("Subject: oil hot  Bcc: everybody@example.com"), "{heard:#?}");
    assert!(heard.iter().any(|line| line.starts_with("Date: Tue, 14 Nov 2023 22:13:20")), "{heard:#?}");
    assert!(!heard.iter().any(|line| line.starts_with("Bcc")), "{heard:#?}");
    assert_eq!(heard.iter().filter(|line| *line == ".").count(), 2, "to each by themselves: {heard:#?}");
}

#[tokio::test]
async fn a_repetition_has_the_same_id_and_another_message_another() {
    let (port, mut lines) = server("nothing", None).await;
    let email = email(config(port));
    let mut ids = Vec::new();
    for id in ["a", "a", "b"] {
        email.send(id, "subject", "text").await.unwrap();
        let sent = drain(&mut lines);
        ids.push(sent.into_iter().find(|line| line.starts_with("Message-ID: ")).unwrap());
    }
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[0], ids[2]);
    assert!(ids[0].ends_with("@plant.example>"), "{ids:?}");
}

#[tokio::test]
async fn replies_mean_later_or_never() {
    for at in ["EHLO", "MAIL", "RCPT", "DATA", "."] {
        let (port, _lines) = server(at, Some("451 not now")).await;
        let sent = email(config(port)).send("a", "subject", "text").await;
        assert!(matches!(sent, Err(Undelivered::Later(_))), "{at}: {sent:?}");
        let (port, _lines) = server(at, Some("550 no such")).await;
        let sent = email(config(port)).send("a", "subject", "text").await;
        // Before it hears whom the message is for, it is about us: people put that right.
        let is_never = matches!(sent, Err(Undelivered::Never(_)));
        assert!(is_never != (at == "EHLO") && sent.is_err(), "{at}: {sent:?}");
    }
}

#[tokio::test]
async fn an_address_that_is_gone_costs_the_others_nothing() {
    let (port, mut lines) = server("RCPT TO:<ops", Some("550 no such")).await;
    email(config(port)).send("a", "subject", "text").await.unwrap();
    let heard = drain(&mut lines);
    assert_eq!(heard.iter().filter(|line| *line == ".").count(), 1, "{heard:?}");
    assert!(heard.iter().any(|line| line.starts_with("RCPT TO:<night")), "{heard:?}");

    let (port, mut lines) = server("RCPT TO:<night", Some("451 not now")).await;
    let email = email(config(port));
    for expected in [1, 0] {
        let sent = email.send("a", "subject", "text").await;
        assert!(matches!(sent, Err(Undelivered::Later(_))), "{sent:?}");
        let taken = drain(&mut lines).into_iter().filter(|line| line == ".").count();
        assert_eq!(taken, expected, "who has had it gets it once");
    }
}

#[tokio::test]
async fn a_login_that_is_refused_is_tried_again() {
    let (port, _lines) = server("AUTH", Some("535 wrong")).await;
    let login = Some(("user".to_owned(), Secret::from(b"secret".as_slice())));
    let sent = email(EmailConfig { login, ..config(port) }).send("a", "subject", "text").await;
    assert!(matches!(sent, Err(Undelivered::Later(_))), "{sent:?}");
}

#[tokio::test]
async fn a_server_that_hangs_or_is_not_there_is_told_later() {
    let (port, _lines) = server("DATA", None).await;
    let short = EmailConfig { timeout: Duration::from_millis(100), ..config(port) };
    assert!(matches!(email(short).send("a", "s", "t").await, Err(Undelivered::Later(_))));
    let free = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap().port();
    assert!(matches!(email(config(free)).send("a", "s", "t").await, Err(Undelivered::Later(_))));
}

/// It has the message: sending it again would fill the mailbox.
#[tokio::test]
async fn a_server_that_does_not_say_goodbye_has_taken_the_message() {
    let (port, _lines) = server("QUIT", None).await;
    email(config(port)).send("a", "subject", "text").await.unwrap();
}

/// Someone in between who takes STARTTLS out of the server's greeting gets nothing, not even the password.
#[tokio::test]
async fn without_encryption_nothing_is_said() {
    let (port, mut lines) = server("nothing", None).await;
    let wants = EmailConfig {
        security: Security::Starttls,
        login: Some(("alarms".to_owned(), Secret::from(b"hush".as_slice()))),
        ..config(port)
    };
    let sent = email(wants).send("a", "subject", "text").await;
    assert!(matches!(sent, Err(Undelivered::Later(_))), "{sent:?}");
    let heard = drain(&mut lines);
    assert!(!heard.iter().any(|line| line.starts_with("AUTH") || line.starts_with("MAIL")), "{heard:?}");
}

#[tokio::test]
async fn what_is_beyond_the_rate_comes_later() {
    let (port, _lines) = server("nothing", None).await;
    let email = email(EmailConfig { rate: Some(Rate { per_hour: 1, burst: 1 }), ..config(port) });
    email.send("a", "subject", "text").await.unwrap();
    assert!(matches!(email.send("b", "subject", "text").await, Err(Undelivered::Later(_))));
}

#[test]
fn a_wrong_configuration_is_refused() {
    let fine = || config(25);
    let plain = |host: &str| EmailConfig { host: host.to_owned(), ..fine() };
    let cases = [
        (EmailConfig { from: "nobody".to_owned(), ..fine() }, false),
        (EmailConfig { to: vec!["a@b.example".to_owned(), "x y".to_owned()], ..fine() }, false),
        (EmailConfig { to: Vec::new(), ..fine() }, false),
        (EmailConfig { rate: Some(Rate { per_hour: 0, burst: 1 }), ..fine() }, false),
        (plain("mail.example"), false),
        (plain("192.168.1.2"), false),
        (EmailConfig { allow_plain: true, ..plain("192.168.1.2") }, true),
        (EmailConfig { security: Security::Starttls, ..plain("mail.example") }, true),
        (plain("localhost"), true),
        (plain("::1"), true),
    ];
    for (config, good) in cases {
        assert_eq!(config.check().is_ok(), good, "{config:?}");
    }
}
