//! Certificates as the registry has them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use fieldline_mqtt::Broker;
use fieldline_policy::{Action, Document, Request, Resource, Thing, Variables, decide};
use fieldline_registry::{CertificateStatus, Policy, Registry};
use tokio::sync::watch;

use super::{Access, Certificates, Standing};
use crate::registry::RegistryHandle;
use crate::stop;

/// Compiled documents that are kept; beyond them all are forgotten and compiled again when needed.
const COMPILED_MAX: usize = 1_000;

/// The registry, asked for certificates.
#[derive(Debug)]
pub(crate) struct Registered {
    registry: RegistryHandle,
    /// Policies that were compiled, by their text.
    compiled: Mutex<HashMap<String, Arc<Document>>>,
}

impl Registered {
    pub(crate) fn new(registry: RegistryHandle) -> Self {
        Self { registry, compiled: Mutex::default() }
    }

    /// A document that cannot be compiled, from an earlier version perhaps, allows nothing.
    fn compile(&self, text: &str) -> Option<Arc<Document>> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = compiled.get(text) {
            return Some(Arc::clone(known));
        }
        match Document::parse(text) {
            Ok(document) => {
                if compiled.len() >= COMPILED_MAX {
                    compiled.clear();
                }
                let document = Arc::new(document);
                compiled.insert(text.to_owned(), Arc::clone(&document));
                Some(document)
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a policy cannot be used");
                None
            }
        }
    }
}

impl Certificates for Registered {
    fn standing(&self, certificate_id: &str) -> Standing {
        self.registry.read(|registry| {
            let Ok(certificate) = registry.certificate(certificate_id) else { return Standing::Unknown };
            if certificate.status != CertificateStatus::Active {
                return Standing::Barred;
            }
            let policies = registry.policies_of(certificate);
            Standing::Active {
                things: things(registry, certificate_id),
                policies: policies.iter().filter_map(|policy| self.compile(policy.document())).collect(),
            }
        })
    }

    fn things(&self, certificate_id: &str) -> Option<Vec<Thing>> {
        self.registry.read(|registry| {
            registry.certificate(certificate_id).is_ok().then(|| things(registry, certificate_id))
        })
    }

    fn is_gateway(&self, thing: &str) -> bool {
        self.registry.read(|registry| {
            let Ok(found) = registry.thing(thing) else { return false };
            let certificates = found.principals.iter().filter_map(|id| registry.certificate(id).ok());
            let mut policies = certificates.flat_map(|certificate| registry.policies_of(certificate));
            // Whoever may update a shadow of a name that begins as its own is no mere device.
            let other = format!("$aws/things/{thing}-/shadow/update");
            let variables = Variables {
                client_id: Some(thing.to_owned()),
                thing: Some(Thing { name: thing.to_owned(), ..Thing::default() }),
                ..Variables::default()
            };
            let resource = Resource::Topic(&other);
            let request = Request { action: Action::Publish, resource, variables: &variables };
            let compiled = |policy: &Policy| self.compile(policy.document());
            policies.any(|policy| compiled(policy).is_some_and(|own| decide(&[own], &request).is_allowed()))
        })
    }

    fn generation(&self) -> u64 {
        self.registry.generation()
    }
}

fn things(registry: &Registry, certificate_id: &str) -> Vec<Thing> {
    let Ok(certificate) = registry.certificate(certificate_id) else { return Vec::new() };
    let things = registry.things_of(certificate).map(|thing| Thing {
        name: thing.name.clone(),
        type_name: thing.type_name.clone(),
        attributes: thing.attributes.clone(),
    });
    things.collect()
}

/// Ends the connections of certificates that may not be used any more, as soon as the registry says so.
pub(crate) async fn turn_away(
    access: Access,
    broker: Broker,
    registry: RegistryHandle,
    mut stopping: watch::Receiver<bool>,
) {
    let mut changes = registry.changes();
    loop {
        tokio::select! {
            () = stop::told(&mut stopping) => return,
            changed = changes.changed() => if changed.is_err() { return },
        }
        for client in access.barred() {
            tracing::info!(client, "its certificate may not be used any more");
            broker.disconnect(&client);
        }
    }
}
