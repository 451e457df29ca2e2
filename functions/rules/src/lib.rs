//! Stand-in.
#![expect(missing_docs, reason = "a stand-in")]
use std::sync::Arc;

use async_trait::async_trait;
use fieldline_model::{Class, Timestamp};
use fieldline_rules::*;
use fieldline_wire::{Block, Rows};

pub type PortError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    #[error("conflict")]
    Conflict,
    #[error("unavailable")]
    Unavailable(#[source] PortError),
}

#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    #[error("later")]
    Later(#[source] PortError),
    #[error("never")]
    Never(#[source] PortError),
}

#[async_trait]
pub trait StateStore: Send + Sync {
    async fn load(&self) -> Result<Vec<(String, Vec<u8>)>, PortError>;
    async fn commit(&self, changes: Vec<Change>) -> Result<(), CommitError>;
}

#[async_trait]
pub trait Outlet: Send + Sync {
    async fn deliver(&self, effect: &Effect) -> Result<(), DeliveryError>;
}

#[expect(missing_debug_implementations, reason = "a stand-in")]
pub struct Runner {
    engine: Engine,
    state: Arc<dyn StateStore>,
    outlet: Arc<dyn Outlet>,
}

impl Runner {
    pub async fn open(
        host: Host,
        limits: Limits,
        state: Arc<dyn StateStore>,
        outlet: Arc<dyn Outlet>,
        _now: Timestamp,
    ) -> Result<Self, CommitError> {
        let mut engine = Engine::new(host, limits);
        for (key, value) in state.load().await.map_err(CommitError::Unavailable)? {
            engine.restore(&key, &value).map_err(|e| CommitError::Unavailable(e.into()))?;
        }
        Ok(Self { engine, state, outlet })
    }
    async fn finish(&mut self, effects: Vec<Effect>) -> Result<(), CommitError> {
        self.state.commit(self.engine.take_changes()).await?;
        for effect in effects {
            drop(self.outlet.deliver(&effect).await);
        }
        Ok(())
    }
    pub async fn load(&mut self, now: Timestamp, documents: &Documents) -> Result<Loaded, CommitError> {
        let mut effects = Vec::new();
        let loaded = self.engine.load(now, documents, &mut effects);
        self.finish(effects).await?;
        Ok(loaded)
    }
    pub async fn blocks<'a>(
        &mut self,
        now: Timestamp,
        blocks: impl Iterator<Item = &'a Block>,
    ) -> Result<(), CommitError> {
        let mut effects = Vec::new();
        for block in blocks {
            for column in &block.columns {
                if let fieldline_wire::Values::Float(values) = &column.values {
                    for (time, value) in column.times.iter().zip(values) {
                        let reading = fieldline_model::ReadingRef {
                            device: column.device.as_str(),
                            metric: column.metric.as_str(),
                            time: Timestamp::from_nanos(*time),
                            value: fieldline_model::ValueRef::Float(*value),
                            quality: fieldline_model::Quality::Good,
                        };
                        self.engine.observe(now, block.class, reading, &mut effects);
                    }
                }
            }
        }
        self.finish(effects).await
    }
    pub async fn readings(&mut self, now: Timestamp, class: Class, rows: &Rows) -> Result<(), CommitError> {
        let mut effects = Vec::new();
        for reading in rows.iter() {
            self.engine.observe(now, class, reading, &mut effects);
        }
        self.finish(effects).await
    }
    pub async fn tick(&mut self, now: Timestamp) -> Result<(), CommitError> {
        let mut effects = Vec::new();
        self.engine.tick(now, &mut effects);
        self.finish(effects).await
    }
    pub async fn operate(
        &mut self,
        now: Timestamp,
        id: &str,
        by: &str,
        operation: &Operation,
    ) -> Result<Result<Alarm, OperateError>, CommitError> {
        let mut effects = Vec::new();
        let outcome = self.engine.operate(now, id, by, operation, &mut effects);
        self.finish(effects).await?;
        Ok(outcome)
    }
    pub fn set_groups(&mut self, device: &str, groups: &[String]) {
        self.engine.set_groups(device, groups);
    }
    pub fn wake_at(&self) -> Option<Timestamp> {
        self.engine.wake_at()
    }
    pub fn alarms(&self) -> Vec<Alarm> {
        self.engine.alarms()
    }
    pub fn rules(&self) -> Vec<RuleState> {
        self.engine.rules()
    }
    pub fn outbox(&self) -> usize {
        0
    }
}
