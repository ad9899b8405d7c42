//! Tests of strongroom through its public API.

mod smoke;
