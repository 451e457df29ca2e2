use super::*;

#[test]
fn a_policy_is_created_once_under_a_name_of_its_pattern() {
    let registry = full();
    for good in ["a", "A_+=,.@-9", &"x".repeat(128)] {
        assert!(registry.create_policy(good, "{}", NOW).is_ok(), "{good}");
    }
    for bad in ["", "a b", "a/b", "a:b", &"x".repeat(129)] {
        assert_eq!(refused(registry.create_policy(bad, "{}", NOW)), "InvalidRequestException", "{bad}");
    }
    // The same again is an error here, as at AWS.
    assert_eq!(refused(registry.create_policy("own", "{}", NOW)), "ResourceAlreadyExistsException");
}

#[test]
fn a_policy_has_five_versions_of_which_one_counts() {
    let mut registry = full();
    for number in 2..=5 {
        let checked = registry.create_policy_version("own", &format!("{{\"v\":{number}}}"), number == 4, NOW);
        assert_eq!(done(&mut registry, checked), NewPolicyVersion { number, is_default: number == 4 });
    }
    let error = registry.create_policy_version("own", "{}", false, NOW).unwrap_err();
    assert_eq!((error.code(), error.status()), ("VersionsLimitExceededException", 409));
    assert_eq!(registry.policy("own").unwrap().document(), "{\"v\":4}");
    assert_eq!(refused(registry.delete_policy_version("own", 4, NOW)), "DeleteConflictException");
    assert_eq!(refused(registry.delete_policy_version("own", 9, NOW)), "ResourceNotFoundException");
    let checked = registry.set_default_policy_version("own", 1, NOW);
    done(&mut registry, checked);
    assert_eq!(registry.policy("own").unwrap().document(), "{}");
    let checked = registry.delete_policy_version("own", 5, NOW);
    done(&mut registry, checked);
    let checked = registry.create_policy_version("own", "{}", false, NOW);
    assert_eq!(done(&mut registry, checked).number, 6, "a number does not come again");
}

#[test]
fn a_policy_is_deleted_when_it_is_free() {
    let mut registry = full();
    assert_eq!(refused(registry.delete_policy("none")), "ResourceNotFoundException");
    assert_eq!(refused(registry.delete_policy("own")), "DeleteConflictException");
    assert_eq!(refused(registry.delete_policy("of-site")), "DeleteConflictException");
    let checked = registry.detach_policy("own", &Target::Certificate(id(1)));
    done(&mut registry, checked);
    let checked = registry.create_policy_version("own", "{}", false, NOW);
    done(&mut registry, checked);
    assert_eq!(refused(registry.delete_policy("own")), "DeleteConflictException");
    let checked = registry.delete_policy_version("own", 2, NOW);
    done(&mut registry, checked);
    let checked = registry.delete_policy("own");
    done(&mut registry, checked);
    assert!(registry.policy("own").is_err());
}

#[test]
fn policies_come_in_either_order() {
    let registry = full();
    let names = |ascending, after| -> Vec<String> {
        registry.list_policies(ascending, after, 9).items.iter().map(|policy| policy.name.clone()).collect()
    };
    assert_eq!(names(true, None), ["of-site", "own"]);
    assert_eq!(names(false, None), ["own", "of-site"]);
    assert_eq!(names(false, Some("own")), ["of-site"]);
}
