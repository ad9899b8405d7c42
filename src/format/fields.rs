//! Cursors over fixed layouts: big-endian integers and byte arrays, one after the other.

/// Reads fields; `None` at the end of the bytes or where zeros should stand and do not.
#[derive(Clone)]
pub(crate) struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn slice(&mut self, length: usize) -> Option<&'b [u8]> {
        let (field, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(field)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*field)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// `length` zero bytes.
    pub(crate) fn zeros(&mut self, length: usize) -> Option<()> {
        self.slice(length)?
            .iter()
            .all(|byte| *byte == 0)
            .then_some(())
    }

    /// Nothing may follow.
    pub(crate) fn end(&self) -> Option<()> {
        self.rest.is_empty().then_some(())
    }
}

/// Writes fields into a zeroed array of the layout's length; fields that are skipped stay zero.
pub(crate) struct Writer<'b> {
    rest: &'b mut [u8],
}

impl<'b> Writer<'b> {
    pub(crate) fn new(bytes: &'b mut [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn bytes(self, field: &[u8]) -> Self {
        let (place, rest) = self.rest.split_at_mut(field.len());
        place.copy_from_slice(field);
        Self { rest }
    }

    pub(crate) fn u16(self, field: u16) -> Self {
        self.bytes(&field.to_be_bytes())
    }

    pub(crate) fn u32(self, field: u32) -> Self {
        self.bytes(&field.to_be_bytes())
    }

    pub(crate) fn u64(self, field: u64) -> Self {
        self.bytes(&field.to_be_bytes())
    }

    pub(crate) fn zeros(self, length: usize) -> Self {
        Self {
            rest: &mut self.rest[length..],
        }
    }
}
