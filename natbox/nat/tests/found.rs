//! What fuzzing found, a test each. The inputs are seeds of `tests/fuzz/corpus/nat`.

mod common;

use common::*;
use natbox_nat::Behavior;
use natbox_nat::behavior::*;

#[test]
fn the_highest_internal_port_has_no_next_one_to_reserve() {
    let mut behavior = Behavior::default();
    behavior.ports.contiguity = PortContiguity::ReserveNext;
    let mut rig = Rig::new(behavior);
    rig.send(udp("10.0.0.2:65535", Y1));
    assert_eq!(rig.nat.mappings().len(), 1);
}
