//! CONNECT and CONNACK on the server's side.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tracing::debug;

use crate::broker::Shared;
use crate::cell::TakeUp;
use crate::connection::{Driver, Parts};
use crate::link::Link;
use crate::packet::{Connack, Connect, ConnectFault, decode, encode, frame};
use crate::stream::{Outbox, READ_BYTES, Stream, with_scratch};
use crate::{ClientInfo, ConnectRequest, Identity, Refusal, Version};

/// Reads the CONNECT, asks the application, answers.
///
/// # Errors
/// The connection is not to be served; what there was to say has been said.
pub(super) async fn run(
    shared: &Arc<Shared>,
    mut stream: Stream,
    peer: SocketAddr,
    identity: Option<Arc<Identity>>,
) -> io::Result<Driver> {
    let (connect, rest) = read_connect(shared, &mut stream).await?;
    let mut connect = match connect {
        Ok(connect) => connect,
        Err(fault) => return Err(answer_fault(&mut stream, fault).await),
    };
    let version = connect.version;
    let assigned = connect.client_id.is_empty();
    if assigned {
        connect.client_id = shared.invent_client_id();
    }
    if let Err(code) = admit(shared, &connect, assigned, peer, identity.as_deref()) {
        return Err(refuse(&mut stream, version, code).await);
    }
    let client = ClientInfo {
        client_id: Arc::from(connect.client_id.as_str()),
        username: connect.username.take().map(Arc::from),
        peer,
        identity,
        version,
        connection: shared.number(),
    };
    let allowed =
        |will: &crate::packet::Will| shared.application.authorize_publish(&client, &will.message.topic);
    if !connect.will.as_ref().is_none_or(allowed) {
        return Err(refuse(&mut stream, version, code_of(Refusal::NotAuthorized, version)).await);
    }
    start(shared, stream, connect, assigned, client, rest).await
}

/// Takes up the session and makes the driver, with the CONNACK in its outbox.
async fn start(
    shared: &Arc<Shared>,
    mut stream: Stream,
    mut connect: Connect,
    assigned: bool,
    client: ClientInfo,
    rest: Vec<u8>,
) -> io::Result<Driver> {
    let version = client.version;
    let expiry_s = session_expiry(shared, &connect);
    let link = Link::new(Arc::clone(shared), client);
    let take_up = TakeUp {
        clean_start: connect.clean_start,
        window: usize::from(connect.receive_maximum.min(shared.config.inflight_max)),
        expiry_s,
        will: connect.will.take(),
    };
    let (cell, session_present) = match shared.take_up(&link, take_up) {
        Ok(taken) => taken,
        Err(refusal) => return Err(refuse(&mut stream, version, code_of(refusal, version)).await),
    };
    let keep_alive_s = keep_alive(shared, &connect);
    let connack = Connack {
        code: 0,
        session_present,
        receive_maximum: Some(shared.config.receive_maximum),
        topic_alias_max: Some(shared.config.topic_alias_max).filter(|maximum| *maximum > 0),
        packet_bytes_max: Some(shared.config.packet_bytes_max),
        keep_alive_s: (keep_alive_s != connect.keep_alive_s).then_some(keep_alive_s),
        session_expiry_s: (connect.session_expiry_s.unwrap_or(0) != expiry_s).then_some(expiry_s),
        assigned_client_id: assigned.then(|| connect.client_id.clone()),
        qos_max: None,
        retain_unavailable: false,
    };
    let mut outbox = Outbox::default();
    encode::connack(outbox.buffer(), version, &connack);
    let parts =
        Parts { stream, outbox, unread: rest, keep_alive_s, packet_bytes_max: connect.packet_bytes_max };
    Ok(Driver::new(link, cell, parts))
}

/// Reads until the CONNECT is whole; gives it and the bytes after it.
async fn read_connect(
    shared: &Shared,
    stream: &mut Stream,
) -> io::Result<(Result<Connect, ConnectFault>, Vec<u8>)> {
    let bytes_max = shared.config.packet_bytes_max as usize;
    let mut data = Vec::new();
    loop {
        let read = poll_fn(|context| {
            with_scratch(|scratch| {
                stream.poll_read(context, scratch).map_ok(|count| {
                    data.extend_from_slice(scratch.get(..count).unwrap_or_default());
                    count
                })
            })
        })
        .await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // Whatever is not a CONNECT need not be waited for.
        if data.first() != Some(&0x10) {
            return Ok((Err(ConnectFault::Malformed), Vec::new()));
        }
        match frame(&data, bytes_max) {
            Err(_) => return Ok((Err(ConnectFault::Malformed), Vec::new())),
            Ok(Some(found)) => {
                let (connect, size) = (decode::connect(found), found.size);
                return Ok((connect, data.split_off(size)));
            }
            Ok(None) if data.len() > bytes_max + READ_BYTES => {
                return Ok((Err(ConnectFault::Malformed), Vec::new()));
            }
            Ok(None) => {}
        }
    }
}

/// Whether the client may connect; the code to refuse it with when not.
fn admit(
    shared: &Shared,
    connect: &Connect,
    assigned: bool,
    peer: SocketAddr,
    identity: Option<&Identity>,
) -> Result<(), u8> {
    if connect.authentication_method {
        return Err(0x8c);
    }
    // [MQTT-3.1.3-8]: without an identifier there is nothing to keep a session by.
    if assigned && connect.version == Version::V3_1_1 && !connect.clean_start {
        return Err(code_of(Refusal::IdentifierRejected, connect.version));
    }
    let request = ConnectRequest {
        client_id: &connect.client_id,
        username: connect.username.as_deref(),
        password: connect.password.as_deref(),
        peer,
        identity,
        version: connect.version,
    };
    let answer = shared.application.authenticate(&request);
    answer.map_err(|refusal| code_of(refusal, connect.version))
}

fn code_of(refusal: Refusal, version: Version) -> u8 {
    match version {
        Version::V3_1_1 => refusal.v3_code(),
        Version::V5 => refusal.v5_code(),
    }
}

fn session_expiry(shared: &Shared, connect: &Connect) -> u32 {
    let wish = match connect.version {
        Version::V3_1_1 if connect.clean_start => 0,
        Version::V3_1_1 => u32::MAX,
        Version::V5 => connect.session_expiry_s.unwrap_or(0),
    };
    wish.min(shared.config.session_expiry_s_max)
}

fn keep_alive(shared: &Shared, connect: &Connect) -> u16 {
    let max = shared.config.keep_alive_s_max;
    let wish = connect.keep_alive_s;
    if connect.version == Version::V5 && max > 0 && (wish == 0 || wish > max) { max } else { wish }
}

async fn answer_fault(stream: &mut Stream, fault: ConnectFault) -> io::Error {
    match fault {
        ConnectFault::Malformed => io::Error::new(io::ErrorKind::InvalidData, "no connect packet"),
        ConnectFault::Version => refuse(stream, Version::V3_1_1, 1).await,
        ConnectFault::Identifier => refuse(stream, Version::V3_1_1, 2).await,
    }
}

/// Writes a CONNACK that says no.
async fn refuse(stream: &mut Stream, version: Version, code: u8) -> io::Error {
    let mut outbox = Outbox::default();
    encode::connack(outbox.buffer(), version, &Connack { code, ..Connack::default() });
    let written = poll_fn(|context| outbox.poll_write(stream, context)).await;
    let closed = poll_fn(|context| stream.poll_shutdown(context)).await;
    if let Err(error) = written.and(closed) {
        debug!(%error, "the refusal could not be written");
    }
    io::Error::new(io::ErrorKind::PermissionDenied, format!("refused with code {code:#04x}"))
}
