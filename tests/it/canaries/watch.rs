//! What was seen: every text that came out, and the secrets that must not be in any.

use std::any::type_name;
use std::collections::BTreeSet;
use std::fmt::{Debug, Display};
use std::sync::{Mutex, PoisonError};

use crate::rules::secrets::find_marker;

/// A secret by name.
pub(super) type Canary = (&'static str, Vec<u8>);

/// Texts with where they came from.
#[derive(Default)]
pub(super) struct Watch {
    texts: Mutex<BTreeSet<(String, String)>>,
    types: Mutex<BTreeSet<String>>,
}

impl Watch {
    /// A text that came out.
    pub(super) fn text(&self, from: &str, text: impl Into<String>) {
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        texts.insert((from.to_owned(), text.into()));
    }

    /// The two `Debug` forms of a value.
    pub(super) fn value<T: Debug>(&self, value: &T) {
        let full = type_name::<T>();
        self.text(full, format!("{value:?}\n{value:#?}"));
        // The name without path and parameters, and those of what is in an Option or a page.
        let mut types = self.types.lock().unwrap_or_else(PoisonError::into_inner);
        let words = full.split(['<', '>', ',', ' ', '&', '(', ')', '[', ']']);
        types.extend(words.filter_map(|path| path.rsplit("::").next().map(str::to_owned)));
    }

    /// Also what it displays.
    pub(super) fn shown<T: Debug + Display>(&self, value: &T) {
        self.value(value);
        self.text(type_name::<T>(), value.to_string());
    }

    /// An error with everything behind it.
    pub(super) fn error(&self, error: &strongroom::Error) {
        self.shown(error);
        let mut source: Option<&dyn std::error::Error> = std::error::Error::source(error);
        while let Some(cause) = source {
            self.text(
                "a source of an error",
                format!("{cause} {cause:?} {cause:#?}"),
            );
            source = cause.source();
        }
    }

    /// A result of which both sides are looked at.
    pub(super) fn result<T: Debug>(&self, result: strongroom::Result<T>) -> Option<T> {
        match result {
            Ok(value) => {
                self.value(&value);
                Some(value)
            }
            Err(error) => {
                self.error(&error);
                None
            }
        }
    }

    /// What must succeed.
    #[track_caller]
    pub(super) fn given<T: Debug>(&self, result: strongroom::Result<T>) -> T {
        let value = result.unwrap();
        self.value(&value);
        value
    }

    /// One that must be an error.
    #[track_caller]
    pub(super) fn refused<T: Debug>(&self, result: strongroom::Result<T>) {
        match result {
            Ok(value) => panic!("{} was given and must not be", type_name_of(&value)),
            Err(error) => self.error(&error),
        }
    }

    /// Where a canary is found.
    pub(super) fn leaks(&self, canaries: &[Canary]) -> Vec<String> {
        let texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut leaks = Vec::new();
        for (from, text) in texts.iter() {
            for (name, canary) in canaries {
                if let Some(found) = find_marker(text, canary) {
                    leaks.push(format!("{name} as {found} in {from}: {text:.200}"));
                }
            }
        }
        leaks
    }

    pub(super) fn count(&self) -> usize {
        self.texts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    pub(super) fn types(&self) -> BTreeSet<String> {
        self.types
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn type_name_of<T>(_: &T) -> &'static str {
    type_name::<T>()
}
