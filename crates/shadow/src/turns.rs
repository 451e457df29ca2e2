//! How many requests of a client may be under way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Requests of one client that may be under way, as AWS IoT has it for a connection.
pub const IN_FLIGHT_MAX: usize = 10;
/// Requests of one client beyond those that may wait to be told so. What comes then is refused without a
/// reply, so that whoever asks without end fills no line that others stand in.
const THROTTLED_MAX: usize = 250;

/// How many requests of each client are under way, and how many wait to be told that they are too many.
/// Cheap to clone; all clones count together.
#[derive(Debug, Clone, Default)]
pub struct Turns(Arc<Mutex<HashMap<String, [usize; 2]>>>);

/// One of a client's turns, given back when dropped.
#[derive(Debug)]
pub struct Turn {
    turns: Turns,
    client: String,
    works: bool,
}

impl Turn {
    /// Whether the request is to be done; else it is refused with
    /// [`Error::Throttled`](crate::Error::Throttled).
    pub fn works(&self) -> bool {
        self.works
    }
}

impl Turns {
    /// A turn; none when so many wait to be told no that this one is not even told.
    pub fn take(&self, client: &str) -> Option<Turn> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [work, throttled] = clients.entry(client.to_owned()).or_default();
        let (works, count) = match (*work, *throttled) {
            (..IN_FLIGHT_MAX, _) => (true, work),
            (_, ..THROTTLED_MAX) => (false, throttled),
            _ => return None,
        };
        *count += 1;
        Some(Turn { turns: self.clone(), client: client.to_owned(), works })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut clients = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some([work, throttled]) = clients.get_mut(&self.client) {
            *(if self.works { &mut *work } else { &mut *throttled }) -= 1;
            if *work + *throttled == 0 {
                clients.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_ten_turns_and_some_refusals_and_gets_them_back() {
        let turns = Turns::default();
        let take = |count: usize, works: bool| -> Vec<Turn> {
            let taken: Vec<Turn> = (0..count).map(|_| turns.take("a").unwrap()).collect();
            assert!(taken.iter().all(|turn| turn.works() == works));
            taken
        };
        let mut work = take(IN_FLIGHT_MAX, true);
        let throttled = take(THROTTLED_MAX, false);
        assert!(turns.take("a").is_none());
        assert!(turns.take("b").unwrap().works());
        work.pop();
        work.extend(take(1, true));
        drop(throttled);
        drop(take(1, false));
        work.clear();
        assert!(turns.0.lock().unwrap().is_empty());
    }
}
