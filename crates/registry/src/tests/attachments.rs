use super::*;

#[test]
fn a_target_is_the_arn_of_a_certificate_or_a_group() {
    let arn = cert_arn(1).replace("local:000000000000", "eu-central-1:123456789012");
    assert_eq!(arn.parse::<Target>().unwrap(), Target::Certificate(id(1)));
    assert_eq!(arn::ArnKind::ThingGroup.of("g").parse::<Target>().unwrap(), Target::Group("g".to_owned()));
    for bad in ["", "press-4", "arn:aws:iot:local:000000000000:thing/press-4", "eu-central-1:0000-pool"] {
        assert_eq!(bad.parse::<Target>().unwrap_err().code(), "InvalidRequestException", "{bad}");
    }
}

#[test]
fn ten_policies_are_attached_at_most_and_each_once() {
    let mut registry = full();
    let target = Target::Certificate(id(1));
    assert_eq!(registry.attach_policy("own", &target).unwrap().1, Vec::new());
    for n in 0..10 {
        let name = format!("p{n}");
        let checked = registry.create_policy(&name, "{}", NOW);
        done(&mut registry, checked);
        if n < 9 {
            let checked = registry.attach_policy(&name, &target);
            done(&mut registry, checked);
        }
    }
    let error = registry.attach_policy("p9", &target).unwrap_err();
    assert_eq!((error.code(), error.status()), ("LimitExceededException", 410));
    assert_eq!(refused(registry.attach_policy("none", &target)), "ResourceNotFoundException");
    assert_eq!(
        refused(registry.attach_policy("own", &Target::Group("none".to_owned()))),
        "ResourceNotFoundException"
    );
    assert_eq!(registry.detach_policy("p9", &target).unwrap().1, Vec::new());
}

#[test]
fn a_certificate_has_the_policies_of_its_things_groups() {
    let mut registry = full();
    let policies = |registry: &Registry| -> Vec<String> {
        let found = registry.certificate(&id(1)).unwrap();
        registry.policies_of(found).iter().map(|policy| policy.name.clone()).collect()
    };
    assert_eq!(policies(&registry), ["of-site", "own"]);
    let found = registry.certificate(&id(1)).unwrap();
    let things: Vec<&str> = registry.things_of(found).map(|thing| thing.name.as_str()).collect();
    assert_eq!(things, ["press-4"]);
    let checked = registry.remove_from_group("press-4", "hall-7");
    done(&mut registry, checked);
    assert_eq!(policies(&registry), ["own"]);
    let hall = Target::Group("hall-7".to_owned());
    let names = |recursive| -> Vec<String> {
        let page = registry.list_attached_policies(&hall, recursive, None, 9).unwrap();
        page.items.iter().map(|policy| policy.name.clone()).collect()
    };
    assert_eq!((names(false), names(true)), (Vec::new(), vec!["of-site".to_owned()]));
    assert_eq!(registry.list_targets("own", None, 9).unwrap().items, [cert_arn(1)]);
    assert_eq!(registry.list_targets("none", None, 9).unwrap_err().code(), "ResourceNotFoundException");
}

#[test]
fn principals_are_certificates_that_are_there() {
    let mut registry = full();
    assert_eq!(registry.attach_principal("press-4", &cert_arn(1)).unwrap().1, Vec::new());
    assert_eq!(refused(registry.attach_principal("press-4", &cert_arn(9))), "ResourceNotFoundException");
    assert_eq!(refused(registry.attach_principal("none", &cert_arn(1))), "ResourceNotFoundException");
    assert_eq!(refused(registry.attach_principal("press-4", "joe")), "InvalidRequestException");
    for n in 10..20 {
        let checked = registry.register_certificate(certificate(n), NOW);
        done(&mut registry, checked);
        if n < 19 {
            let checked = registry.attach_principal("press-4", &cert_arn(n));
            done(&mut registry, checked);
        }
    }
    assert_eq!(refused(registry.attach_principal("press-4", &cert_arn(19))), "InvalidRequestException");
    assert_eq!(registry.list_principals("press-4", None, 3).unwrap().items.len(), 3);
    let rest = registry.list_principals("press-4", Some(&cert_arn(11)), 99).unwrap();
    assert_eq!((rest.items.len(), rest.next), (7, None));
    assert_eq!(registry.list_things_of(&cert_arn(1), None, 9).unwrap().items, ["press-4"]);
    assert_eq!(
        registry.list_things_of(&cert_arn(9), None, 9).unwrap_err().code(),
        "ResourceNotFoundException"
    );
}
