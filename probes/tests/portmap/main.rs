//! Port control on the simulated network: the rows of parts B.10 (NAT-PMP), B.11 (PCP) and B.12 (UPnP-IGD) of the ledger, each by
//! its id, and hosts that keep their mappings.

mod clients;
mod natpmp;
mod pcp;
mod support;
mod upnp;
