//! Shadows while strangers keep the listener busy: a good client stays quick.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use fieldline_mqtt::{ClientOptions, Connection, QoS, Version};
use fieldline_tests::publisher::runtime;
use fieldline_tests::thing::options;
use fieldline_tests::wait::{PATIENCE, until};
use fieldline_tests::{Authority, Site, Thing, machine};
use serde_json::json;

use crate::shadow_refusals::{site, thing};

/// A reply may take so long, whatever strangers do.
const QUICK: Duration = Duration::from_secs(2);
const HALF_OPEN: usize = 1_000;
const STORM: Duration = Duration::from_secs(5);

/// Asks for its shadow again and again until `over`; gives the times that it took, the longest last.
async fn measure(thing: &mut Thing, over: impl Fn() -> bool) -> Result<Vec<Duration>> {
    let mut took = Vec::new();
    while took.len() < 50 || !over() {
        took.push(thing.round_trip().await?);
    }
    took.sort();
    Ok(took)
}

/// Prints and checks what a good client met.
fn judge(what: &str, took: &[Duration]) -> Result<()> {
    let middle = took.get(took.len() / 2).context("no reply")?;
    let longest = took.last().context("no reply")?;
    println!("{what}: {} replies, half within {middle:?}, all within {longest:?}", took.len());
    ensure!(*longest <= QUICK, "{what}: a reply took {longest:?}");
    Ok(())
}

#[test]
fn a_thousand_half_open_connections_hold_nobody_up() -> Result<()> {
    let _machine = machine::alone();
    let (mut site, authority) = (Site::prepare()?, Authority::new()?);
    site.server.secure(&authority)?;
    // Many systems start a program with room for less than this.
    site.server.limit_descriptors(256);
    site.server.start()?;
    let address = site.server.mqtts_address()?;
    runtime()?.block_on(async {
        let mut good = thing(&site, &authority, "press-4").await?;
        judge("before", &measure(&mut good, || true).await?)?;
        let began = Instant::now();
        let mut silent: Vec<TcpStream> =
            (0..HALF_OPEN).map(|_| TcpStream::connect(address)).collect::<Result<_, _>>()?;
        let taken = began.elapsed();
        println!("{HALF_OPEN} connections were taken within {taken:?}");
        // Where the queue of the listener is too short, some wait whole seconds to try again.
        ensure!(taken < Duration::from_secs(1), "1,000 connections were taken only within {taken:?}");
        // Half of them begin a handshake that never goes on: a record of which the rest stays away.
        for stream in silent.iter_mut().step_by(2) {
            stream.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01])?;
        }
        judge("1,000 half-open connections", &measure(&mut good, || true).await?)?;
        let took = Instant::now();
        let mut late = thing(&site, &authority, "press-5").await?;
        judge("a client that comes after them", &measure(&mut late, || true).await?)?;
        println!("it was let in and measured within {:?}", took.elapsed());
        until("an end of the half-open connections", PATIENCE, || {
            Ok(silent.iter().all(ended).then_some(()))
        })?;
        println!("all were closed {:?} after the first", began.elapsed());
        thing(&site, &authority, "press-6").await?.round_trip().await?;
        anyhow::Ok(())
    })?;
    site.finish()
}

/// Whether the other side has closed it.
fn ended(stream: &TcpStream) -> bool {
    let mut byte = [0];
    let looked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut byte));
    looked.map_or_else(|error| error.kind() != std::io::ErrorKind::WouldBlock, |count| count == 0)
}

/// Strangers that fail in the handshake until `over`: two threads of them.
fn storm(stranger: &ClientOptions, over: &Arc<AtomicBool>, failed: &Arc<AtomicU64>) -> Vec<Stranger> {
    let one = |_| {
        let (stranger, over, failed) = (stranger.clone(), Arc::clone(over), Arc::clone(failed));
        std::thread::spawn(move || {
            runtime()?.block_on(async {
                while !over.load(Ordering::Relaxed) {
                    ensure!(Thing::connect(&stranger).await.is_err(), "a stranger was let in");
                    failed.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            })
        })
    };
    (0..2).map(one).collect()
}

type Stranger = std::thread::JoinHandle<Result<()>>;

#[test]
fn failing_handshakes_as_many_as_the_machine_does_hold_nobody_up() -> Result<()> {
    let _machine = machine::alone();
    let (site, authority) = site()?;
    let address = site.server.mqtts_address()?;
    let tls = Authority::new()?.issue(&["press-4"])?.client(&authority);
    let stranger = options(address, &tls, "press-4", Version::V5);
    let (over, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    runtime()?.block_on(async {
        let mut good = thing(&site, &authority, "press-4").await?;
        judge("before", &measure(&mut good, || true).await?)?;
        let began = Instant::now();
        let strangers = storm(&stranger, &over, &failed);
        let arrival = Instant::now();
        let late = thing(&site, &authority, "press-5").await;
        let arrived = arrival.elapsed();
        let took = measure(&mut good, || began.elapsed() > STORM).await;
        over.store(true, Ordering::Relaxed);
        for stranger in strangers {
            stranger.join().ok().context("a stranger panicked")??;
        }
        let count = failed.load(Ordering::Relaxed);
        let rate = count as f64 / began.elapsed().as_secs_f64();
        judge(&format!("{count} failing handshakes, {rate:.0} a second"), &took?)?;
        late?.round_trip().await?;
        println!("a client that came meanwhile was let in within {arrived:?}");
        ensure!(arrived <= QUICK, "a client that came meanwhile was let in only within {arrived:?}");
        ensure!(count > 100, "that was no storm");
        garbage(address, &mut good).await
    })?;
    site.finish()
}

/// A thing with a good certificate that asks without end and waits for nothing, until `over`.
async fn flood(options: &ClientOptions, over: &AtomicBool) -> Result<u64> {
    let mut connection = Connection::open(options).await?;
    let topic = format!("$aws/things/{}/shadow/update", options.client_id);
    let mut count: u64 = 0;
    while !over.load(Ordering::Relaxed) {
        let update = json!({ "state": { "reported": { "count": count } } }).to_string();
        connection.publish(&topic, Bytes::from(update), QoS::AtMostOnce, false)?;
        connection.flush().await?;
        count += 1;
    }
    Ok(count)
}

#[test]
fn a_thing_that_floods_its_own_shadow_holds_no_other_up() -> Result<()> {
    let _machine = machine::alone();
    let (site, authority) = site()?;
    let tls = authority.issue(&["busy"])?.client(&authority);
    let busy = options(site.server.mqtts_address()?, &tls, "busy", Version::V5);
    let over = Arc::new(AtomicBool::new(false));
    runtime()?.block_on(async {
        let mut good = thing(&site, &authority, "press-4").await?;
        judge("before", &measure(&mut good, || true).await?)?;
        let began = Instant::now();
        let stop = Arc::clone(&over);
        let flooding = std::thread::spawn(move || runtime()?.block_on(flood(&busy, &stop)));
        let took = measure(&mut good, || began.elapsed() > STORM).await;
        over.store(true, Ordering::Relaxed);
        let count = flooding.join().ok().context("the flood panicked")??;
        judge(&format!("{count} updates in {STORM:?}"), &took?)
    })?;
    site.finish()
}

/// What is no TLS at all costs the server less, so that more of it comes.
async fn garbage(address: SocketAddr, good: &mut Thing) -> Result<()> {
    let began = Instant::now();
    let sender = std::thread::spawn(move || -> Result<u64> {
        let mut count = 0;
        while began.elapsed() < STORM {
            // The server may have closed it before all is written.
            drop(TcpStream::connect(address)?.write_all(b"GET / HTTP/1.1\r\n\r\n"));
            count += 1;
        }
        Ok(count)
    });
    let took = measure(good, || began.elapsed() > STORM).await?;
    let count = sender.join().ok().context("the sender panicked")??;
    ensure!(
        count >= 1_000 * STORM.as_secs(),
        "{count} failing connections in {STORM:?} are no 1,000 a second"
    );
    judge(&format!("{count} connections without TLS in {STORM:?}"), &took)
}
