//! Connections to addresses that have been checked.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::error::Cause;
use crate::{Outside, is_public};

/// The addresses of one name that are tried at most.
const ADDRESSES_MAX: usize = 8;

/// A name leads to where nobody may be told.
#[derive(Debug, thiserror::Error)]
#[error("{host} leads to an address that is not public: allow_private = true, if that is meant")]
pub(crate) struct Refused {
    host: String,
}

/// Resolves once, checks every address, and connects to one of them: what the name says later does not count.
#[derive(Clone)]
pub(crate) struct Guarded {
    outside: Outside,
    allow_private: bool,
    /// For each address.
    timeout: Duration,
}

impl Guarded {
    pub(crate) fn new(outside: Outside, allow_private: bool, timeout: Duration) -> Self {
        Self { outside, allow_private, timeout }
    }

    async fn connect(self, uri: Uri) -> Result<TokioIo<TcpStream>, Cause> {
        let host = uri.host().ok_or("the URL names no host")?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let addresses = self.outside.resolver.resolve(host, port).await?;
        // One that is private among public ones is no accident either.
        if !self.allow_private && !addresses.iter().copied().all(is_public) {
            return Err(Refused { host: host.to_owned() }.into());
        }
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses.into_iter().take(ADDRESSES_MAX) {
            let connecting = TcpStream::connect(SocketAddr::new(address, port));
            match tokio::time::timeout(self.timeout, connecting).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true)?;
                    return Ok(TokioIo::new(stream));
                }
                Ok(Err(error)) => failure = error,
                Err(_) => failure = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(failure.into())
    }
}

impl Service<Uri> for Guarded {
    type Response = TokioIo<TcpStream>;
    type Error = Cause;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").field("allow_private", &self.allow_private).finish_non_exhaustive()
    }
}
