use super::*;

#[test]
fn a_name_and_its_attributes_follow_the_patterns() {
    let registry = Registry::default();
    for good in ["a", "A:b_c-9", &"x".repeat(128)] {
        assert!(registry.create_thing(thing(good), NOW).is_ok(), "{good}");
    }
    for bad in ["", "a b", "a/b", "a.b", "ä", &"x".repeat(129)] {
        assert_eq!(refused(registry.create_thing(thing(bad), NOW)), "InvalidRequestException", "{bad}");
    }
    let with = |name: &str, value: &str| {
        registry.create_thing(CreateThing { attributes: attributes(&[(name, value)]), ..thing("a") }, NOW)
    };
    let (name, value) = ("n".repeat(128), "v".repeat(800));
    for (name, value) in [("a", ""), ("a.,@/:#-_9", "a=[1]"), (name.as_str(), value.as_str())] {
        assert!(with(name, value).is_ok(), "{name} {value}");
    }
    let (name, value) = ("n".repeat(129), "v".repeat(801));
    for (name, value) in
        [("", "x"), ("a b", "x"), ("a=", "x"), ("a", "x y"), (name.as_str(), "x"), ("a", value.as_str())]
    {
        assert_eq!(refused(with(name, value)), "InvalidRequestException", "{name} {value}");
    }
}

#[test]
fn three_attributes_without_a_type_and_fifty_with_one() {
    let mut registry = Registry::default();
    let created = registry.create_thing_type(thing_type("t"), NOW);
    done(&mut registry, created);
    for (count, type_name, fits) in
        [(3, None, true), (4, None, false), (50, Some("t"), true), (51, Some("t"), false)]
    {
        let names: Vec<String> = (0..count).map(|n| format!("a{n}")).collect();
        let pairs: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
        let request = CreateThing {
            attributes: attributes(&pairs),
            type_name: type_name.map(str::to_owned),
            ..thing("a")
        };
        assert_eq!(registry.create_thing(request, NOW).is_ok(), fits, "{count} {type_name:?}");
    }
}

#[test]
fn creating_again_succeeds_if_it_is_the_same() {
    let mut registry = full();
    let before = registry.thing("oven-1").unwrap().clone();
    let again = CreateThing { attributes: attributes(&[("hall", "7")]), ..thing("oven-1") };
    let (answer, changes) = registry.create_thing(again, Fresh { random: 9, ..NOW }).unwrap();
    assert_eq!((answer, changes), (before.clone(), Vec::new()));
    let error = registry.create_thing(thing("oven-1"), NOW).unwrap_err();
    assert_eq!((error.code(), error.status()), ("ResourceAlreadyExistsException", 409));
    let Error::Exists { resource_id, resource_arn, .. } = error else { panic!("{error:?}") };
    assert_eq!(
        (resource_id, resource_arn),
        (before.id, "arn:aws:iot:local:000000000000:thing/oven-1".to_owned())
    );
    let unknown = CreateThing { type_name: Some("none".to_owned()), ..thing("b") };
    assert_eq!(refused(registry.create_thing(unknown, NOW)), "ResourceNotFoundException");
    let checked = registry.deprecate_thing_type("press", false, NOW);
    done(&mut registry, checked);
    let deprecated = CreateThing { type_name: Some("press".to_owned()), ..thing("b") };
    assert_eq!(refused(registry.create_thing(deprecated, NOW)), "InvalidRequestException");
}

#[test]
fn an_update_merges_or_replaces_and_an_empty_value_removes() {
    let mut registry = full();
    let mut update = |payload: AttributePayload| {
        let request = UpdateThing { attributes: Some(payload), ..UpdateThing::default() };
        let checked = registry.update_thing("oven-1", request);
        let thing = done(&mut registry, checked);
        (
            thing.version,
            thing.attributes.into_iter().map(|(name, value)| name + "=" + &value).collect::<Vec<_>>(),
        )
    };
    let merge = |pairs| AttributePayload { merge: true, ..attributes(pairs) };
    assert_eq!(update(merge(&[("line", "2")])), (2, vec!["hall=7".to_owned(), "line=2".to_owned()]));
    assert_eq!(update(merge(&[("hall", "")])), (3, vec!["line=2".to_owned()]));
    assert_eq!(update(attributes(&[("a", "1")])), (4, vec!["a=1".to_owned()]));
    assert_eq!(update(AttributePayload::default()), (5, vec!["a=1".to_owned()]));
    assert_eq!(update(attributes(&[])), (6, Vec::new()));
}

#[test]
fn an_update_may_name_the_version_and_change_the_type() {
    let mut registry = full();
    let update = |expected_version| UpdateThing { expected_version, ..UpdateThing::default() };
    let error = registry.update_thing("oven-1", update(Some(2))).unwrap_err();
    assert_eq!((error.code(), error.status()), ("VersionConflictException", 409));
    for fine in [None, Some(0), Some(1)] {
        assert!(registry.update_thing("oven-1", update(fine)).is_ok(), "{fine:?}");
    }
    assert_eq!(refused(registry.update_thing("nobody", update(None))), "ResourceNotFoundException");
    let typed = UpdateThing { type_name: Some("press".to_owned()), ..update(None) };
    let checked = registry.update_thing("oven-1", typed.clone());
    assert_eq!(done(&mut registry, checked).type_name.as_deref(), Some("press"));
    let both = UpdateThing { remove_type: true, ..typed };
    assert_eq!(refused(registry.update_thing("oven-1", both)), "InvalidRequestException");
    let none = UpdateThing { remove_type: true, ..update(None) };
    let checked = registry.update_thing("oven-1", none);
    assert_eq!(done(&mut registry, checked).type_name, None);
    let four = attributes(&[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]);
    let many = UpdateThing { attributes: Some(four), ..update(None) };
    assert_eq!(refused(registry.update_thing("oven-1", many)), "InvalidRequestException");
}

#[test]
fn a_thing_with_certificates_is_not_deleted() {
    let mut registry = full();
    let error = registry.delete_thing("press-4", None).unwrap_err();
    assert_eq!(error.code(), "InvalidRequestException");
    assert_eq!(error.to_string(), "Cannot delete. Thing press-4 is still attached to one or more principals");
    let checked = registry.detach_principal("press-4", &cert_arn(1));
    done(&mut registry, checked);
    assert_eq!(refused(registry.delete_thing("press-4", Some(7))), "VersionConflictException");
    let checked = registry.delete_thing("press-4", Some(1));
    done(&mut registry, checked);
    assert_eq!(registry.thing("press-4").unwrap_err().to_string(), "Thing press-4 cannot be found.");
    assert!(registry.list_things_in_group("hall-7", true, None, 9).unwrap().items.is_empty());
    // As AWS has it.
    assert_eq!(registry.delete_thing("press-4", None).unwrap().1, Vec::new());
}

#[test]
fn lists_are_filtered_and_come_in_pages() {
    let mut registry = full();
    for n in 0..5 {
        let request =
            CreateThing { attributes: attributes(&[("line", &format!("l-{n}"))]), ..thing(&format!("n{n}")) };
        let checked = registry.create_thing(request, NOW);
        done(&mut registry, checked);
    }
    let list = |filter: &ThingFilter| -> Vec<Vec<String>> {
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let page = registry.list_things(filter, after.as_deref(), 2).unwrap();
            pages.push(page.items.iter().map(|thing| thing.name.clone()).collect());
            match page.next {
                Some(next) => after = Some(next),
                None => return pages,
            }
        }
    };
    let all = [vec!["n0", "n1"], vec!["n2", "n3"], vec!["n4", "oven-1"], vec!["press-4"]];
    assert_eq!(list(&ThingFilter::default()), all);
    let line = ThingFilter { attribute_name: Some("line".to_owned()), ..ThingFilter::default() };
    assert_eq!(list(&line), [vec!["n0", "n1"], vec!["n2", "n3"], vec!["n4"]]);
    let third = ThingFilter { attribute_value: Some("l-3".to_owned()), ..line.clone() };
    assert_eq!(list(&third), [vec!["n3"]]);
    let prefix = ThingFilter { attribute_value: Some("l-".to_owned()), prefix: true, ..line };
    assert_eq!(list(&prefix).concat().len(), 5);
    let press = ThingFilter { type_name: Some("press".to_owned()), ..ThingFilter::default() };
    assert_eq!(list(&press), [vec!["press-4"]]);
    let nameless = ThingFilter { attribute_value: Some("x".to_owned()), ..ThingFilter::default() };
    assert_eq!(registry.list_things(&nameless, None, 9).unwrap_err().code(), "InvalidRequestException");
}
