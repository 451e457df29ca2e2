//! `GET /api/v1/ledger`.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Shared};
use fieldline_model::{GatewayId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::account::{Account, account};
use crate::{Problem, State};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Params {
    gateway: Option<String>,
}

/// The accounts of all gateways, or of one.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    as_of: Timestamp,
    gateways: Vec<Account>,
}

pub(crate) async fn ledger(
    Shared(state): Shared<State>,
    params: Result<Query<Params>, QueryRejection>,
) -> Result<Json<Answer>, Problem> {
    let Query(params) = params.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let gateway = match params.gateway {
        None => None,
        Some(text) => Some(
            GatewayId::new(&text)
                .map_err(|error| Problem::bad_request(format!("gateway={text}: {error}")))?,
        ),
    };
    let ledgers = state.ledger.ledger(gateway.as_ref()).await.map_err(|error| Problem::store(&error))?;
    let gateways =
        ledgers.iter().map(|ledger| account(ledger, state.own.as_ref() == Some(&ledger.gateway))).collect();
    Ok(Json(Answer { as_of: (state.clock)(), gateways }))
}
