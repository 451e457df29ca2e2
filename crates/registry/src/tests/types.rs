use super::*;

#[test]
fn a_type_is_created_once_and_the_same_again() {
    let mut registry = full();
    assert_eq!(registry.create_thing_type(thing_type("press"), NOW).unwrap().1, Vec::new());
    let other = CreateThingType { description: Some("x".to_owned()), ..thing_type("press") };
    assert_eq!(refused(registry.create_thing_type(other, NOW)), "ResourceAlreadyExistsException");
    let searchable = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
    let many = CreateThingType { searchable, ..thing_type("oven") };
    assert_eq!(refused(registry.create_thing_type(many, NOW)), "InvalidRequestException");
    let long = CreateThingType { description: Some("x".repeat(2029)), ..thing_type("oven") };
    assert_eq!(refused(registry.create_thing_type(long, NOW)), "InvalidRequestException");
    let checked = registry.create_thing_type(thing_type("oven"), NOW);
    done(&mut registry, checked);
    let names =
        |page: Page<&ThingType>| page.items.iter().map(|found| found.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(registry.list_thing_types(None, None, 9)), ["oven", "press"]);
    assert_eq!(names(registry.list_thing_types(None, Some("oven"), 9)), ["press"]);
    assert_eq!(names(registry.list_thing_types(Some("press"), None, 9)), ["press"]);
}

#[test]
fn a_type_is_deleted_when_it_is_free_and_deprecated_for_five_minutes() {
    let mut registry = full();
    let later = |minutes: i64| Fresh { now_ms: NOW.now_ms + minutes * 60_000, ..NOW };
    assert_eq!(refused(registry.delete_thing_type("none", NOW)), "ResourceNotFoundException");
    let checked = registry.deprecate_thing_type("press", false, NOW);
    done(&mut registry, checked);
    let error = registry.delete_thing_type("press", later(6)).unwrap_err();
    assert_eq!(error.to_string(), "Cannot delete thing type press: thing press-4 has it");
    let checked =
        registry.update_thing("press-4", UpdateThing { remove_type: true, ..UpdateThing::default() });
    done(&mut registry, checked);
    assert_eq!(refused(registry.delete_thing_type("press", later(4))), "InvalidRequestException");
    // Once more does not count anew, undoing it does.
    let checked = registry.deprecate_thing_type("press", false, later(4));
    done(&mut registry, checked);
    assert!(registry.delete_thing_type("press", later(5)).is_ok());
    let checked = registry.deprecate_thing_type("press", true, later(5));
    done(&mut registry, checked);
    assert_eq!(refused(registry.delete_thing_type("press", later(9))), "InvalidRequestException");
}
