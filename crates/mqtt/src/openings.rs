//! Connections that have yet to say who they are. Anybody can make them by the thousand, so where there is no
//! more room the oldest one of the address that has most gives way to the next.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::link::lock;

/// All such connections of a listener. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Openings(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    by_origin: HashMap<IpAddr, BTreeMap<u64, Arc<Notify>>>,
    count: usize,
    last: u64,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Opening {
    all: Openings,
    origin: IpAddr,
    number: u64,
    gives_way: Arc<Notify>,
}

impl Openings {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A connection from `address` begins.
    pub fn enter(&self, address: IpAddr) -> Opening {
        let origin = origin(address);
        let gives_way = Arc::new(Notify::new());
        let number = {
            let mut held = lock(&self.0);
            held.last += 1;
            held.count += 1;
            let number = held.last;
            held.by_origin.entry(origin).or_default().insert(number, Arc::clone(&gives_way));
            number
        };
        Opening { all: self.clone(), origin, number, gives_way }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        lock(&self.0).count
    }

    /// Tells the oldest one of the address with most of them to give way; it is not counted any more. False
    /// when there is none.
    pub fn make_way(&self) -> bool {
        let mut held = lock(&self.0);
        let fullest = held.by_origin.iter().max_by_key(|(_, openings)| openings.len());
        let oldest = fullest.and_then(|(origin, openings)| Some((*origin, *openings.first_key_value()?.0)));
        let Some((origin, number)) = oldest else { return false };
        held.remove(origin, number).inspect(|gives_way| gives_way.notify_one()).is_some()
    }
}

impl Held {
    fn remove(&mut self, origin: IpAddr, number: u64) -> Option<Arc<Notify>> {
        let openings = self.by_origin.get_mut(&origin)?;
        let removed = openings.remove(&number)?;
        if openings.is_empty() {
            self.by_origin.remove(&origin);
        }
        self.count -= 1;
        Some(removed)
    }
}

impl Opening {
    /// Ready when it has to give way.
    pub async fn told_to_give_way(&self) {
        self.gives_way.notified().await;
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        lock(&self.all.0).remove(self.origin, self.number);
    }
}

/// Whoever has one IPv6 address has the network of 64 bits around it.
fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn has_to_go(opening: &Opening) -> bool {
        tokio::select! {
            biased;
            () = opening.told_to_give_way() => true,
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn the_oldest_of_the_fullest_address_gives_way() {
        let openings = Openings::new();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let good = openings.enter(address("10.0.0.1"));
        // Many addresses of one network, and the same IPv4 address in two ways.
        let many = ["fd00::1", "fd00::2", "fd00::ffff:0:0:3"].map(|text| openings.enter(address(text)));
        let mapped = openings.enter(address("::ffff:10.0.0.1"));
        assert_eq!(openings.count(), 5);
        assert!(openings.make_way() && has_to_go(&many[0]).await && !has_to_go(&many[1]).await);
        assert_eq!(openings.count(), 4);
        drop(many);
        assert_eq!(openings.count(), 2);
        assert!(openings.make_way() && has_to_go(&good).await && !has_to_go(&mapped).await);
        assert!(openings.make_way() && !openings.make_way());
        drop((good, mapped));
        assert_eq!(openings.count(), 0);
    }
}
