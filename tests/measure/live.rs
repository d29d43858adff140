//! On the machine's own network.
