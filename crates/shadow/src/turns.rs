//! How many requests of a client may be under way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Requests of one client that may be under way, as AWS IoT has it for a connection.
pub const IN_FLIGHT_MAX: usize = 10;

/// How many requests of each client are under way. Cheap to clone; all clones count together.
#[derive(Debug, Clone, Default)]
pub struct Turns(Arc<Mutex<HashMap<String, usize>>>);

/// One of a client's turns, given back when dropped.
#[derive(Debug)]
pub struct Turn {
    turns: Turns,
    client: String,
}

impl Turns {
    /// A turn; none when the client has [`IN_FLIGHT_MAX`] of them: that request is refused with
    /// [`Error::Throttled`](crate::Error::Throttled).
    pub fn take(&self, client: &str) -> Option<Turn> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(client.to_owned()).or_default();
        if *count >= IN_FLIGHT_MAX {
            return None;
        }
        *count += 1;
        Some(Turn { turns: self.clone(), client: client.to_owned() })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut counts = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_ten_turns_and_gets_them_back() {
        let turns = Turns::default();
        let mut taken: Vec<Turn> = (0..IN_FLIGHT_MAX).map(|_| turns.take("a").unwrap()).collect();
        assert!(turns.take("a").is_none());
        assert!(turns.take("b").is_some());
        taken.pop();
        taken.push(turns.take("a").unwrap());
        assert!(turns.take("a").is_none());
        taken.clear();
        assert!(turns.0.lock().unwrap().is_empty());
    }
}
