//! How Linux shares a processor between natbox and the programs of its hosts: who is woken by a packet goes before who has
//! carried it. Has an effect since Linux 6.12, and none before.

#![allow(unsafe_code, reason = "system calls that no safe interface offers")]

use std::mem::size_of;

use libc::{SCHED_FLAG_RESET_ON_FORK, SCHED_OTHER, SYS_sched_getattr, SYS_sched_setattr, sched_attr, syscall};

/// Longer than the slice of whoever has asked for none, 3 ms at most.
const SLICE_NANOS: u64 = 10_000_000;

/// Asks for a longer slice of time for the calling thread, not for those that it starts. It gets no more of the processor
/// and no less; but whoever has a shorter slice goes first when something wakes it. So the answer to a packet is often
/// there when the write of the packet returns, and need not be waited for. A system that does not know or allow it goes on
/// as before.
pub(crate) fn after_those_who_wake() {
    let Some(mut attributes) = attributes().filter(|is| is.sched_policy == SCHED_OTHER as u32) else { return };
    attributes.size = size_of::<sched_attr>() as u32;
    attributes.sched_flags |= SCHED_FLAG_RESET_ON_FORK as u64;
    attributes.sched_runtime = SLICE_NANOS;
    // SAFETY: the kernel reads what is said to be there, during the call alone.
    unsafe { syscall(SYS_sched_setattr, 0, &raw const attributes, 0) };
}

/// What the calling thread has.
fn attributes() -> Option<sched_attr> {
    // SAFETY: all zeros is a valid `sched_attr`, and the kernel writes no more than its size, during the call alone.
    unsafe {
        let mut attributes: sched_attr = std::mem::zeroed();
        (syscall(SYS_sched_getattr, 0, &raw mut attributes, size_of::<sched_attr>(), 0) == 0).then_some(attributes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_slice_changes_nothing_else_and_is_not_passed_on() {
        let own = || attributes().map(|is| (is.sched_policy, is.sched_nice, is.sched_runtime));
        let asked = std::thread::spawn(move || {
            let before = own();
            after_those_who_wake();
            (before, own(), std::thread::spawn(own).join().expect("a thread"))
        });
        let (before, after, child) = asked.join().expect("a thread");
        assert_eq!(child, before);
        assert_eq!(after.map(|(policy, nice, _)| (policy, nice)), before.map(|(policy, nice, _)| (policy, nice)));
        // A kernel that does not know slices says that there are none.
        let known = before.is_some_and(|(.., nanos)| nanos > 0);
        assert!(!known || after.is_some_and(|(.., nanos)| nanos == SLICE_NANOS), "{before:?}, {after:?}");
    }
}
