//! Pages of listings.

use std::fmt;
use std::str::FromStr;

use super::hex;
use crate::error::{Error, Result};

/// One page of a listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next: Option<ContinuationToken>,
}

impl<T> Page<T> {
    /// The items. A page may be short, and even empty, although more follow.
    #[must_use]
    pub fn items(&self) -> &[T] {
        &self.items
    }

    /// The items, by value.
    #[must_use]
    pub fn into_items(self) -> Vec<T> {
        self.items
    }

    /// Where the next page begins; `None` at the end.
    #[must_use]
    pub fn continuation(&self) -> Option<&ContinuationToken> {
        self.next.as_ref()
    }
}

/// Where a listing goes on; opaque, printable, and valid as long as the vault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContinuationToken {
    pub(crate) after: [u8; 16],
}

impl ContinuationToken {
    pub(crate) fn after(after: [u8; 16]) -> Self {
        Self { after }
    }
}

impl fmt::Display for ContinuationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.after
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for ContinuationToken {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        hex::parse(text)
            .map(Self::after)
            .ok_or_else(|| Error::bad_parameter("this is not a continuation token of a listing"))
    }
}

/// The number of items on one page of a listing: 1 to 25.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageSize {
    items: u8,
}

impl PageSize {
    /// 25, the largest and the default.
    pub const MAX: Self = Self { items: 25 };

    /// # Errors
    ///
    /// [`BadParameter`](crate::ErrorKind::BadParameter) outside 1..=25.
    pub fn new(items: u8) -> Result<Self> {
        if (1..=25).contains(&items) {
            Ok(Self { items })
        } else {
            Err(Error::bad_parameter(format!(
                "a page has 1 to 25 items, not {items}"
            )))
        }
    }

    /// How many items.
    #[must_use]
    pub const fn items(self) -> usize {
        self.items as usize
    }
}

impl Default for PageSize {
    fn default() -> Self {
        Self::MAX
    }
}
