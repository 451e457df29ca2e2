//! Names of things across services: `arn:aws:iot:local:000000000000:<kind>/<name>`.

/// The partition, service, region and account of everything on site.
const PREFIX: &str = "arn:aws:iot:local:000000000000:";

/// What an ARN can name here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArnKind {
    /// A thing.
    Thing,
    /// A thing type.
    ThingType,
    /// A thing group.
    ThingGroup,
    /// A certificate.
    Certificate,
    /// A policy.
    Policy,
}

impl ArnKind {
    fn word(self) -> &'static str {
        match self {
            Self::Thing => "thing",
            Self::ThingType => "thingtype",
            Self::ThingGroup => "thinggroup",
            Self::Certificate => "cert",
            Self::Policy => "policy",
        }
    }

    /// The ARN of one of this kind.
    pub fn of(self, name: &str) -> String {
        format!("{PREFIX}{}/{name}", self.word())
    }

    /// The name in an ARN of this kind; none where it is no such ARN. Region and account are not looked at,
    /// so that what was written for AWS goes here too.
    pub fn name_in(self, arn: &str) -> Option<&str> {
        let mut parts = arn.splitn(6, ':');
        let head = [parts.next()?, parts.next()?, parts.next()?];
        let (_region, _account) = (parts.next()?, parts.next()?);
        let name = parts.next()?.strip_prefix(self.word())?.strip_prefix('/')?;
        (head[0] == "arn" && head[1].starts_with("aws") && head[2] == "iot" && !name.is_empty())
            .then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_come_and_go() {
        for kind in
            [ArnKind::Thing, ArnKind::ThingType, ArnKind::ThingGroup, ArnKind::Certificate, ArnKind::Policy]
        {
            let arn = kind.of("a:b");
            assert_eq!(kind.name_in(&arn), Some("a:b"), "{arn}");
        }
        assert_eq!(ArnKind::Thing.of("x"), "arn:aws:iot:local:000000000000:thing/x");
        assert_eq!(ArnKind::Thing.name_in("arn:aws:iot:eu-central-1:123456789012:thing/x"), Some("x"));
        for bad in ["", "x", "arn:aws:s3:::thing/x", "arn:aws:iot:a:b:thing/", "arn:aws:iot:a:b:thinggroup/x"]
        {
            assert_eq!(ArnKind::Thing.name_in(bad), None, "{bad}");
        }
    }
}
