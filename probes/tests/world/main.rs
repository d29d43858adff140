//! The probes on the simulated network: what they find is what was configured.

mod calls;
mod connecting;
mod discovery;
mod lab;
mod punching;
mod reaching;
mod signalling;
mod stun_over_tcp;
mod techniques;
mod turn_over_tcp;
