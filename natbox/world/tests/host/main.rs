//! Programs on virtual hosts: the `Host` traits as the world keeps them.

mod datagrams;
mod streams;
mod support;
