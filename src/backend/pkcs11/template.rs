//! Templates of objects.

use std::ffi::c_void;
use std::fmt;
use std::ptr;

use cryptoki_sys::{CK_ATTRIBUTE, CK_BBOOL, CK_FALSE, CK_TRUE};

use super::mechanism::{Ulong, ulong};
use crate::secret::SecretBytes;

/// Attributes of an object that is looked for, made or changed. Secret values are wiped on drop, and no value
/// is ever printed.
#[derive(Default)]
pub(super) struct Template<'a> {
    entries: Vec<(Ulong, Value<'a>)>,
}

enum Value<'a> {
    Bool(CK_BBOOL),
    Ulong(Ulong),
    Ulongs(Vec<Ulong>),
    Borrowed(&'a [u8]),
    Owned(Vec<u8>),
    Secret(SecretBytes),
}

impl<'a> Template<'a> {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn bool(mut self, attribute: Ulong, value: bool) -> Self {
        let value = if value { CK_TRUE } else { CK_FALSE };
        self.entries.push((attribute, Value::Bool(value)));
        self
    }

    pub(super) fn ulong(mut self, attribute: Ulong, value: Ulong) -> Self {
        self.entries.push((attribute, Value::Ulong(value)));
        self
    }

    /// A list of numbers, as `CKA_ALLOWED_MECHANISMS` is.
    pub(super) fn ulongs(mut self, attribute: Ulong, values: Vec<Ulong>) -> Self {
        self.entries.push((attribute, Value::Ulongs(values)));
        self
    }

    /// Bytes that need no wiping, or are wiped by their owner.
    pub(super) fn bytes(mut self, attribute: Ulong, value: &'a [u8]) -> Self {
        self.entries.push((attribute, Value::Borrowed(value)));
        self
    }

    /// Bytes that need no wiping.
    pub(super) fn owned(mut self, attribute: Ulong, value: Vec<u8>) -> Self {
        self.entries.push((attribute, Value::Owned(value)));
        self
    }

    /// Bytes that are wiped with the template.
    pub(super) fn secret(mut self, attribute: Ulong, value: SecretBytes) -> Self {
        self.entries.push((attribute, Value::Secret(value)));
        self
    }

    /// The structures for C. They point into the template, which must outlive their use.
    pub(super) fn structures(&self) -> Vec<CK_ATTRIBUTE> {
        self.entries
            .iter()
            .map(|(attribute, value)| {
                let (pointer, length) = value.place();
                CK_ATTRIBUTE {
                    type_: *attribute,
                    pValue: pointer.cast_mut(),
                    ulValueLen: ulong(length),
                }
            })
            .collect()
    }
}

impl Value<'_> {
    fn place(&self) -> (*const c_void, usize) {
        fn slice<T>(values: &[T]) -> (*const c_void, usize) {
            if values.is_empty() {
                return (ptr::null(), 0);
            }
            (values.as_ptr().cast(), size_of_val(values))
        }
        match self {
            Self::Bool(value) => slice(std::slice::from_ref(value)),
            Self::Ulong(value) => slice(std::slice::from_ref(value)),
            Self::Ulongs(values) => slice(values),
            Self::Borrowed(bytes) => slice(bytes),
            Self::Owned(bytes) => slice(bytes),
            Self::Secret(bytes) => slice(bytes.expose()),
        }
    }
}

impl fmt::Debug for Template<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(
                self.entries
                    .iter()
                    .map(|(attribute, _)| format_args!("{attribute:#x}").to_string()),
            )
            .finish()
    }
}
