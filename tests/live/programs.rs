//! Real programs as judges: what they say of the emulated NATs.
