//! Whose request it is when proxies stand in between.
//!
//! **Invariant:** `X-Forwarded-For` and `X-Forwarded-Proto` are believed only from a peer that
//! the listener trusts, and of the former only the part that trusted proxies wrote: what stands
//! to the left of the first stranger is the stranger's own invention.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;

use crate::config::Listener;

/// The client's address, and whether it speaks TLS.
pub fn client(
    listener: &Listener,
    peer: SocketAddr,
    has_tls: bool,
    headers: &HeaderMap,
) -> (IpAddr, bool) {
    let peer = peer.ip().to_canonical();
    if !listener.trusts(peer) {
        return (peer, has_tls);
    }
    (address(listener, peer, headers), is_secure(headers).unwrap_or(has_tls))
}

/// Walks from the nearest proxy to the first address that is not one.
fn address(listener: &Listener, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let mut client = peer;
    let lines = headers.get_all("x-forwarded-for").iter();
    for line in lines.rev() {
        // A line that is no text hides who wrote it: nothing before it counts.
        let Ok(line) = line.to_str() else { return client };
        for entry in line.rsplit(',') {
            let Some(address) = parse(entry) else { return client };
            client = address;
            if !listener.trusts(address) {
                return client;
            }
        }
    }
    client
}

/// What the nearest proxy says about the client's protocol, if it says something.
fn is_secure(headers: &HeaderMap) -> Option<bool> {
    let line = headers.get_all("x-forwarded-proto").iter().next_back()?;
    let last = line.to_str().ok()?.rsplit(',').next()?.trim();
    Some(last.eq_ignore_ascii_case("https"))
}

/// An address as proxies write it: bare, in brackets, with or without a port.
fn parse(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let bare = entry.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(entry);
    let address = bare.parse::<IpAddr>().ok();
    let address = address.or_else(|| entry.parse::<SocketAddr>().ok().map(|it| it.ip()));
    address.map(|it| it.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::config::Tls;

    fn check(peer: &str, headers: &[(&'static str, &'static str)], expected: (&str, bool)) {
        let listener = Listener {
            address: SocketAddr::from(([0, 0, 0, 0], 5000)),
            tls: Tls::None,
            insecure_http: false,
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
        };
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .fold(HeaderMap::new(), |mut all, (name, value)| {
                all.append(name, value);
                all
            });
        let found = client(&listener, peer.parse().unwrap(), false, &headers);
        assert_eq!(found, (expected.0.parse().unwrap(), expected.1), "{peer} {headers:?}");
    }

    const FOR: &str = "x-forwarded-for";
    const PROTO: &str = "x-forwarded-proto";

    #[test]
    fn a_stranger_is_not_believed() {
        check("192.0.2.1:9", &[(FOR, "198.51.100.7"), (PROTO, "https")], ("192.0.2.1", false));
        check("192.0.2.1:9", &[("forwarded", "for=198.51.100.7")], ("192.0.2.1", false));
    }

    #[test]
    fn a_trusted_proxy_speaks_for_its_client() {
        check("10.0.0.1:9", &[(FOR, "198.51.100.7"), (PROTO, "https")], ("198.51.100.7", true));
        check("10.0.0.1:9", &[(FOR, "198.51.100.7:4711")], ("198.51.100.7", false));
        check("10.0.0.1:9", &[(FOR, "[2001:db9::5]:4711")], ("2001:db9::5", false));
        check("10.0.0.1:9", &[(FOR, "2001:db9::5")], ("2001:db9::5", false));
        check("[::ffff:10.0.0.1]:9", &[(FOR, "::ffff:198.51.100.7")], ("198.51.100.7", false));
        check("10.0.0.1:9", &[], ("10.0.0.1", false));
        check("10.0.0.1:9", &[("forwarded", "for=198.51.100.7")], ("10.0.0.1", false));
    }

    #[test]
    fn what_a_client_wrote_itself_does_not_count() {
        check("10.0.0.1:9", &[(FOR, "127.0.0.1, 198.51.100.7")], ("198.51.100.7", false));
        check(
            "10.0.0.1:9",
            &[(FOR, "127.0.0.1"), (FOR, "198.51.100.7, 10.1.1.1")],
            ("198.51.100.7", false),
        );
        check("10.0.0.1:9", &[(FOR, "127.0.0.1, garbage, 10.1.1.1")], ("10.1.1.1", false));
        check("10.0.0.1:9", &[(FOR, "10.2.2.2,10.1.1.1")], ("10.2.2.2", false));
        check("10.0.0.1:9", &[(FOR, "")], ("10.0.0.1", false));
        check("10.0.0.1:9", &[(PROTO, "https, http")], ("10.0.0.1", false));
        check("10.0.0.1:9", &[(PROTO, "http"), (PROTO, "HTTPS")], ("10.0.0.1", true));
    }
}
