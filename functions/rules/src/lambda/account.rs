//! The account that the function runs in.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fieldline_aws::{
    AlarmHistory, AlarmSender, Aws, Deliveries, IotMessages, IotShadows, RuleFiles, RuleTable,
};
use fieldline_lambda::{Environment, SettingError, now};
use fieldline_model::{GatewayId, Timestamp};

use super::{Account, GatewayState, RuleFile};
use crate::aws::{CloudOutlet, DynamoState, Outlets};
use crate::{Outlet, PortError};

/// See the module.
#[derive(Debug)]
pub(super) struct AwsAccount {
    aws: Aws,
    table: String,
    files: RuleFiles,
    outlets: Arc<Outlets>,
}

impl AwsAccount {
    pub(super) async fn from(environment: &Environment) -> Result<Self, SettingError> {
        let endpoint = environment.url("FIELDLINE_IOT_ENDPOINT", "the URL of the IoT data plane")?;
        let table = environment.required("FIELDLINE_RULES_TABLE", "the name of a DynamoDB table")?;
        let bucket = environment.required("FIELDLINE_RULES_BUCKET", "the name of an S3 bucket")?;
        let topic = environment.required("FIELDLINE_RULES_TOPIC_ARN", "the ARN of an SNS topic")?;
        let days: u32 = environment.parsed("FIELDLINE_RULES_HISTORY_DAYS", "a number of days")?;
        let aws = Aws::load().await;
        let kept = Duration::from_secs(u64::from(days) * 86_400);
        let outlets = Arc::new(Outlets {
            deliveries: Deliveries::new(&aws, &table),
            history: AlarmHistory::new(&aws, &table, kept),
            sender: AlarmSender::new(&aws, topic),
            messages: IotMessages::new(&aws, &endpoint),
            shadows: IotShadows::new(&aws, &endpoint),
            clock: now,
        });
        Ok(Self { files: RuleFiles::new(&aws, bucket), aws, table, outlets })
    }
}

#[async_trait]
impl GatewayState for DynamoState {
    async fn is_current(&self) -> Result<bool, PortError> {
        Ok(DynamoState::is_current(self).await?)
    }
}

#[async_trait]
impl Account for AwsAccount {
    fn state(&self, gateway: &GatewayId) -> Arc<dyn GatewayState> {
        Arc::new(DynamoState::new(RuleTable::new(&self.aws, &self.table, gateway.clone())))
    }

    fn outlet(&self, gateway: &GatewayId) -> Arc<dyn Outlet> {
        Arc::new(CloudOutlet::new(Arc::clone(&self.outlets), gateway.clone()))
    }

    async fn due(&self, now: Timestamp) -> Result<Vec<GatewayId>, PortError> {
        Ok(RuleTable::due(&self.aws, &self.table, now).await?)
    }

    async fn files(&self) -> Result<Vec<RuleFile>, PortError> {
        let files = self.files.list().await?;
        Ok(files.into_iter().map(|(name, version)| RuleFile { name, version }).collect())
    }

    async fn text(&self, name: &str) -> Result<String, PortError> {
        Ok(self.files.read(name).await?)
    }

    async fn accepted(&self, name: &str) -> Result<Option<String>, PortError> {
        Ok(self.files.accepted(name).await?)
    }

    async fn accept(&self, name: &str, text: &str) -> Result<(), PortError> {
        Ok(self.files.accept(name, text).await?)
    }
}
