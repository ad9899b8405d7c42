//! What a backend can do.

use crate::model::algorithm::CryptoOperation;
use crate::model::spec::KeySpec;

/// How a backend does an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Support {
    /// The backend does all of it.
    Native,
    /// The backend does the private part and the library the rest, as the text says.
    Fallback(&'static str),
    /// Not at all.
    Unsupported,
}

/// What a backend can do, for every kind of key and every operation.
#[derive(Debug, Clone, Default)]
pub struct Capabilities {
    entries: Vec<(KeySpec, CryptoOperation, Support)>,
    generates: Vec<KeySpec>,
    imports: Vec<KeySpec>,
}

impl Capabilities {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what the backend does with keys of one kind.
    #[must_use]
    pub fn with(mut self, spec: KeySpec, operation: CryptoOperation, support: Support) -> Self {
        self.entries.push((spec, operation, support));
        self
    }

    /// Adds a kind of key that the backend generates.
    #[must_use]
    pub fn with_generation(mut self, spec: KeySpec) -> Self {
        self.generates.push(spec);
        self
    }

    /// Adds a kind of key that the backend imports.
    #[must_use]
    pub fn with_import(mut self, spec: KeySpec) -> Self {
        self.imports.push(spec);
        self
    }

    /// Whether the backend makes keys of this kind.
    #[must_use]
    pub fn generates(&self, spec: KeySpec) -> bool {
        self.generates.contains(&spec)
    }

    /// Whether the backend takes in keys of this kind.
    #[must_use]
    pub fn imports(&self, spec: KeySpec) -> bool {
        self.imports.contains(&spec)
    }

    /// How the backend does `operation` with keys of this kind.
    #[must_use]
    pub fn support(&self, spec: KeySpec, operation: CryptoOperation) -> Support {
        self.entries
            .iter()
            .find(|entry| entry.0 == spec && entry.1 == operation)
            .map_or(Support::Unsupported, |entry| entry.2)
    }

    /// Everything that is supported.
    pub fn iter(&self) -> impl Iterator<Item = (KeySpec, CryptoOperation, Support)> {
        self.entries.iter().copied()
    }
}
