//! Permissions: what a handle of a vault may do, and with which keys.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::name::KeyName;
use super::name_pattern::NamePattern;
use crate::error::{Error, Result};

/// One permission on keys, as Azure's access policies name them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Permission {
    /// Read the public part and the properties of a key, deleted ones included.
    Get,
    /// List keys, their versions, and deleted keys.
    List,
    /// Make keys and new versions.
    Create,
    /// Bring key material in.
    Import,
    /// Change the properties of a version.
    Update,
    /// Delete keys.
    Delete,
    /// Bring deleted keys back.
    Recover,
    /// Remove deleted keys for ever.
    Purge,
    /// Seal a key with its versions as a blob.
    Backup,
    /// Bring a key back from a blob.
    Restore,
    /// Encrypt.
    Encrypt,
    /// Decrypt.
    Decrypt,
    /// Sign.
    Sign,
    /// Verify signatures.
    Verify,
    /// Wrap another key.
    WrapKey,
    /// Unwrap another key.
    UnwrapKey,
    /// Rotate a key.
    Rotate,
    /// Release an exportable key.
    Release,
    /// Read a rotation policy.
    GetRotationPolicy,
    /// Set a rotation policy.
    SetRotationPolicy,
    /// Get random bytes.
    Rng,
}

impl Permission {
    /// All permissions.
    pub const ALL: [Self; 21] = [
        Self::Get,
        Self::List,
        Self::Create,
        Self::Import,
        Self::Update,
        Self::Delete,
        Self::Recover,
        Self::Purge,
        Self::Backup,
        Self::Restore,
        Self::Encrypt,
        Self::Decrypt,
        Self::Sign,
        Self::Verify,
        Self::WrapKey,
        Self::UnwrapKey,
        Self::Rotate,
        Self::Release,
        Self::GetRotationPolicy,
        Self::SetRotationPolicy,
        Self::Rng,
    ];

    /// The name in Azure's spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Create => "create",
            Self::Import => "import",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Recover => "recover",
            Self::Purge => "purge",
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::Sign => "sign",
            Self::Verify => "verify",
            Self::WrapKey => "wrapKey",
            Self::UnwrapKey => "unwrapKey",
            Self::Rotate => "rotate",
            Self::Release => "release",
            Self::GetRotationPolicy => "getrotationpolicy",
            Self::SetRotationPolicy => "setrotationpolicy",
            Self::Rng => "rng",
        }
    }

    /// The bit in stored access policies; it never changes.
    const fn bit(self) -> u32 {
        match self {
            Self::Get => 1,
            Self::List => 1 << 1,
            Self::Create => 1 << 2,
            Self::Import => 1 << 3,
            Self::Update => 1 << 4,
            Self::Delete => 1 << 5,
            Self::Recover => 1 << 6,
            Self::Purge => 1 << 7,
            Self::Backup => 1 << 8,
            Self::Restore => 1 << 9,
            Self::Encrypt => 1 << 10,
            Self::Decrypt => 1 << 11,
            Self::Sign => 1 << 12,
            Self::Verify => 1 << 13,
            Self::WrapKey => 1 << 14,
            Self::UnwrapKey => 1 << 15,
            Self::Rotate => 1 << 16,
            Self::Release => 1 << 17,
            Self::GetRotationPolicy => 1 << 18,
            Self::SetRotationPolicy => 1 << 19,
            Self::Rng => 1 << 20,
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Permission {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|permission| permission.as_str() == text)
            .ok_or_else(|| {
                Error::bad_parameter(
                    "this is not the name of a permission; they are those of Azure's access policies, as \
                     get, list, create, sign, wrapKey or getrotationpolicy",
                )
            })
    }
}

impl Serialize for Permission {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Permission {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A set of [`Permission`]s, for all keys or for those whose names fit one of some patterns.
///
/// Serialised as `{"keys": ["get", "sign"], "names": ["billing-*"]}`; without `names` it is for all keys.
///
/// # Examples
///
/// ```
/// use strongroom::{KeyName, Permission, Permissions};
///
/// let permissions = Permissions::from([Permission::Get, Permission::Sign]).for_names(["billing-*".parse()?])?;
/// assert!(permissions.allow(Permission::Sign, &KeyName::from_static("billing-2026")));
/// assert!(!permissions.allow(Permission::Sign, &KeyName::from_static("payroll")));
/// # Ok::<(), strongroom::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Permissions {
    bits: u32,
    /// `None` means every name.
    names: Option<Box<[NamePattern]>>,
}

impl Permissions {
    /// The most patterns of one set.
    pub const MAX_PATTERNS: usize = 64;

    /// No permission.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Every permission, for every key. It is still less than a handle without restriction: what is about
    /// the vault as a whole has no permission.
    #[must_use]
    pub fn all() -> Self {
        Permission::ALL.into_iter().collect()
    }

    /// This set and `permission`.
    #[must_use]
    pub fn with(mut self, permission: Permission) -> Self {
        self.bits |= permission.bit();
        self
    }

    /// The same permissions, only for keys whose names fit one of the patterns. Patterns that were given before
    /// are replaced.
    ///
    /// # Errors
    ///
    /// [`BadParameter`](crate::ErrorKind::BadParameter) for no pattern at all, and for more than
    /// [`Permissions::MAX_PATTERNS`].
    pub fn for_names(mut self, names: impl IntoIterator<Item = NamePattern>) -> Result<Self> {
        let mut patterns = Vec::new();
        for name in names {
            if patterns.len() == Self::MAX_PATTERNS {
                return Err(Error::bad_parameter(format!(
                    "one set of permissions has at most {} name patterns",
                    Self::MAX_PATTERNS
                )));
            }
            patterns.push(name);
        }
        if patterns.is_empty() {
            return Err(Error::bad_parameter(
                "permissions for no name at all permit nothing; use Permissions::none to say so",
            ));
        }
        self.names = Some(patterns.into());
        Ok(self)
    }

    /// Whether the permission is in the set, at least for some names.
    #[must_use]
    pub fn contains(&self, permission: Permission) -> bool {
        self.bits & permission.bit() != 0
    }

    /// Whether the set is for keys of this name.
    #[must_use]
    pub fn cover(&self, name: &KeyName) -> bool {
        self.names
            .as_ref()
            .is_none_or(|names| names.iter().any(|pattern| pattern.matches(name)))
    }

    /// Whether the set allows `permission` on the key of this name.
    #[must_use]
    pub fn allow(&self, permission: Permission, name: &KeyName) -> bool {
        self.contains(permission) && self.cover(name)
    }

    /// The permissions, in the order of [`Permission::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = Permission> + '_ {
        Permission::ALL
            .into_iter()
            .filter(|permission| self.contains(*permission))
    }

    /// The name patterns; `None` means every key.
    #[must_use]
    pub fn names(&self) -> Option<&[NamePattern]> {
        self.names.as_deref()
    }

    pub(crate) const fn to_bits(&self) -> u32 {
        self.bits
    }

    /// `None` when a bit is no permission that this build knows.
    pub(crate) fn from_bits(bits: u32) -> Option<Self> {
        let known = Self::all().bits;
        (bits & !known == 0).then_some(Self { bits, names: None })
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        permissions.into_iter().fold(Self::none(), Self::with)
    }
}

impl<const N: usize> From<[Permission; N]> for Permissions {
    fn from(permissions: [Permission; N]) -> Self {
        permissions.into_iter().collect()
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permissions")
            .field(
                "keys",
                &self.iter().map(Permission::as_str).collect::<Vec<_>>(),
            )
            .field("names", &self.names)
            .finish()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "Permissions", deny_unknown_fields)]
struct Wire {
    keys: Vec<Permission>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    names: Option<Vec<NamePattern>>,
}

impl Serialize for Permissions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let wire = Wire {
            keys: self.iter().collect(),
            names: self.names.as_ref().map(|names| names.to_vec()),
        };
        wire.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Permissions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Wire { keys, names } = Wire::deserialize(deserializer)?;
        let permissions: Self = keys.into_iter().collect();
        match names {
            None => Ok(permissions),
            Some(names) => permissions
                .for_names(names)
                .map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn each_permission_has_its_own_name_and_bit() {
        let mut bits = 0;
        for permission in Permission::ALL {
            assert_eq!(
                permission.as_str().parse::<Permission>().unwrap(),
                permission
            );
            assert_eq!(bits & permission.bit(), 0, "{permission}");
            bits |= permission.bit();
        }
        assert_eq!(bits, Permissions::all().to_bits());
        assert!(Permissions::from_bits(bits).is_some());
        assert!(Permissions::from_bits(1 << 21).is_none());
        for wrong in ["", "Get", "wrapkey", "all", "get "] {
            assert!(wrong.parse::<Permission>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_serialised_form_reads_back_and_bounds_hold() {
        let text = r#"{"keys":["get","wrapKey"],"names":["a*","b"]}"#;
        let permissions: Permissions = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&permissions).unwrap(), text);
        let everywhere: Permissions = serde_json::from_str(r#"{"keys":["get"]}"#).unwrap();
        assert_eq!(everywhere, Permissions::from([Permission::Get]));
        for wrong in [
            r#"{"keys":["get"],"names":[]}"#,
            r#"{"keys":["all"]}"#,
            r#"{"names":["a"]}"#,
            r#"{"keys":[],"other":1}"#,
        ] {
            assert!(
                serde_json::from_str::<Permissions>(wrong).is_err(),
                "{wrong}"
            );
        }
        let many = |count: usize| {
            Permissions::all()
                .for_names((0..count).map(|number| format!("n{number}").parse().unwrap()))
        };
        assert!(many(Permissions::MAX_PATTERNS).is_ok());
        assert!(many(Permissions::MAX_PATTERNS + 1).is_err());
    }
}
