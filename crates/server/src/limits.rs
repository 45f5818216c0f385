//! What callers may use of this machine's memory and sockets.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::Metrics;

/// Bodies up to this many bytes are not counted: 4,096 connections hold 256 MiB of them at the
/// very worst, and the usual request would wait behind large ones for nothing.
pub const UNCOUNTED_BODY: u64 = 64 << 10;

/// What one permit of the budget stands for, so that 32 bits count enough of them.
const UNIT: u64 = 1 << 10;

/// One budget of memory for all request bodies that are held whole.
///
/// Who asks first is served first: a large body is not overtaken by small ones for ever. While
/// a body waits it is not read, so the client's own buffers hold it.
#[derive(Clone)]
pub struct BodyBudget {
    free: Arc<Semaphore>,
    all: u32,
    metrics: Arc<Metrics>,
}

/// Memory that a body may use until this is dropped.
#[derive(Debug)]
pub struct BodyMemory {
    _permit: Option<OwnedSemaphorePermit>,
}

impl BodyBudget {
    /// A budget of `limits.body_memory` bytes.
    pub fn new(bytes: u64, metrics: Arc<Metrics>) -> BodyBudget {
        let all = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX);
        let places = usize::try_from(all).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        BodyBudget { free: Arc::new(Semaphore::new(places)), all, metrics }
    }

    /// Waits until a body of this many bytes may be read into memory. The caller has refused
    /// bodies over its own limit; one over the whole budget takes all of it.
    pub async fn reserve(&self, bytes: u64) -> BodyMemory {
        if bytes <= UNCOUNTED_BODY {
            return BodyMemory { _permit: None };
        }
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.all);
        let free = self.free.clone();
        if let Ok(permit) = free.clone().try_acquire_many_owned(units) {
            return BodyMemory { _permit: Some(permit) };
        }
        let _waiting = Waiting::begin(&self.metrics);
        let permit = free.acquire_many_owned(units).await.expect("the budget is never closed");
        BodyMemory { _permit: Some(permit) }
    }
}

/// Counts one that waits, also when it goes away while it does.
struct Waiting<'a>(&'a Metrics);

impl<'a> Waiting<'a> {
    fn begin(metrics: &'a Metrics) -> Waiting<'a> {
        metrics.bodies_waiting.inc();
        Waiting(metrics)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.bodies_waiting.dec();
    }
}

/// Counts connections, in total and by address.
pub struct Connections {
    total: u32,
    per_address: u32,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    all: u32,
    by_address: HashMap<IpAddr, u32>,
}

/// A connection's place, given back when this is dropped.
pub struct Place {
    connections: Arc<Connections>,
    address: Option<IpAddr>,
}

/// Why a connection gets no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// `limits.connections`
    Full,
    /// `limits.connections_per_address`
    TooManyOfAddress,
}

impl Refused {
    /// The label in metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Refused::Full => "connections",
            Refused::TooManyOfAddress => "connections_per_address",
        }
    }
}

impl Connections {
    pub fn new(total: u32, per_address: u32) -> Connections {
        Connections { total, per_address, open: Mutex::default() }
    }

    /// Gives a connection its place. One from a trusted proxy is not counted by its address,
    /// because it carries everybody's requests.
    pub fn admit(self: &Arc<Self>, address: IpAddr, is_proxy: bool) -> Result<Place, Refused> {
        let address = (!is_proxy).then(|| network(address));
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.all >= self.total {
            return Err(Refused::Full);
        }
        if let Some(address) = address {
            let of_address = open.by_address.entry(address).or_default();
            if *of_address >= self.per_address {
                return Err(Refused::TooManyOfAddress);
            }
            *of_address += 1;
        }
        open.all += 1;
        Ok(Place { connections: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all -= 1;
        let Some(address) = self.address else { return };
        if let Some(of_address) = open.by_address.get_mut(&address) {
            *of_address -= 1;
            if *of_address == 0 {
                open.by_address.remove(&address);
            }
        }
    }
}

/// An IPv6 host has a whole /64 of addresses to come from.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const MIB: u64 = 1 << 20;

    #[tokio::test]
    async fn bodies_are_served_in_their_order() {
        let metrics = Arc::new(Metrics::new());
        let budget = BodyBudget::new(4 * MIB, metrics.clone());
        let first = budget.reserve(3 * MIB).await;
        let mut large = Box::pin(budget.reserve(4 * MIB));
        assert!(large.as_mut().now_or_never().is_none());
        // It would fit beside the first, but the large one came before it.
        let mut small = Box::pin(budget.reserve(MIB));
        assert!(small.as_mut().now_or_never().is_none());
        assert_eq!(metrics.bodies_waiting.get(), 2);
        // What is not counted does not wait.
        assert!(budget.reserve(UNCOUNTED_BODY).now_or_never().is_some());

        drop(first);
        let large = large.await;
        assert!(small.as_mut().now_or_never().is_none());
        drop(large);
        drop(small.await);
        assert_eq!(metrics.bodies_waiting.get(), 0);
    }

    #[tokio::test]
    async fn one_that_goes_away_while_it_waits_takes_nothing() {
        let metrics = Arc::new(Metrics::new());
        let budget = BodyBudget::new(4 * MIB, metrics.clone());
        let first = budget.reserve(4 * MIB).await;
        let mut waiting = Box::pin(budget.reserve(4 * MIB));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(waiting);
        assert_eq!(metrics.bodies_waiting.get(), 0);
        drop(first);
        assert!(budget.reserve(4 * MIB).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_body_over_the_budget_takes_all_of_it() {
        let budget = BodyBudget::new(MIB, Arc::new(Metrics::new()));
        let all = budget.reserve(28 * MIB).now_or_never().unwrap();
        assert!(budget.reserve(65 << 10).now_or_never().is_none());
        drop(all);
        assert!(budget.reserve(65 << 10).now_or_never().is_some());
    }

    #[test]
    fn connections_are_counted() {
        let connections = Arc::new(Connections::new(4, 2));
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let refused = |at: &str, is_proxy| connections.admit(address(at), is_proxy).err();
        let one = connections.admit(address("192.0.2.1"), false);
        let two = connections.admit(address("::ffff:192.0.2.1"), false);
        assert_eq!(refused("192.0.2.1", false), Some(Refused::TooManyOfAddress));
        let three = connections.admit(address("2001:db8::1"), false);
        let four = connections.admit(address("192.0.2.1"), true);
        assert!(four.is_ok());
        assert_eq!(refused("198.51.100.1", false), Some(Refused::Full));
        drop(four);
        let four = connections.admit(address("2001:db8::2"), false);
        assert!(four.is_ok());
        drop(one);
        assert_eq!(refused("2001:db8::3", false), Some(Refused::TooManyOfAddress));
        assert_eq!(refused("192.0.2.1", false), None);
        drop((two, three, four));
        let open = connections.open.lock().unwrap();
        assert_eq!((open.all, open.by_address.len()), (0, 0));
    }
}
