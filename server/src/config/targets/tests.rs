use edge_agent::settings::parse;

use crate::config::{Config, SecuritySettings, TargetSettings};

fn checked(text: &str) -> Result<Config, String> {
    let config: Config = parse(text).map_err(|error| error.to_string())?;
    config.check().map_err(|error| error.to_string())?;
    Ok(config)
}

#[test]
fn targets_read_as_written() {
    let config = checked(
        r#"
        [targets.panel]
        kind = "mqtt"
        topic = "hall-7/alarms"
        [targets.desk]
        kind = "webhook"
        url = "https://desk.example/hooks/tokentoken"
        [targets.plc]
        kind = "webhook"
        url = "http://10.0.0.5:8080/alarms"
        secret_file = "/etc/fieldline/plc.secret"
        allow_private = true
        per_hour = 60
        burst = 5
        [targets.ops]
        kind = "email"
        host = "mail.example"
        username = "alarms"
        password_file = "/etc/fieldline/mail.password"
        from = "Fieldline <alarms@example.com>"
        to = ["ops@example.com", "Night Shift <night@example.com>"]
        "#,
    )
    .unwrap();
    assert_eq!(config.targets.len(), 4);
    let TargetSettings::Webhook(plc) = &config.targets["plc"] else { panic!("{:?}", config.targets) };
    assert!(plc.allow_private && plc.per_hour == 60 && plc.burst == 5);
    let TargetSettings::Webhook(desk) = &config.targets["desk"] else { panic!("{:?}", config.targets) };
    assert!(!desk.allow_private && desk.secret_file.is_none() && desk.per_hour == 3_600);
    let TargetSettings::Email(ops) = &config.targets["ops"] else { panic!("{:?}", config.targets) };
    assert!(ops.security == SecuritySettings::Starttls && ops.port.is_none() && ops.per_hour == 60);
    // With some receivers whoever knows the URL can post.
    let shown = format!("{config:?}");
    assert!(shown.contains("desk.example") && !shown.contains("tokentoken"), "{shown}");
}

#[test]
fn a_wrong_target_is_named_with_what_is_wrong() {
    let webhook = |rest: &str| format!("[targets.x]\nkind = \"webhook\"\n{rest}\n");
    let email = |rest: &str| {
        format!("[targets.x]\nkind = \"email\"\nhost = \"mail.example\"\nfrom = \"a@b.example\"\n{rest}\n")
    };
    let to = "to = [\"c@d.example\"]";
    let cases = [
        (webhook("url = \"desk.example/hook\""), "http:// or https://"),
        (webhook("url = \"https://user:pw@desk.example/\""), "without user"),
        (webhook("url = \"https://a.example/\"\nper_hour = 0"), "1 to 100000"),
        (webhook("url = \"https://a.example/\"\nsecret = \"inline\""), "secret"),
        (webhook(""), "url"),
        (email("to = []"), "at least one"),
        (email("to = [\"nobody\"]"), "nobody"),
        (email(&format!("{to}\nusername = \"a\"")), "belong together"),
        (email(&format!("{to}\npassword_file = \"p\"")), "belong together"),
        (email(&format!("{to}\nsecurity = \"none\"")), "loopback"),
        (email(&format!("{to}\npassword = \"inline\"")), "password"),
        (email(&format!("{to}\nburst = 100001")), "1 to 100000"),
        ("[targets.x]\nkind = \"pager\"\n".to_owned(), "pager"),
    ];
    for (text, wanted) in cases {
        let error = checked(&text).unwrap_err();
        assert!(error.contains(wanted), "{text}{error}");
    }
    checked(&email(&format!("{to}\nsecurity = \"none\"\nallow_plain = true"))).unwrap();
}
