//! A target that hangs, one that fails, and one that is well.

use fieldline_model::{DeviceId, Timestamp};
use fieldline_rules::EffectKind;
use tokio::sync::Semaphore;

use super::*;

/// Tells as often as it is let, and fails as often as it is told to.
#[derive(Debug)]
struct Gate {
    open: Semaphore,
    failures: Mutex<Vec<DeliveryError>>,
    told: Mutex<Vec<String>>,
}

impl Gate {
    fn new(permits: usize) -> Arc<Self> {
        let (failures, told) = (Mutex::default(), Mutex::default());
        Arc::new(Self { open: Semaphore::new(permits), failures, told })
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }
}

#[async_trait]
impl Target for Gate {
    async fn tell(&self, effect: &Effect) -> Result<(), DeliveryError> {
        self.open.acquire().await.unwrap().forget();
        if let Some(failure) = self.failures.lock().unwrap().pop() {
            return Err(failure);
        }
        self.told.lock().unwrap().push(effect.id.0.clone());
        Ok(())
    }
}

fn effect(id: &str) -> Effect {
    let device = DeviceId::new("press-4").unwrap();
    let kind = EffectKind::Desired { device: device.clone(), state: serde_json::Map::new() };
    Effect { id: EffectId(id.to_owned()), rule: "hot".to_owned(), device, at: Timestamp::EPOCH, kind }
}

fn couriers(targets: [(&str, &Arc<Gate>); 2]) -> Couriers {
    let target = |(name, gate): (&str, &Arc<Gate>)| (name.to_owned(), Arc::clone(gate) as Arc<dyn Target>);
    Couriers::start(targets.into_iter().map(target).collect(), &Counters::new())
}

/// As the rules do it: offered again until it is no longer under way.
async fn until_told(couriers: &Couriers, target: &str, effect: &Effect) -> Result<(), DeliveryError> {
    loop {
        match couriers.deliver(target, effect).await {
            Err(DeliveryError::Later(_)) => tokio::task::yield_now().await,
            end => return end,
        }
    }
}

#[tokio::test]
async fn a_target_that_hangs_holds_up_nobody_else_and_is_told_once() {
    let (hangs, well) = (Gate::new(0), Gate::new(10));
    let couriers = couriers([("hangs", &hangs), ("well", &well)]);
    let before = tokio::time::Instant::now();
    for _ in 0..100 {
        let offered = couriers.deliver("hangs", &effect("a")).await;
        assert!(matches!(offered, Err(DeliveryError::Later(_))), "{offered:?}");
    }
    assert!(before.elapsed() < 20 * PATIENCE, "it is waited for once only");
    couriers.deliver("well", &effect("b")).await.unwrap();
    hangs.open.add_permits(10);
    until_told(&couriers, "hangs", &effect("a")).await.unwrap();
    assert_eq!((hangs.told(), well.told()), (vec!["a".to_owned()], vec!["b".to_owned()]));
    assert!(matches!(couriers.deliver("nobody", &effect("c")).await, Err(DeliveryError::Never(_))));
}

#[tokio::test]
async fn a_failure_is_tried_again_and_a_refusal_is_not() {
    let (fails, well) = (Gate::new(10), Gate::new(0));
    let couriers = couriers([("fails", &fails), ("well", &well)]);
    fails.failures.lock().unwrap().push(DeliveryError::Later("500".into()));
    until_told(&couriers, "fails", &effect("a")).await.unwrap();
    fails.failures.lock().unwrap().push(DeliveryError::Never("404".into()));
    let refused = until_told(&couriers, "fails", &effect("b")).await;
    assert!(matches!(refused, Err(DeliveryError::Never(_))), "{refused:?}");
    assert_eq!(fails.told(), ["a"]);
}
