use super::*;

#[test]
fn groups_are_nested_seven_deep() {
    let mut registry = Registry::default();
    let mut parent: Option<String> = None;
    for level in 1..=7 {
        let name = format!("level-{level}");
        let checked = registry.create_group(group(&name, parent.as_deref()), NOW);
        done(&mut registry, checked);
        parent = Some(name);
    }
    assert_eq!(
        refused(registry.create_group(group("level-8", parent.as_deref()), NOW)),
        "InvalidRequestException"
    );
    assert_eq!(refused(registry.create_group(group("a", Some("none")), NOW)), "ResourceNotFoundException");
    let lineage: Vec<&str> = registry.lineage("level-3").map(|group| group.name.as_str()).collect();
    assert_eq!(lineage, ["level-3", "level-2", "level-1"]);
}

#[test]
fn a_group_is_created_once_and_updated_by_version() {
    let mut registry = full();
    assert_eq!(registry.create_group(group("hall-7", Some("site")), NOW).unwrap().1, Vec::new());
    assert_eq!(refused(registry.create_group(group("hall-7", None), NOW)), "ResourceAlreadyExistsException");
    let update = UpdateGroup {
        description: Some("west".to_owned()),
        attributes: Some(attributes(&[("floor", "1")])),
        expected_version: Some(1),
    };
    let checked = registry.update_group("hall-7", update.clone());
    assert_eq!(done(&mut registry, checked), 2);
    assert_eq!(refused(registry.update_group("hall-7", update)), "VersionConflictException");
    assert_eq!(registry.group("hall-7").unwrap().description.as_deref(), Some("west"));
}

#[test]
fn a_thing_is_in_ten_groups_and_in_one_of_a_hierarchy() {
    let mut registry = full();
    assert_eq!(registry.add_to_group("press-4", "hall-7").unwrap().1, Vec::new());
    assert_eq!(refused(registry.add_to_group("press-4", "site")), "InvalidRequestException");
    assert_eq!(refused(registry.add_to_group("press-4", "none")), "ResourceNotFoundException");
    assert_eq!(refused(registry.add_to_group("none", "site")), "ResourceNotFoundException");
    for n in 0..10 {
        let name = format!("g{n}");
        let checked = registry.create_group(group(&name, None), NOW);
        done(&mut registry, checked);
        if n < 9 {
            let checked = registry.add_to_group("press-4", &name);
            done(&mut registry, checked);
        }
    }
    assert_eq!(refused(registry.add_to_group("press-4", "g9")), "InvalidRequestException");
    let checked = registry.remove_from_group("press-4", "g0");
    done(&mut registry, checked);
    assert_eq!(registry.remove_from_group("press-4", "g0").unwrap().1, Vec::new());
    assert!(registry.add_to_group("press-4", "g9").is_ok());
}

#[test]
fn a_group_with_groups_in_it_is_not_deleted_one_with_things_is() {
    let mut registry = full();
    assert_eq!(refused(registry.delete_group("site", None)), "InvalidRequestException");
    assert_eq!(refused(registry.delete_group("hall-7", Some(9))), "VersionConflictException");
    let checked = registry.delete_group("hall-7", None);
    done(&mut registry, checked);
    assert!(registry.thing("press-4").unwrap().groups.is_empty());
    let checked = registry.delete_group("site", None);
    done(&mut registry, checked);
    // Its policy is free again, and what is not there is no error.
    assert!(registry.delete_policy("of-site").is_ok());
    assert_eq!(registry.delete_group("site", None).unwrap().1, Vec::new());
}

#[test]
fn lists_follow_parents() {
    let registry = full();
    let names = |parent: Option<&str>, recursive: Option<bool>, prefix: Option<&str>| -> Vec<String> {
        let filter =
            GroupFilter { parent: parent.map(str::to_owned), prefix: prefix.map(str::to_owned), recursive };
        let page = registry.list_groups(&filter, None, 9).unwrap();
        page.items.iter().map(|group| group.name.clone()).collect()
    };
    assert_eq!(names(None, None, None), ["hall-7", "site", "spare"]);
    assert_eq!(names(None, Some(false), None), ["site", "spare"]);
    assert_eq!(names(Some("site"), None, None), ["hall-7"]);
    assert_eq!(names(Some("hall-7"), Some(true), None), Vec::<String>::new());
    assert_eq!(names(None, None, Some("s")), ["site", "spare"]);
    let none = GroupFilter { parent: Some("none".to_owned()), ..GroupFilter::default() };
    assert_eq!(registry.list_groups(&none, None, 9).unwrap_err().code(), "ResourceNotFoundException");
    assert_eq!(registry.list_things_in_group("site", true, None, 9).unwrap().items, ["press-4"]);
    assert!(registry.list_things_in_group("site", false, None, 9).unwrap().items.is_empty());
    assert_eq!(registry.list_groups_of("press-4", None, 9).unwrap().items.len(), 1);
}
