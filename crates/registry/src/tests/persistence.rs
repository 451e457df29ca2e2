use super::*;

/// All records, by way of JSON, in the order of loading.
fn stored(registry: &Registry) -> Vec<Record> {
    let records = registry.types.values().cloned().map(Record::ThingType);
    let records = records.chain(registry.groups.values().cloned().map(Record::Group));
    let records = records.chain(registry.policies.values().cloned().map(Record::Policy));
    let records = records.chain(registry.certificates.values().cloned().map(Record::Certificate));
    let records = records.chain(registry.things.values().cloned().map(Record::Thing));
    records
        .map(|record| {
            let (kind, key) = record.place();
            assert!(Kind::ALL.contains(&kind));
            let json = record.to_json().unwrap();
            let read = Record::read(kind, key, &json).unwrap();
            assert_eq!(read, record, "{json}");
            read
        })
        .collect()
}

#[test]
fn a_registry_is_the_same_when_it_is_loaded_again() {
    let registry = full();
    let mut records = stored(&registry);
    for _ in 0..2 {
        let loaded = Registry::load(records.clone());
        // Every index too.
        assert_eq!(format!("{:?}", sorted(&loaded)), format!("{:?}", sorted(&registry)));
        records.reverse();
    }
}

/// The indexes, which are maps without an order.
fn sorted(registry: &Registry) -> Vec<BTreeMap<String, Vec<String>>> {
    let indexes = [
        &registry.things_of_certificate,
        &registry.things_of_type,
        &registry.things_of_group,
        &registry.children_of_group,
        &registry.certificates_of_policy,
        &registry.groups_of_policy,
    ];
    let plain = |index: &&crate::state::Index| {
        index.iter().map(|(key, names)| (key.clone(), names.iter().cloned().collect())).collect()
    };
    indexes.iter().map(plain).collect()
}

#[test]
fn nothing_is_left_behind_when_all_is_deleted() {
    let mut registry = full();
    let checked = registry.detach_principal("press-4", &cert_arn(1));
    done(&mut registry, checked);
    for name in ["press-4", "oven-1"] {
        let checked = registry.delete_thing(name, None);
        done(&mut registry, checked);
    }
    for n in [1, 2] {
        let checked = registry.update_certificate(&id(n), CertificateStatus::Revoked, NOW);
        done(&mut registry, checked);
        let checked = registry.delete_certificate(&id(n), true);
        done(&mut registry, checked);
    }
    for name in ["hall-7", "site", "spare"] {
        let checked = registry.delete_group(name, None);
        done(&mut registry, checked);
    }
    assert!(sorted(&registry).iter().all(BTreeMap::is_empty), "{:?}", sorted(&registry));
    assert!(registry.certificates_by_age.is_empty());
}

#[test]
fn a_record_that_cannot_be_read_is_named() {
    let error = Record::read(Kind::Policy, "own", "{").unwrap_err();
    assert_eq!(error.to_string(), "the policy own in the registry cannot be read");
}

#[test]
fn an_id_has_the_shape_of_a_uuid() {
    assert_eq!(NOW.uuid(), "01234567-89ab-4def-8123-456789abcdef");
}
