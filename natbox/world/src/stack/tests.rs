//! Hosts wired back to back.

mod support;
