//! RFC 7857 (updates of the NAT requirements), requirement by requirement.

mod common;

use common::*;
use natbox_nat::Behavior;
use natbox_nat::behavior::*;
use natbox_wire::DropReason;

#[test]
fn sec_07_packets_that_the_filter_refuses_do_not_keep_a_mapping_alive() {
    let behavior = Behavior {
        filtering: Filtering::AddressAndPortDependent.into(),
        refresh: Refresh::Both,
        unsolicited_syn: UnsolicitedSyn::Drop,
        ..Behavior::default()
    };
    let mut nat = Rig::new(behavior);
    let (of_udp, of_tcp) = (nat.send(udp(X1, Y1)), nat.send(tcp(X1, Y1, SYN)));
    for _ in 0..3 {
        nat.wait_seconds(60);
        assert_eq!(nat.receive(udp(Y2, of_udp)), Err(DropReason::Filtered));
        assert_eq!(nat.receive(tcp(Y2, of_tcp, SYN)), Err(DropReason::Filtered));
    }
    nat.wait_seconds(60);
    assert_eq!(nat.nat.mappings().len(), 1, "four minutes for TCP that is being opened");
    nat.wait_seconds(60);
    assert_eq!(nat.nat.mappings(), [], "five for UDP");
}
