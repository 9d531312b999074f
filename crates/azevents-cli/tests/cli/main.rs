//! The program itself, against the emulator.

mod dlq;
mod parked;
