//! What callers may use of this machine's memory and sockets.

mod bodies;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) use bodies::Pace;
pub use bodies::{BodyBudget, BodyMemory, Owner, UNCOUNTED_BODY};

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
    use super::*;

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
