//! Tests of strongroom against PKCS#11 tokens.
