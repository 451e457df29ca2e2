//! From an address to a connection: TCP, TLS, CONNECT, CONNACK.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::{ClientError, ClientOptions, Connection};
use crate::QoS;
use crate::packet::decode::{self, valid_topic};
use crate::packet::{Connack, encode, frame};
use crate::stream::{Outbox, Stream, with_scratch};

pub(super) async fn open(options: &ClientOptions) -> Result<Connection, ClientError> {
    let opening = async {
        let connect = connect_packet(options)?;
        let mut stream = dial(options).await?;
        let mut outbox = Outbox::default();
        outbox.buffer().extend_from_slice(&connect);
        poll_fn(|context| outbox.poll_write(&mut stream, context)).await?;
        let (connack, unread) = read_connack(options, &mut stream).await?;
        if connack.code != 0 {
            return Err(ClientError::ConnectRefused { code: connack.code });
        }
        Ok(connection(options, stream, outbox, connack, unread))
    };
    tokio::time::timeout(options.connect_timeout, opening).await.map_err(|_| ClientError::ConnectTimeout)?
}

fn connect_packet(options: &ClientOptions) -> Result<Vec<u8>, ClientError> {
    if options.will.as_ref().is_some_and(|will| !valid_topic(&will.topic)) {
        return Err(ClientError::Invalid { what: "the will's topic" });
    }
    encode::connect(options)
}

async fn dial(options: &ClientOptions) -> Result<Stream, ClientError> {
    let socket = TcpStream::connect((options.host.as_str(), options.port)).await?;
    socket.set_nodelay(true)?;
    match &options.tls {
        None => Ok(Stream::Plain(socket)),
        Some(tls) => {
            let (connector, name) = tls.connector(&options.host)?;
            Ok(Stream::Client(Box::new(connector.connect(name, socket).await?)))
        }
    }
}

/// Gives the CONNACK and the bytes after it.
async fn read_connack(
    options: &ClientOptions,
    stream: &mut Stream,
) -> Result<(Connack, Vec<u8>), ClientError> {
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
            return Err(ClientError::Closed);
        }
        let protocol = |reason| ClientError::Protocol { reason };
        let bytes_max = options.packet_bytes_max.max(64) as usize;
        if let Some(found) = frame(&data, bytes_max).map_err(protocol)? {
            let connack = decode::connack(found, options.version).map_err(protocol)?;
            let size = found.size;
            return Ok((connack, data.split_off(size)));
        }
    }
}

fn connection(
    options: &ClientOptions,
    stream: Stream,
    outbox: Outbox,
    connack: Connack,
    unread: Vec<u8>,
) -> Connection {
    let keep_alive_s = connack.keep_alive_s.unwrap_or(options.keep_alive_s);
    let keep_alive = (keep_alive_s > 0).then(|| Duration::from_secs(u64::from(keep_alive_s)));
    let now = Instant::now();
    let server_window = connack.receive_maximum.unwrap_or(u16::MAX);
    let window = options.receive_maximum.clamp(1, 60_000).min(server_window);
    let mut connection = Connection {
        stream,
        outbox,
        unread: Vec::new(),
        events: VecDeque::new(),
        version: options.version,
        client_id: connack.assigned_client_id.unwrap_or_else(|| options.client_id.clone()),
        session_present: connack.session_present,
        inflight: VecDeque::new(),
        requests: Vec::new(),
        next_id: 1,
        next_token: 0,
        window: usize::from(window),
        qos_max: if connack.qos_max == Some(0) { QoS::AtMostOnce } else { QoS::AtLeastOnce },
        retain_available: !connack.retain_unavailable,
        packet_bytes_max_out: connack.packet_bytes_max.map_or(usize::MAX, |bytes| bytes as usize),
        packet_bytes_max_in: options.packet_bytes_max.max(64) as usize,
        keep_alive,
        ping_timeout: options.ping_timeout,
        last_heard: now,
        last_sent: now,
        ping_sent: None,
        timer: Box::pin(tokio::time::sleep(keep_alive.unwrap_or(options.ping_timeout))),
        topic: Arc::from(""),
        failure: None,
        over: false,
    };
    connection.take_input(&unread);
    connection
}
