//! Captures and the record behind them, on notes made by hand.

#![allow(missing_docs, reason = "tests")]

mod comments;
mod follow;
mod foreign;
#[path = "../common/golden.rs"]
mod golden;
mod growing;
mod inspect;
mod malformed;
mod record;
mod reference;
mod replay;
mod round_trip;
mod scene;
#[path = "../common/skipped.rs"]
mod skipped;
mod tshark;
