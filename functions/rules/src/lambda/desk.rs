//! The runners that are warm, one for each gateway.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use fieldline_model::{GatewayId, Timestamp};
use fieldline_rules::{Effect, Host, Limits};
use fieldline_wire::Block;

use super::fares::{self, Fares};
use super::files::Files;
use super::{Account, GatewayState};
use crate::{CommitError, DeliveryError, Outlet, PortError, Runner, StateStore};

/// Gateways whose state is kept in memory between invocations; the one longest unused goes first.
const WARM_MAX: usize = 64;
/// How often blocks are evaluated anew because another invocation committed first.
const ATTEMPTS_MAX: u32 = 4;

/// A runner, and what it stands on.
struct Warm {
    runner: Runner,
    state: Arc<dyn GatewayState>,
    /// Which rules it has.
    rules: u64,
    /// What was told of them.
    fares: Fares,
    used: u64,
}

/// See the module.
pub(super) struct Desk {
    account: Arc<dyn Account>,
    files: tokio::sync::Mutex<Files>,
    warm: Mutex<Warmed>,
    /// No delivery begins after this.
    until: Arc<Mutex<Option<Instant>>>,
}

/// Takes effects as long as there is time. What many alarms at once leave over waits for the next minute: were the
/// invocation cut off instead, nobody would note what has been delivered.
struct Punctual {
    outlet: Arc<dyn Outlet>,
    until: Arc<Mutex<Option<Instant>>>,
}

#[async_trait]
impl Outlet for Punctual {
    async fn deliver(&self, effect: &Effect) -> Result<(), DeliveryError> {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        match until.is_some_and(|until| Instant::now() >= until) {
            true => Err(DeliveryError::Later("no time is left".into())),
            false => self.outlet.deliver(effect).await,
        }
    }
}

#[derive(Default)]
struct Warmed {
    runners: BTreeMap<GatewayId, Warm>,
    uses: u64,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Desk")
    }
}

impl Desk {
    pub(super) fn new(account: Arc<dyn Account>) -> Self {
        let (files, warm) = (tokio::sync::Mutex::default(), Mutex::default());
        Self { account, files, warm, until: Arc::default() }
    }

    /// An invocation begins; deliveries have so long.
    pub(super) fn deliver_until(&self, until: Instant) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// Reads the rules again when it is time to.
    pub(super) async fn refresh(&self, now: Timestamp) -> Result<(), PortError> {
        self.files.lock().await.refresh(self.account.as_ref(), now).await
    }

    pub(super) async fn due(&self, now: Timestamp) -> Result<Vec<GatewayId>, PortError> {
        self.account.due(now).await
    }

    /// Evaluates blocks of a gateway, or what is due when there are none.
    ///
    /// # Errors
    /// Nothing of it is durable, or it is and the deliveries are not noted: either way it may be done again.
    pub(super) async fn run(
        &self,
        gateway: &GatewayId,
        blocks: &[Block],
        now: Timestamp,
    ) -> Result<(), CommitError> {
        let mut attempt = 1;
        loop {
            match self.attempt(gateway, blocks, now).await {
                Err(CommitError::Conflict) if attempt < ATTEMPTS_MAX => {
                    tracing::info!(%gateway, attempt, "another invocation was first; evaluated again");
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// A runner that fails, or is cut off, is not put back: the next one reads the state.
    async fn attempt(
        &self,
        gateway: &GatewayId,
        blocks: &[Block],
        now: Timestamp,
    ) -> Result<(), CommitError> {
        let taken = self.lock().runners.remove(gateway);
        let mut warm = match taken {
            Some(warm) if warm.state.is_current().await.map_err(CommitError::Unavailable)? => warm,
            _ => self.open(gateway, now).await?,
        };
        let (version, documents) = self.files.lock().await.documents();
        if warm.rules != version {
            for (rule, reason) in warm.runner.load(now, &documents).await?.refused {
                tracing::warn!(%gateway, rule, reason, "a rule cannot be used");
            }
            fares::warn_of_what_there_is_not(gateway, &documents);
            warm.rules = version;
            warm.fares = Fares::default();
        }
        match blocks {
            [] => warm.runner.tick(now).await?,
            blocks => warm.runner.blocks(now, blocks.iter()).await?,
        }
        // Deliveries are noted at once: until they are, another invocation would deliver again.
        if warm.runner.wake_at().is_some_and(|at| at <= now) {
            warm.runner.tick(now).await?;
        }
        warm.fares.tell(gateway, &warm.runner);
        self.put(gateway, warm);
        Ok(())
    }

    async fn open(&self, gateway: &GatewayId, now: Timestamp) -> Result<Warm, CommitError> {
        let state = self.account.state(gateway);
        let port: Arc<dyn StateStore> = Arc::<dyn GatewayState>::clone(&state);
        let outlet =
            Arc::new(Punctual { outlet: self.account.outlet(gateway), until: Arc::clone(&self.until) });
        let runner = Runner::open(Host::Server, Limits::default(), port, outlet, now).await?;
        Ok(Warm { runner, state, rules: 0, fares: Fares::default(), used: 0 })
    }

    fn put(&self, gateway: &GatewayId, mut warm: Warm) {
        let mut warmed = self.lock();
        warmed.uses += 1;
        warm.used = warmed.uses;
        warmed.runners.insert(gateway.clone(), warm);
        if warmed.runners.len() > WARM_MAX {
            let oldest = warmed.runners.iter().min_by_key(|(_, warm)| warm.used);
            if let Some(oldest) = oldest.map(|(gateway, _)| gateway.clone()) {
                warmed.runners.remove(&oldest);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Warmed> {
        self.warm.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
