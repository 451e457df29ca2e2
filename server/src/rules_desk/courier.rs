//! Who is told by notifications: the targets of `fieldline.toml`.
//!
//! Each target has a task of its own, so that one that hangs holds up nobody but itself: what it is to be told
//! stays in the rules' outbox and is offered again, and what it was told in the meantime is known here.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fieldline_rules::{Effect, EffectId};
use rules::DeliveryError;
use tokio::sync::{mpsc, oneshot};

use crate::counters::Counters;

/// Notifications that wait for one target at most; what is beyond stays in the outbox.
const WAITING_MAX: usize = 1_000;
/// Ends that nobody has asked for yet, of one target, at most; the oldest go.
const ENDED_MAX: usize = 1_000;
/// How long a target that is well is waited for before the rules go on.
const PATIENCE: Duration = Duration::from_millis(100);

/// Somebody who can be told.
#[async_trait]
pub(crate) trait Target: fmt::Debug + Send + Sync {
    /// Tells one notification, with all tries that make sense at once.
    async fn tell(&self, effect: &Effect) -> Result<(), DeliveryError>;
}

/// The targets, by name. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Couriers(Arc<BTreeMap<String, Courier>>);

impl Couriers {
    /// Starts a task for each target; they end when this is dropped.
    pub(crate) fn start(targets: BTreeMap<String, Arc<dyn Target>>, counters: &Counters) -> Self {
        let start = |(name, target)| (name, Courier::start(target, counters.clone()));
        Self(Arc::new(targets.into_iter().map(start).collect()))
    }

    /// Tells `target`, or says that it is under way.
    pub(super) async fn deliver(&self, target: &str, effect: &Effect) -> Result<(), DeliveryError> {
        match self.0.get(target) {
            Some(courier) => courier.deliver(effect).await,
            None => Err(DeliveryError::Never(format!("there is no target {target:?}").into())),
        }
    }
}

/// How the telling of one notification ends.
#[derive(Debug)]
enum End {
    Told,
    /// It never will be; why is in the log.
    Never(String),
}

#[derive(Debug, Default)]
struct Known {
    /// Handed to the task.
    under_way: HashSet<EffectId>,
    ended: HashMap<EffectId, End>,
    /// Of `ended`, the oldest first.
    order: VecDeque<EffectId>,
    /// The last try did not end well or took long: nobody waits for the next one.
    slow: bool,
}

#[derive(Debug)]
struct Courier {
    line: mpsc::Sender<(Effect, oneshot::Sender<()>)>,
    known: Arc<Mutex<Known>>,
}

impl Courier {
    fn start(target: Arc<dyn Target>, counters: Counters) -> Self {
        let (line, effects) = mpsc::channel(WAITING_MAX);
        let known = Arc::<Mutex<Known>>::default();
        tokio::spawn(run(effects, target, Arc::clone(&known), counters));
        Self { line, known }
    }

    async fn deliver(&self, effect: &Effect) -> Result<(), DeliveryError> {
        let told = {
            let mut known = lock(&self.known);
            if let Some(end) = known.take(&effect.id) {
                return outcome(end);
            }
            if known.under_way.contains(&effect.id) {
                return Err(DeliveryError::Later("it is under way".into()));
            }
            let (done, told) = oneshot::channel();
            if self.line.try_send((effect.clone(), done)).is_err() {
                return Err(DeliveryError::Later("too much waits for the target".into()));
            }
            known.under_way.insert(effect.id.clone());
            (!known.slow).then_some(told)
        };
        let Some(told) = told else { return Err(DeliveryError::Later("it is under way".into())) };
        let in_time = tokio::time::timeout(PATIENCE, told).await.is_ok();
        let mut known = lock(&self.known);
        known.slow |= !in_time;
        match known.take(&effect.id) {
            Some(end) => outcome(end),
            None => Err(DeliveryError::Later("it is under way".into())),
        }
    }
}

impl Known {
    fn take(&mut self, id: &EffectId) -> Option<End> {
        let end = self.ended.remove(id)?;
        self.order.retain(|ended| ended != id);
        Some(end)
    }

    /// None: it is to be offered again, and then told again.
    fn end(&mut self, id: EffectId, end: Option<End>) {
        self.under_way.remove(&id);
        self.slow = !matches!(end, Some(End::Told));
        let Some(end) = end else { return };
        self.ended.insert(id.clone(), end);
        self.order.push_back(id);
        if self.order.len() > ENDED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ended.remove(&oldest);
        }
    }
}

fn outcome(end: End) -> Result<(), DeliveryError> {
    match end {
        End::Told => Ok(()),
        End::Never(reason) => Err(DeliveryError::Never(reason.into())),
    }
}

async fn run(
    mut effects: mpsc::Receiver<(Effect, oneshot::Sender<()>)>,
    target: Arc<dyn Target>,
    known: Arc<Mutex<Known>>,
    counters: Counters,
) {
    while let Some((effect, done)) = effects.recv().await {
        let (end, result) = match target.tell(&effect).await {
            Ok(()) => (Some(End::Told), "delivered"),
            Err(DeliveryError::Later(error)) => {
                let error: &(dyn std::error::Error + 'static) = error.as_ref();
                tracing::warn!(
                    ?target,
                    id = effect.id.0,
                    error,
                    "a target could not be told; it is tried again"
                );
                (None, "retried")
            }
            Err(DeliveryError::Never(error)) => {
                let error: &(dyn std::error::Error + 'static) = error.as_ref();
                tracing::error!(?target, id = effect.id.0, error, "a target refuses a notification");
                (Some(End::Never(error.to_string())), "refused")
            }
        };
        counters.notification(result);
        lock(&known).end(effect.id, end);
        if done.send(()).is_err() {
            tracing::trace!("nobody waited for it any more");
        }
    }
}

fn lock(known: &Mutex<Known>) -> std::sync::MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}
