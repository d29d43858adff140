//! The NAT types of RFC 3489, as a translation of what was found.
//!
//! RFC 3489's algorithm asks for an answer from elsewhere before it looks at the mapping, so that it calls a NAT with
//! address-dependent mapping and no filter a full cone. The translation repeats that mistake faithfully: it says what
//! a classic client would say, and [`Finding`](super::Finding) says beside it what is true.

use natbox_wire::words;

use super::{Filtering, Mapping};

words! {
    /// The NAT types of RFC 3489 section 5.
    pub enum Classic: "RFC 3489 type" {
        Open = "open", "no translation and no filter";
        FullCone = "full-cone", "anybody may send to the external endpoint";
        RestrictedCone = "restricted-cone", "remotes whose address has been sent to";
        PortRestrictedCone = "port-restricted-cone", "remotes whose address and port have been sent to";
        Symmetric = "symmetric", "another external endpoint towards every remote";
        SymmetricUdpFirewall = "symmetric-udp-firewall", "no translation, but a filter";
        Blocked = "blocked", "nothing comes back";
        Unknown = "unknown", "the server could not run the tests";
    }
}

/// What the algorithm of RFC 3489 section 10.1 would call a NAT that maps and filters so.
pub fn classic(mapping: Mapping, filtering: Filtering) -> Classic {
    match (mapping, filtering) {
        (Mapping::Unknown, _) | (_, Filtering::Unknown) => Classic::Unknown,
        (Mapping::None, Filtering::EndpointIndependent | Filtering::Off) => Classic::Open,
        (Mapping::None, _) => Classic::SymmetricUdpFirewall,
        (_, Filtering::EndpointIndependent | Filtering::Off) => Classic::FullCone,
        (Mapping::EndpointIndependent, Filtering::AddressDependent) => Classic::RestrictedCone,
        (Mapping::EndpointIndependent, Filtering::AddressAndPortDependent) => Classic::PortRestrictedCone,
        (Mapping::AddressDependent | Mapping::AddressAndPortDependent, _) => Classic::Symmetric,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_translation_is_rfc_3489s_flow_with_its_misreading() {
        use {Filtering as F, Mapping as M};
        for (mapping, filtering, expected) in [
            (M::None, F::Off, Classic::Open),
            (M::None, F::EndpointIndependent, Classic::Open),
            (M::None, F::AddressAndPortDependent, Classic::SymmetricUdpFirewall),
            (M::EndpointIndependent, F::EndpointIndependent, Classic::FullCone),
            (M::EndpointIndependent, F::AddressDependent, Classic::RestrictedCone),
            (M::EndpointIndependent, F::AddressAndPortDependent, Classic::PortRestrictedCone),
            (M::AddressAndPortDependent, F::AddressAndPortDependent, Classic::Symmetric),
            (M::AddressDependent, F::AddressDependent, Classic::Symmetric),
            (M::AddressAndPortDependent, F::EndpointIndependent, Classic::FullCone),
            (M::Unknown, F::EndpointIndependent, Classic::Unknown),
        ] {
            assert_eq!(classic(mapping, filtering), expected, "{mapping} mapping, {filtering} filtering");
        }
    }
}
