//! Who goes first on a processor: the network before those who use it, as on a machine where cards and switches have
//! processors of their own. Takes the right to do so (root has it); without it all are equal.
//!
//! A thread begins with the priority of the one that started it. Threads of one session alone are compared where the kernel
//! keeps sessions apart (autogroups).

use std::sync::OnceLock;

use rustix::process::{getpriority_process, setpriority_process};

/// A share of the processor about nine times as large as that of a program.
const AHEAD: i32 = 10;

/// What the first thread that went ahead had before.
static USUAL: OnceLock<i32> = OnceLock::new();

/// The calling thread goes before programs.
pub(crate) fn before_programs() {
    if let Ok(own) = getpriority_process(None) {
        let usual = *USUAL.get_or_init(|| own);
        let _ = setpriority_process(None, usual - AHEAD);
    }
}

/// The calling thread, and whatever it starts, is one of many, whoever has started it.
pub(crate) fn usual() {
    if let Some(usual) = USUAL.get() {
        let _ = setpriority_process(None, *usual);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_ahead_leaves_no_priority_to_what_it_starts() {
        let own = || getpriority_process(None).expect("a priority");
        let before = own();
        before_programs();
        assert!(own() <= before, "never behind");
        let started = std::thread::spawn(move || {
            usual();
            own()
        });
        assert_eq!(started.join().expect("a priority"), before);
        usual();
        assert_eq!(own(), before);
    }
}
