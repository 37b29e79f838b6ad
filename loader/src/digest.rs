//! SHA-256, computed by the purgatory's own code: what it will compute at the panic is what is computed at the load.

use crate::purgatory;
use core::fmt;

/// A SHA-256 digest, as eight words in the order of FIPS 180-4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub [u32; 8]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(purgatory::sha256(bytes))
    }
}

/// 64 digits, as sha256sum prints them.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|word| write!(f, "{word:08x}"))
    }
}
