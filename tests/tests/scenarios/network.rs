//! The harness itself: the proxy is as bad as it says, and the publisher gets everything through.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use fieldline_mqtt::{
    Application, Broker, BrokerConfig, ClientInfo, ConnectRequest, Message, Receipt, Refusal, Routing,
};
use fieldline_tests::Proxy;
use fieldline_tests::proxy::{AckToxics, Toxics};
use fieldline_tests::publisher::{publish, runtime};
use fieldline_tests::wait::{PATIENCE, until};

/// Takes everything and remembers it.
#[derive(Debug, Default)]
struct Notebook(Mutex<Vec<Bytes>>);

impl Notebook {
    fn seen(&self) -> Vec<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Application for Notebook {
    fn authenticate(&self, _: &ConnectRequest<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn authorize_publish(&self, _: &ClientInfo, _: &str) -> bool {
        true
    }

    fn authorize_subscribe(&self, _: &ClientInfo, _: &str) -> bool {
        true
    }

    fn publish(&self, _: &ClientInfo, message: Message, receipt: Receipt) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(message.payload);
        receipt.accept(Routing::Consume);
    }
}

/// A broker on a thread of its own, for as long as the test runs.
fn broker() -> Result<(SocketAddr, Arc<Notebook>)> {
    let notebook = Arc::<Notebook>::default();
    let application = Arc::clone(&notebook);
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = runtime()?;
    std::thread::spawn(move || {
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let broker = Broker::new(BrokerConfig::default(), application);
            broker.serve(listener, None, std::future::pending()).await
        })
    });
    Ok((address, notebook))
}

fn numbered(count: u32) -> Vec<(String, Bytes)> {
    (0..count).map(|number| ("a/b".to_owned(), Bytes::from(number.to_string()))).collect()
}

#[test]
fn a_publisher_gets_everything_through_cuts_and_doubled_acknowledgements() -> Result<()> {
    let (address, notebook) = broker()?;
    let proxy = Proxy::start(address, 3)?;
    let acks = AckToxics { lose: 1, double: 20, delay: 10, reorder: 10 };
    proxy.set(Toxics { acks, ..Toxics::default() });
    let messages = numbered(500);
    let (there, load) = (proxy.address(), messages.clone());
    let publisher = std::thread::spawn(move || publish(there, "through", &load));
    for goal in [50, 150, 300] {
        until("messages", PATIENCE, || Ok((notebook.seen().len() >= goal).then_some(())))?;
        proxy.cut();
    }
    proxy.heal();
    publisher.join().map_err(|_| anyhow::anyhow!("the publisher panicked"))??;
    let seen: BTreeSet<Bytes> = notebook.seen().into_iter().collect();
    let sent: BTreeSet<Bytes> = messages.into_iter().map(|(_, payload)| payload).collect();
    ensure!(seen == sent, "{} of {} messages have come through", seen.len(), sent.len());
    Ok(())
}

#[test]
fn a_hole_swallows_and_is_a_cut_when_it_ends() -> Result<()> {
    let (address, notebook) = broker()?;
    let proxy = Proxy::start(address, 4)?;
    let there = proxy.address();
    proxy.set(Toxics { blackhole: true, ..Toxics::default() });
    let publisher = std::thread::spawn(move || publish(there, "hole", &numbered(20)));
    // The connection stands: it is refused nothing, and hears nothing.
    let mut probe = std::net::TcpStream::connect(there).context("a hole accepts connections")?;
    probe.set_read_timeout(Some(Duration::from_millis(100)))?;
    ensure!(std::io::Read::read(&mut probe, &mut [0]).is_err(), "a hole answers");
    ensure!(notebook.seen().is_empty(), "a hole lets something through");
    proxy.heal();
    publisher.join().map_err(|_| anyhow::anyhow!("the publisher panicked"))??;
    ensure!(notebook.seen().len() >= 20, "the messages have not come through");
    Ok(())
}
