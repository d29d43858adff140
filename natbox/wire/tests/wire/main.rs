//! The wire room from outside: known bytes, malformed bytes, and properties against a second implementation.

mod agreement;
mod errors;
mod fragments;
mod generate;
mod known;
mod malformed;
mod properties;
