//! The frames of a whole vault's backup: each sealed to its place in one stream.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::backup::{Domain, OpenedContainer, SealedContainer, domain_mac_key};
use super::mac::{MAC_LENGTH, MacKey, expand, hash64};
use super::{Suite, hash32, open, seal};
use crate::env::Entropy;
use crate::error::{Error, ErrorKind, Result};
use crate::format::backup::damaged;
use crate::format::vault_stream::{FrameKind, MAX_FRAME_LENGTH};
use crate::secret::Key32;

const FRAME_CONTEXT: &[u8] = b"strongroom/v1/vault-frame\0";

/// Where a stream stands: what its next frame is sealed with.
pub(crate) struct Stream {
    suite: Suite,
    blob_id: [u8; 16],
    frame_key: Key32,
    /// Whether frames end with a MAC of the domain.
    signed: bool,
    /// `None` when they do and the domain is another one.
    domain: Option<MacKey>,
    index: u64,
    chain: [u8; 32],
}

impl Stream {
    /// After a head that was sealed for `domain`.
    pub(crate) fn sealing(
        head: &SealedContainer,
        suite: Suite,
        domain: Option<Domain<'_>>,
    ) -> Result<Self> {
        let mac = domain
            .map(|domain| domain_key(domain, domain.ring.current_epoch))
            .transpose()?;
        Ok(Self::new(
            suite,
            head.blob_id,
            &head.file_key,
            mac.is_some(),
            mac,
            &head.bytes,
        ))
    }

    /// After a head that was opened; `bytes` are the head's.
    pub(crate) fn opening(
        head: &OpenedContainer,
        domain: Domain<'_>,
        bytes: &[u8],
    ) -> Result<Self> {
        let mac = head
            .epoch
            .map(|epoch| domain_key(domain, epoch))
            .transpose()?;
        Ok(Self::new(
            head.suite,
            head.blob_id,
            &head.file_key,
            head.has_domain,
            mac,
            bytes,
        ))
    }

    fn new(
        suite: Suite,
        blob_id: [u8; 16],
        file_key: &Key32,
        signed: bool,
        domain: Option<MacKey>,
        head: &[u8],
    ) -> Self {
        Self {
            suite,
            blob_id,
            frame_key: expand(file_key, &[b"strongroom/v1/vault-frames"]),
            signed,
            domain,
            index: 0,
            chain: hash32(head),
        }
    }

    /// The hash of everything so far.
    pub(crate) fn chain(&self) -> [u8; 32] {
        self.chain
    }

    /// How many frames there were so far.
    pub(crate) fn count(&self) -> u64 {
        self.index
    }

    /// The next frame, without the four bytes of its length.
    ///
    /// Errors: `TooLarge`, `RandomUnavailable`.
    pub(crate) fn seal(
        &mut self,
        kind: FrameKind,
        payload: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>> {
        let place = self.place(kind.byte());
        let sealed = seal(self.suite, &self.frame_key, &[&place], payload, entropy)?;
        let mut frame = vec![kind.byte()];
        frame.extend_from_slice(&sealed);
        if let Some(key) = &self.domain {
            let mac = key.mac(&[&hash64(&[&place[..], &sealed].concat())]);
            frame.extend_from_slice(&mac);
        }
        if frame.len() > MAX_FRAME_LENGTH {
            return Err(Error::new(
                ErrorKind::TooLarge,
                "a key with all its versions does not fit a frame of 48 MiB",
            ));
        }
        self.advance(&frame)?;
        Ok(frame)
    }

    /// Opens the next frame: one from elsewhere in this stream, or from another one, is refused. Where the domain is
    /// the vault's, its MAC is checked before anything is decrypted.
    ///
    /// Errors: `InvalidBackup`, `NewerFormat`.
    pub(crate) fn open(&mut self, frame: &[u8]) -> Result<(FrameKind, Zeroizing<Vec<u8>>)> {
        let (kind, rest) = frame.split_first().ok_or_else(damaged)?;
        let place = self.place(*kind);
        let sealed = if self.signed {
            let (sealed, stored) = rest.split_last_chunk::<MAC_LENGTH>().ok_or_else(damaged)?;
            if let Some(key) = &self.domain {
                let mac = key.mac(&[&hash64(&[&place[..], sealed].concat())]);
                if !bool::from(mac.ct_eq(stored)) {
                    return Err(damaged());
                }
            }
            sealed
        } else {
            rest
        };
        let payload =
            open(self.suite, &self.frame_key, &[&place], sealed).map_err(|_| damaged())?;
        let kind = FrameKind::from_byte(*kind)?;
        self.advance(frame)?;
        Ok((kind, payload))
    }

    /// context ‖ blob id ‖ number of the frame ‖ kind.
    fn place(&self, kind: u8) -> Vec<u8> {
        [
            FRAME_CONTEXT,
            &self.blob_id,
            &self.index.to_be_bytes(),
            &[kind],
        ]
        .concat()
    }

    fn advance(&mut self, frame: &[u8]) -> Result<()> {
        self.chain = hash32(&[self.chain, hash32(frame)].concat());
        self.index = self
            .index
            .checked_add(1)
            .ok_or_else(|| Error::internal("a stream has too many frames"))?;
        Ok(())
    }
}

fn domain_key(domain: Domain<'_>, epoch: u32) -> Result<MacKey> {
    domain
        .ring
        .key(epoch)
        .map(domain_mac_key)
        .ok_or_else(|| Error::internal("the security domain lacks a key that it had"))
}
