//! Names of hosts: the public name, domains, mapped hosts.

use anyhow::{anyhow, ensure};

use crate::config::PublicName;

/// Domains in lower case, without the dots that people put at either end.
pub(super) fn domains(written: Option<Vec<String>>) -> anyhow::Result<Vec<String>> {
    let Some(written) = written else { return Ok(vec!["localhost".to_owned()]) };
    let mut domains = Vec::new();
    for (number, domain) in written.iter().enumerate() {
        let key = format!("domains[{number}]");
        let name = domain.trim_matches('.').to_ascii_lowercase();
        ensure!(
            is_host(&name),
            "{key}: {domain:?} is not a domain; write for example \"example.com\""
        );
        if !domains.contains(&name) {
            domains.push(name);
        }
    }
    Ok(domains)
}

/// A host whose labels may be `ACCOUNT` and `REGION`.
pub(super) fn public_name(written: &str) -> anyhow::Result<PublicName> {
    let (name, port) = split_port(written);
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    let labels = || name.split('.');
    let filled = labels().map(|label| match label {
        "ACCOUNT" => "123456789012",
        "REGION" => "us-east-1",
        _ => label,
    });
    let filled = filled.collect::<Vec<_>>().join(".");
    host("public_name", &format!("{filled}{port}")).map_err(|_| {
        anyhow!(
            "public_name: {written:?} is not a host; write for example \"registry.example.com\", \
             \"registry.example.com:5000\" or \"ACCOUNT.dkr.ecr.REGION.example.com\""
        )
    })?;
    let shown = labels().map(|label| match label {
        "ACCOUNT" | "REGION" => label.to_owned(),
        _ => label.to_ascii_lowercase(),
    });
    Ok(PublicName(format!("{}{port}", shown.collect::<Vec<_>>().join("."))))
}

/// Checks `HOST` or `HOST:PORT` and gives it in lower case.
pub(super) fn host(key: &str, written: &str) -> anyhow::Result<String> {
    let lower = written.to_ascii_lowercase();
    let (name, port) = split_port(&lower);
    let port_is_right =
        port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0) && port.len() <= 5);
    ensure!(
        is_host(name) && port_is_right,
        "{key}: {written:?} is not a host; write for example \"registry.example.com\" or \
         \"registry.example.com:5000\""
    );
    Ok(lower)
}

/// Splits the port off, which an IPv6 address in brackets may have too.
pub(crate) fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    }
}

/// A DNS name, an IPv4 address, or an IPv6 address in brackets.
fn is_host(name: &str) -> bool {
    if let Some(address) = name.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.len() <= 253 && name.split('.').all(label)
}
