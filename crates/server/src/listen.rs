//! Listeners: accepts connections, gives each its place, and ends them all in good order.
//!
//! **Invariant:** no peer can hold more than its share for longer than its time. Connections are
//! counted, in total and by address, and so are requests of HTTP/2; a handshake, a head, a body in and a body out each have a
//! time in which something must happen (`activity`); a head has a size. What waits for us
//! rather than for the peer is never cut off.

mod activity;
mod answer;
mod connection;
mod watched;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::access_log::AccessLog;
use crate::ca;
use crate::config::{Config, Limits, Listener, Tls};
use crate::exchange::Handler;
use crate::limits::Connections;
use crate::metrics::Metrics;
use crate::tls;

/// How long accepting pauses when the process has no file descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// What every connection needs.
pub struct Shared {
    pub handler: Handler,
    pub limits: Limits,
    pub metrics: Arc<Metrics>,
    pub access_log: AccessLog,
}

/// What connections are told about the end of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// Not yet.
    Serve,
    /// Finish what is under way and take no more.
    Drain,
    /// End at once.
    End,
}

/// The sockets of a configuration, open, with their certificates.
pub struct Listening {
    sockets: Vec<Socket>,
    watches: Vec<tls::Watch>,
}

struct Socket {
    listener: TcpListener,
    config: Arc<Listener>,
    tls: Option<tls::Current>,
}

impl Listening {
    /// Opens the sockets; nobody is served yet.
    pub async fn open(config: &Config) -> anyhow::Result<Listening> {
        tls::install_provider();
        let mut all = Listening { sockets: Vec::new(), watches: Vec::new() };
        let mut own: Option<tls::Current> = None;
        for (number, listener) in config.listeners.iter().enumerate() {
            let key = || format!("listeners[{number}]");
            let tls = match (&listener.tls, &own) {
                (Tls::None, _) => None,
                (Tls::SelfSigned, Some(own)) => Some(own.clone()),
                (Tls::SelfSigned, None) => {
                    let source = tls::Source::Own(ca::Own::new(config));
                    let current = all.open_tls(source).with_context(key)?;
                    own = Some(current.clone());
                    Some(current)
                }
                (Tls::Files { certificate, key: private }, _) => {
                    let (certificate, private) = (certificate.clone(), private.clone());
                    let source = tls::Source::Files { certificate, key: private };
                    Some(all.open_tls(source).with_context(key)?)
                }
            };
            let socket = TcpListener::bind(listener.address)
                .await
                .with_context(|| format!("{}: listen on {}", key(), listener.address))?;
            let config = Arc::new(listener.clone());
            all.sockets.push(Socket { listener: socket, config, tls });
        }
        Ok(all)
    }

    fn open_tls(&mut self, source: tls::Source) -> anyhow::Result<tls::Current> {
        let (current, watch) = tls::Current::open(source)?;
        self.watches.push(watch);
        Ok(current)
    }

    /// Where it listens, in the configuration's order, with the ports that the system chose.
    pub fn addresses(&self) -> anyhow::Result<Vec<SocketAddr>> {
        let addresses: std::io::Result<_> =
            self.sockets.iter().map(|socket| socket.listener.local_addr()).collect();
        addresses.context("ask for the address of a listener")
    }

    /// Serves until `stop` is ready, then lets requests under way finish for
    /// `limits.drain_time`, and returns when no connection is left.
    pub async fn serve(self, shared: Arc<Shared>, stop: impl Future<Output = ()>) {
        let limits = &shared.limits;
        let places =
            || Arc::new(Connections::new(limits.connections, limits.connections_per_address));
        let (places, streams) = (places(), places());
        let (told, heard) = watch::channel(Stop::Serve);
        // Every task holds a sender: when all are gone, the last connection has ended.
        let (alive, mut ended) = mpsc::channel::<()>(1);
        let (watch_stop, watch_heard) = watch::channel(false);
        for watch in self.watches {
            tokio::spawn(watch.run(watch_heard.clone()));
        }
        for socket in self.sockets {
            let accept = Accept {
                socket,
                shared: shared.clone(),
                places: places.clone(),
                streams: streams.clone(),
                stop: heard.clone(),
                alive: alive.clone(),
            };
            tokio::spawn(accept.run());
        }
        drop((alive, heard));
        stop.await;
        told.send_replace(Stop::Drain);
        if tokio::time::timeout(limits.drain_time, ended.recv()).await.is_err() {
            tracing::warn!("requests under way are cut off, because they take too long");
            told.send_replace(Stop::End);
            ended.recv().await;
        }
        watch_stop.send_replace(true);
    }
}

/// One accept loop.
struct Accept {
    socket: Socket,
    shared: Arc<Shared>,
    places: Arc<Connections>,
    streams: Arc<Connections>,
    stop: watch::Receiver<Stop>,
    alive: mpsc::Sender<()>,
}

impl Accept {
    async fn run(mut self) {
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.listener.accept() => accepted,
                _ = self.stop.changed() => return,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    let listener = self.socket.config.address;
                    tracing::error!(%listener, %error, "no connection can be accepted");
                    // Ended by the stop, so this is no sleep.
                    let _ = tokio::time::timeout(PAUSE, self.stop.changed()).await;
                }
            }
            if *self.stop.borrow() != Stop::Serve {
                return;
            }
        }
    }

    /// Starts serving a connection if there is a place for it, else closes it.
    fn admit(&self, stream: tokio::net::TcpStream, peer: SocketAddr) {
        let is_proxy = self.socket.config.trusts(peer.ip());
        let place = match self.places.admit(peer.ip(), is_proxy) {
            Ok(place) => place,
            Err(refused) => {
                self.shared.metrics.connection_refused(refused.reason());
                tracing::debug!(%peer, reason = refused.reason(), "a connection is refused");
                return;
            }
        };
        let connection = connection::Accepted {
            stream,
            peer,
            listener: self.socket.config.clone(),
            tls: self.socket.tls.as_ref().map(tls::Current::config),
            shared: self.shared.clone(),
            streams: self.streams.clone(),
            stop: self.stop.clone(),
        };
        let alive = self.alive.clone();
        tokio::spawn(async move {
            connection.serve().await;
            drop((place, alive));
        });
    }
}

/// Errors that concern the connection that was about to be accepted, and no other.
fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
