//! Shadows as the function `shadow` sees them.

use async_trait::async_trait;
use fieldline_model::ShadowId;
use serde_json::Value;
use shadow::{Document, Outcome, PortError, Things};

use super::{Service, now_s};

#[async_trait]
impl Things for Service {
    async fn get(&self, shadow: &ShadowId) -> Result<Option<Document>, PortError> {
        let stored = self.store.shadow(shadow).await?;
        let found = stored.shadow(shadow.thing.as_str()).ok();
        Ok(found.map(|shadow| Document::of(shadow.document(now_s(), None))))
    }

    async fn update(&self, shadow: &ShadowId, request: &Value) -> Result<Outcome, PortError> {
        match Service::update(self, shadow, request.to_string().as_bytes()).await {
            Ok(_told) => Ok(Outcome::Done),
            Err(fieldline_shadow::Error::Conflict) => Ok(Outcome::Conflict),
            Err(fieldline_shadow::Error::TooLarge) => Ok(Outcome::TooLarge),
            Err(error) => Err(error.into()),
        }
    }
}
