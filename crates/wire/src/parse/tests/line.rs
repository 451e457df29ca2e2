use super::*;

fn read_lines(text: &str) -> Vec<String> {
    let context = LineContext { now: NOW, precision: Precision::Seconds, device: None };
    let mut parsed = Parsed::default();
    line(text.as_bytes(), &context, &mut parsed).unwrap();
    told(&parsed)
}

#[test]
fn measurement_field_and_tags_make_the_metric() {
    assert_eq!(
        read_lines("cpu,host=web,cpu=0,arch=arm usage=12.5,idle=3i,up=7u,on=T,mode=\"a b,c=d\" 1795341605"),
        [
            "web cpu.usage{arch=arm,cpu=0}=12.5@5",
            "web cpu.idle{arch=arm,cpu=0}=3i@5",
            "web cpu.up{arch=arm,cpu=0}=7i@5",
            "web cpu.on{arch=arm,cpu=0}=true@5",
            "web cpu.mode{arch=arm,cpu=0}=\"a b,c=d\"@5",
        ]
    );
    assert_eq!(read_lines("m,device=d f=5"), ["d m.f=5.0@0"]);
}

#[test]
fn the_device_is_the_topics_or_the_tag_device_or_the_host() {
    assert_eq!(read_lines("m,device=d,host=h f=1"), ["d m.f{host=h}=1.0@0"]);
    assert_eq!(read_lines("m,host=web.example.com f=1"), ["web-example-com m.f=1.0@0"]);
    assert_eq!(read_lines("m,device=a.b f=1,g=2"), ["!bad-name m.f", "!bad-name m.g"]);
    assert_eq!(read_lines("m f=1"), ["!malformed -"]);
    // By topic: the topic's device stands, and a tag that names another one tells the series apart.
    assert_eq!(
        read("m,device=d f=1\nm,device=press-4,host=press-4 f=2"),
        ["press-4 m.f{device=d}=1.0@0", "press-4 m.f=2.0@0"]
    );
}

#[test]
fn escapes_and_reserved_characters_keep_series_apart() {
    assert_eq!(
        read_lines(r#"my\ disk\,1,device=d,path=/var/a\,b\=c\ d us\=ed=1,msg="say \"hi\" \\ \n" 1795341600"#),
        [
            "d my disk,1.us=ed{path=%2Fvar%2Fa%2Cb%3Dc d}=1.0@0",
            "d my disk,1.msg{path=%2Fvar%2Fa%2Cb%3Dc d}=\"say \\\"hi\\\" \\\\ \\\\n\"@0",
        ]
    );
}

#[test]
fn a_bad_line_is_refused_alone_with_its_number() {
    let text = "m,device=d a=1\n# comment\n\nm,device=d\nm,device=d b=\"open\nm,device=d c=3 1795341600\r\nm,device=d d=\"two\nlines\"\n,x=1 a=1\n";
    let context = LineContext { now: NOW, precision: Precision::Seconds, device: None };
    let mut parsed = Parsed::default();
    line(text.as_bytes(), &context, &mut parsed).unwrap();
    // The quote that line 5 opens is closed in line 7, so the text between is one value, and what
    // comes after it no line.
    let details: Vec<_> = parsed.rejects.iter().map(|reject| reject.detail.as_str()).collect();
    assert_eq!(parsed.rows.iter().map(|r| r.metric.to_owned()).collect::<Vec<_>>(), ["m.a"]);
    assert!(details[0].starts_with("line 4: no fields"), "{details:?}");
    assert!(details[1].starts_with("line 5:"), "{details:?}");
    assert!(details.last().unwrap().starts_with("line 9: no measurement"), "{details:?}");
}

#[test]
fn an_open_quote_costs_its_line_only() {
    assert_eq!(
        read_lines("m,device=d a=\"open\nm,device=d b=2\nm,device=d c=3"),
        ["d m.b=2.0@0", "d m.c=3.0@0", "!malformed -"]
    );
    assert_eq!(
        read_lines("m,device=d d=\"two\nlines\"\nm,device=d e=1"),
        ["d m.d=\"two\\nlines\"@0", "d m.e=1.0@0"]
    );
}

#[test]
fn a_bad_field_leaves_the_others_of_its_line() {
    assert_eq!(
        read_lines(
            "m,device=d a=1,b=abc,c=9223372036854775808i,d=NaN,e=1e999,f=18446744073709551615u,g=-1u,h=2"
        ),
        [
            "d m.a=1.0@0",
            "d m.h=2.0@0",
            "!bad-value m.b",
            "!integer-range m.c",
            "!bad-value m.d",
            "!bad-value m.e",
            "!integer-range m.f",
            "!bad-value m.g"
        ]
    );
}

#[test]
fn a_bad_time_takes_its_line() {
    assert_eq!(
        read_lines("m,device=d a=1,b=2 12x\nm,device=d c=3 9999999999999"),
        ["!bad-time m.a", "!bad-time m.b", "!bad-time m.c"]
    );
    for bad in [
        "m,device=d a=1 1 2",
        "m,device=d a=1,",
        "m,device=d a",
        "m,device=d =1",
        "m,device= a=1",
        "m,device=d,x a=1",
        "m,device=d a=\"x\"y",
    ] {
        assert_eq!(read_lines(bad), ["!malformed -"], "{bad}");
    }
}

#[test]
fn precision_scales_the_timestamp() {
    for (precision, stamp) in
        [("ns", "1795341600500000000"), ("us", "1795341600500000"), ("ms", "1795341600500")]
    {
        let context = LineContext { now: NOW, precision: precision.parse().unwrap(), device: None };
        let mut parsed = Parsed::default();
        line(format!("m,device=d a=1 {stamp}").as_bytes(), &context, &mut parsed).unwrap();
        assert_eq!(told(&parsed), ["d m.a=1.0@0.5"], "{precision}");
    }
    assert!("h".parse::<Precision>().is_err());
}
