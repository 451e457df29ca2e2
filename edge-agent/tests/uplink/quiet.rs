//! What waits goes out also when no device says anything more.

use crate::gateway::Gateway;
use crate::peer::{PUBACK, Peer};
use crate::stand_in::StandIn;

async fn connected(sync: &str) -> (Gateway, Peer) {
    let server = StandIn::listen().await;
    let gateway = Gateway::plain(server.port(), "5", sync).await;
    let mut peer = server.peer().await;
    peer.welcome().await;
    (gateway, peer)
}

/// The store's silence: the block is taken by the server, and never acknowledged by the store.
#[tokio::test]
async fn a_live_block_that_the_store_does_not_acknowledge_comes_again() {
    let (mut gateway, mut peer) = connected("ack_timeout = \"300ms\"").await;
    gateway.reading(&1.into()).await;
    let first = peer.block().await;
    peer.puback(first.id).await;
    let again = peer.block().await;
    assert_eq!(again.range(), first.range());
    peer.puback(again.id).await;
    peer.stored(1, &again).await;
    gateway.stop().await;
}

/// The window is full; the readings that come meanwhile are the last ones.
#[tokio::test]
async fn live_readings_for_which_there_was_no_room_go_when_there_is() {
    let (mut gateway, mut peer) = connected("in_flight_max = 1").await;
    gateway.reading(&1.into()).await;
    let first = peer.block().await;
    peer.puback(first.id).await;
    gateway.reading(&2.into()).await;
    gateway.reading(&3.into()).await;
    peer.stored(1, &first).await;
    peer.expect(PUBACK).await;
    let second = peer.block().await;
    assert_eq!(second.range().first, 2);
    gateway.stop().await;
}
