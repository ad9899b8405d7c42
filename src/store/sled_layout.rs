//! Laying out a tree before it is filled, so that little of what is written is garbage at once.
//!
//! sled splits a page in halves when it has more than 16 items, however small, and writes both anew; and after ten
//! changes it writes a page anew as well. Records that come in their order thus lie in half-full pages of which each
//! was written about five times, and when sled has cleaned up after that, the log is still twice as long as what is
//! in it. So the keys come first, with empty values, which makes the pages what they will be; these small pages are
//! moved together; then each value is added to its page, which fewer than ten of them fit, and nothing is written
//! twice. Measured with records of 300 to 1,600 bytes: 1.1 to 1.4 times their length, in place of 1.9 to 2.5.

use super::parts::part_key;
use super::sled_engine::SledEngine;
use super::sled_open::SPARE_KEY;
use crate::error::Result;
use crate::format::record::IndexKey;

impl SledEngine {
    /// Makes places for records of so many parts. They come in their order, here and when they are written.
    ///
    /// Errors: `StorageFull`, `ReadOnly`, `Io`.
    pub(super) fn lay_out(&self, records: &[(IndexKey, u8)]) -> Result<()> {
        self.run(|open| {
            for (index, parts) in records {
                for part in 0..*parts {
                    open.tree().insert(part_key(index, part), &[])?;
                }
            }
            open.tree().flush()?;
            Ok(())
        })
    }

    /// Lets sled move the pages together that laying out so many items has left scattered: whenever it writes a page
    /// anew, it moves another one out of a segment that is half empty. The page that is written here is nearly empty.
    ///
    /// Errors: `StorageFull`, `ReadOnly`, `Io`.
    pub(super) fn gather(&self, items: u64) -> Result<()> {
        self.run(|open| {
            let spare = open.spare_tree();
            for number in 0..items.saturating_mul(WRITES_PER_ITEM) {
                spare.insert(SPARE_KEY, &number.to_be_bytes())?;
                if number % FLUSH_INTERVAL == 0 {
                    spare.flush()?;
                }
            }
            spare.remove(SPARE_KEY)?;
            spare.flush()?;
            Ok(())
        })
    }
}

/// Ten writes make a page be written anew, and a page has eight items or more: this is more than enough.
const WRITES_PER_ITEM: u64 = 2;

/// sled's log fills its buffers; nothing has to be durable yet.
const FLUSH_INTERVAL: u64 = 4_096;
