//! Publishes messages that were made beforehand, from several connections at once.

use std::net::SocketAddr;

use anyhow::Result;
use bytes::Bytes;
use fieldline_tests::publisher::{Publisher, Source, runtime};
use tokio::time::Instant;

/// Publishes `messages`, message `i` on connection `i % connections`, and returns when all are
/// acknowledged.
pub(crate) fn publish(
    address: SocketAddr,
    connections: usize,
    window: usize,
    messages: &[(String, Bytes)],
) -> Result<()> {
    runtime()?.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..connections {
            let share: Vec<_> = messages.iter().skip(number).step_by(connections).cloned().collect();
            let mut publisher = Publisher::new(address, &format!("bench-{number}"));
            publisher.window = window;
            tasks.spawn(async move { publisher.run(&mut Share(share)).await });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Ok(())
    })
}

struct Share(Vec<(String, Bytes)>);

impl Source for Share {
    fn due(&mut self, index: u64) -> Option<Instant> {
        (index < self.0.len() as u64).then(Instant::now)
    }

    fn message(&mut self, index: u64) -> (String, Bytes) {
        usize::try_from(index).ok().and_then(|index| self.0.get(index).cloned()).unwrap_or_default()
    }

    fn acknowledged(&mut self, _: u64) {}
}
