use super::*;

#[test]
fn a_certificate_is_registered_once() {
    let registry = full();
    let error = registry.register_certificate(certificate(1), NOW).unwrap_err();
    assert_eq!((error.code(), error.status()), ("ResourceAlreadyExistsException", 409));
    let Error::Exists { resource_id, resource_arn, .. } = error else { panic!("{error:?}") };
    assert_eq!((resource_id, resource_arn), (id(1), cert_arn(1)));
    let short = NewCertificate { id: "ab".to_owned(), ..certificate(3) };
    assert_eq!(refused(registry.register_certificate(short, NOW)), "InvalidRequestException");
}

#[test]
fn a_status_changes_and_only_to_one_of_three() {
    let mut registry = full();
    for word in ["PENDING_TRANSFER", "PENDING_ACTIVATION", "REGISTER_INACTIVE", "active", ""] {
        assert_eq!(
            word.parse::<CertificateStatus>().unwrap_err().code(),
            "InvalidRequestException",
            "{word}"
        );
    }
    for (word, version) in [("INACTIVE", 2), ("INACTIVE", 2), ("REVOKED", 3), ("ACTIVE", 4)] {
        let status: CertificateStatus = word.parse().unwrap();
        let checked = registry.update_certificate(&id(1), status, Fresh { now_ms: 9, ..NOW });
        done(&mut registry, checked);
        let found = registry.certificate(&id(1)).unwrap();
        assert_eq!((found.status.as_str(), found.version, found.modified_ms), (word, version, 9));
    }
    let checked = registry.update_certificate(&id(9), CertificateStatus::Active, NOW);
    assert_eq!(refused(checked), "ResourceNotFoundException");
    let checked = registry.update_certificate("x", CertificateStatus::Active, NOW);
    assert_eq!(refused(checked), "InvalidRequestException");
}

#[test]
fn a_certificate_is_deleted_when_it_is_neither_active_nor_attached() {
    let mut registry = full();
    assert_eq!(refused(registry.delete_certificate(&id(9), false)), "ResourceNotFoundException");
    let error = registry.delete_certificate(&id(1), true).unwrap_err();
    assert_eq!((error.code(), error.status()), ("CertificateStateException", 406));
    let checked = registry.update_certificate(&id(1), CertificateStatus::Inactive, NOW);
    done(&mut registry, checked);
    let error = registry.delete_certificate(&id(1), true).unwrap_err();
    assert_eq!((error.code(), error.status()), ("DeleteConflictException", 409));
    let checked = registry.detach_principal("press-4", &cert_arn(1));
    done(&mut registry, checked);
    assert_eq!(refused(registry.delete_certificate(&id(1), false)), "DeleteConflictException");
    let checked = registry.delete_certificate(&id(1), true);
    done(&mut registry, checked);
    assert!(registry.certificate(&id(1)).is_err());
    assert!(registry.delete_policy("own").is_ok(), "it is attached to nothing any more");
}

#[test]
fn the_newest_comes_first() {
    let mut registry = Registry::default();
    for n in 1..=5 {
        let checked =
            registry.register_certificate(certificate(n), Fresh { now_ms: n.cast_signed() / 2, ..NOW });
        done(&mut registry, checked);
    }
    let all = |ascending: bool| {
        let (mut ids, mut after) = (Vec::new(), None);
        loop {
            let page = registry.list_certificates(ascending, after.as_deref(), 2);
            ids.extend(page.items.iter().map(|found| u64::from_str_radix(&found.id, 16).unwrap()));
            match page.next {
                Some(next) => after = Some(next),
                None => return ids,
            }
        }
    };
    assert_eq!(all(false), [5, 4, 3, 2, 1]);
    assert_eq!(all(true), [1, 2, 3, 4, 5]);
}
