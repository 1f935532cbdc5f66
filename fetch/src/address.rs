//! Which addresses a source may be read from: public ones, and those that are allowed beside them.
//!
//! Others lead to what a host trusts its neighbours with: the metadata service of a cloud, a database without a password.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// What is allowed beside public addresses.
#[derive(Debug, Clone, Default)]
pub struct AddressRules {
    allowed: Vec<Network>,
}

/// A range of addresses, such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why an address is not connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {what}")]
pub struct DeniedAddress {
    pub address: IpAddr,
    pub what: &'static str,
}

/// Not an address with the length of a prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("take an address or a range such as 10.0.0.0/8 or fd00::/8, without bits beyond its prefix")]
pub struct InvalidNetwork;

/// From the special-purpose registry for IPv4 (RFC 6890), multicast (RFC 5771) and what is reserved (RFC 1112).
const DENIED_V4: &[(Ipv4Addr, u8, &str)] = &[
    (Ipv4Addr::UNSPECIFIED, 8, "this host"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "a private address"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "an address of a carrier's NAT"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "a loopback address"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "a link-local address"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "a private address"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "an address of protocols"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "an address of documentation"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "an address of 6to4 relays"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "a private address"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "an address of benchmarks"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "an address of documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "an address of documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "a multicast address"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "a reserved address"),
];

/// All that is public lies in here (RFC 4291, 2.4).
const GLOBAL_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
/// Of that, what is not.
const DENIED_V6: &[(Ipv6Addr, u8, &str)] = &[
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "an address of protocols, such as Teredo"),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "an address of documentation"),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, "an address of documentation"),
];
/// For a better word than "no public address".
const KNOWN_V6: &[(Ipv6Addr, u8, &str)] = &[
    (Ipv6Addr::LOCALHOST, 128, "the loopback address"),
    (Ipv6Addr::UNSPECIFIED, 128, "this host"),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, "a unique-local address"),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, "a link-local address"),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, "a site-local address"),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, "a multicast address"),
];

impl AddressRules {
    pub fn new(allowed: Vec<Network>) -> Self {
        Self { allowed }
    }

    /// An IPv6 address that stands for an IPv4 address is what that is.
    pub(crate) fn check(&self, address: IpAddr) -> Result<(), DeniedAddress> {
        if self.allowed.iter().any(|network| network.contains(address)) {
            return Ok(());
        }
        let denied = match address {
            IpAddr::V4(v4) => denied_v4(v4),
            IpAddr::V6(v6) => match v4_inside(v6) {
                Some(v4) => return self.check(v4.into()).map_err(|denied| DeniedAddress { address, ..denied }),
                None => denied_v6(v6),
            },
        };
        denied.map_or(Ok(()), |what| Err(DeniedAddress { address, what }))
    }
}

fn denied_v4(address: Ipv4Addr) -> Option<&'static str> {
    let inside = |(network, prefix, _): &&(Ipv4Addr, u8, &str)| has_prefix(address.into(), (*network).into(), *prefix);
    DENIED_V4.iter().find(inside).map(|(.., what)| *what)
}

fn denied_v6(address: Ipv6Addr) -> Option<&'static str> {
    let inside = |(network, prefix, _): &&(Ipv6Addr, u8, &str)| has_prefix(address.into(), (*network).into(), *prefix);
    let is_global = has_prefix(address.into(), GLOBAL_V6.0.into(), GLOBAL_V6.1);
    let (table, otherwise) = if is_global { (DENIED_V6, None) } else { (KNOWN_V6, Some("no public address")) };
    table.iter().find(inside).map(|(.., what)| *what).or(otherwise)
}

/// Of an address that is mapped (RFC 4291, 2.5.5.2), translated by NAT64 (RFC 6052, 2.1), or of 6to4 (RFC 3056, 2).
fn v4_inside(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let from = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            from(high, low)
        }
        _ => None,
    }
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        has_prefix(address, self.address, self.prefix)
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| InvalidNetwork)?;
        let bits = bits_of(address).1;
        let prefix = prefix.map_or(Ok(bits), str::parse).map_err(|_| InvalidNetwork)?;
        let rest = u32::from(bits.checked_sub(prefix).ok_or(InvalidNetwork)?);
        let beyond = 1_u128.checked_shl(rest).map_or(u128::MAX, |bit| bit - 1);
        if bits_of(address).0 & beyond == 0 { Ok(Self { address, prefix }) } else { Err(InvalidNetwork) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

fn has_prefix(address: IpAddr, network: IpAddr, prefix: u8) -> bool {
    let ((address, bits), (network, network_bits)) = (bits_of(address), bits_of(network));
    let rest = u32::from(bits.saturating_sub(prefix));
    let differing = address ^ network;
    bits == network_bits && differing.checked_shr(rest).unwrap_or(0) == 0
}

/// With how many there are.
fn bits_of(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: &[&str] = &[
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "93.184.216.34",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "191.255.255.255",
        "192.0.1.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2001:4860:4860::8888",
        "2001:200::1",
        "2a00:1450::1",
        "3ffe::1",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2002:808:808::1",
    ];

    const DENIED: &[&str] = &[
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "169.254.0.1",
        "172.16.0.0",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "192.168.255.255",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.9",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:10.1.2.3",
        "::ffff:0:127.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::808:808",
        "100::1",
        "2001::1",
        "2001:10::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "2002:a9fe:a9fe::1",
        "2002:c0a8:101::",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
        "4000::1",
    ];

    #[test]
    fn public_addresses_are_connected_to_and_no_others() {
        let rules = AddressRules::default();
        for address in PUBLIC {
            assert_eq!(rules.check(address.parse().unwrap()), Ok(()), "{address}");
        }
        for address in DENIED {
            assert!(rules.check(address.parse().unwrap()).is_err(), "{address}");
        }
    }

    #[test]
    fn what_is_allowed_is_allowed_however_it_is_written() {
        let rules = AddressRules::new(vec!["127.0.0.0/8".parse().unwrap(), "fd00:1::/32".parse().unwrap()]);
        for allowed in ["127.0.0.1", "127.9.9.9", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1", "fd00:1:2::3", "1.1.1.1"] {
            assert_eq!(rules.check(allowed.parse().unwrap()), Ok(()), "{allowed}");
        }
        for denied in ["::1", "fd00:2::1", "10.0.0.1", "::ffff:10.0.0.1"] {
            assert!(rules.check(denied.parse().unwrap()).is_err(), "{denied}");
        }
        let all = AddressRules::new(vec!["0.0.0.0/0".parse().unwrap()]);
        assert!(all.check("169.254.169.254".parse().unwrap()).is_ok() && all.check("::1".parse().unwrap()).is_err());
    }

    #[test]
    fn a_range_is_an_address_and_the_length_of_its_prefix() {
        for text in ["10.0.0.0/8", "10.1.2.3/32", "::/0", "fd00::/8", "0.0.0.0/0"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
        assert_eq!("10.1.2.3".parse::<Network>().unwrap().to_string(), "10.1.2.3/32");
        for text in ["", "10.0.0.0/33", "10.0.0.1/8", "::1/127", "10.0.0.0/", "10.0.0.0/-1", "host/8", "10.0/8"] {
            assert_eq!(text.parse::<Network>(), Err(InvalidNetwork), "{text}");
        }
    }
}
