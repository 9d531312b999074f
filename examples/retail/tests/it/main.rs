//! The example as its users run it.

mod figures;
mod processes;
mod whole;
