//! What the tables of rules share.

mod attachments;
mod certificates;
mod groups;
mod persistence;
mod policies;
mod things;
mod types;

use std::collections::BTreeMap;

use crate::*;

pub(super) const NOW: Fresh =
    Fresh { now_ms: 1_767_225_600_000, random: 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef };

/// Does what was checked.
pub(super) fn done<T>(registry: &mut Registry, checked: Checked<T>) -> T {
    let (answer, changes) = checked.unwrap();
    changes.into_iter().for_each(|change| registry.apply(change));
    answer
}

/// The code of a refusal.
pub(super) fn refused<T: std::fmt::Debug>(checked: Checked<T>) -> &'static str {
    checked.unwrap_err().code()
}

pub(super) fn attributes(pairs: &[(&str, &str)]) -> AttributePayload {
    let attributes: BTreeMap<_, _> =
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    AttributePayload { attributes: Some(attributes), merge: false }
}

pub(super) fn thing(name: &str) -> CreateThing {
    CreateThing { name: name.to_owned(), ..CreateThing::default() }
}

pub(super) fn group(name: &str, parent: Option<&str>) -> CreateGroup {
    CreateGroup { name: name.to_owned(), parent: parent.map(str::to_owned), ..CreateGroup::default() }
}

pub(super) fn thing_type(name: &str) -> CreateThingType {
    CreateThingType { name: name.to_owned(), ..CreateThingType::default() }
}

/// The id of the certificate number `n`, and its ARN.
pub(super) fn id(n: u64) -> String {
    format!("{n:064x}")
}

pub(super) fn cert_arn(n: u64) -> String {
    arn::ArnKind::Certificate.of(&id(n))
}

pub(super) fn certificate(n: u64) -> NewCertificate {
    NewCertificate {
        id: id(n),
        pem: format!("-----BEGIN CERTIFICATE-----\n{n}\n-----END CERTIFICATE-----\n"),
        status: CertificateStatus::Active,
        without_ca: false,
        not_before_s: 0,
        not_after_s: 4_000_000_000,
    }
}

/// Two things, two types, three groups, two certificates and two policies, attached to each other.
pub(super) fn full() -> Registry {
    let mut registry = Registry::default();
    let all = &mut registry;
    done(all, all.create_thing_type(thing_type("press"), NOW));
    done(all, all.create_thing(CreateThing { type_name: Some("press".to_owned()), ..thing("press-4") }, NOW));
    done(
        all,
        all.create_thing(CreateThing { attributes: attributes(&[("hall", "7")]), ..thing("oven-1") }, NOW),
    );
    done(all, all.create_group(group("site", None), NOW));
    done(all, all.create_group(group("hall-7", Some("site")), NOW));
    done(all, all.create_group(group("spare", None), NOW));
    done(all, all.register_certificate(certificate(1), NOW));
    done(all, all.register_certificate(certificate(2), NOW));
    done(all, all.create_policy("own", "{}", NOW));
    done(all, all.create_policy("of-site", "{}", NOW));
    done(all, all.add_to_group("press-4", "hall-7"));
    done(all, all.attach_principal("press-4", &cert_arn(1)));
    done(all, all.attach_policy("own", &Target::Certificate(id(1))));
    done(all, all.attach_policy("of-site", &Target::Group("site".to_owned())));
    registry
}
