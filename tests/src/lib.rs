//! Tests that span crates and processes: see `tests/`. Scripts in other languages are in `clients/`.
