//! Boxes that know no protocol and rewrite whatever looks like the address that they translate (RFC 4787 REQ-10, and the
//! reason of RFC 8489 section 14.2 for XOR-MAPPED-ADDRESS). They rewrite the address alone, never a port.

use std::net::Ipv4Addr;

use super::Edit;
use super::text::{addresses, places};

/// Every four bytes that are the address in network order.
pub(super) fn binary(payload: &[u8], old: Ipv4Addr, new: Ipv4Addr) -> Vec<Edit> {
    let found = places(payload, &old.octets()).into_iter();
    found.map(|at| Edit { at, new: new.octets().to_vec() }).collect()
}

/// Every dotted decimal that is the address.
pub(super) fn text(payload: &[u8], old: Ipv4Addr, new: Ipv4Addr) -> Vec<Edit> {
    addresses(payload, old).into_iter().map(|at| Edit::new(at, new)).collect()
}
