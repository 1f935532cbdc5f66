//! Names that must not be mixed up, and the digests that some of them are made of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256 as Hasher};
use std::fmt::{self, Write};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Names a job: 1 to 128 letters, digits, `.`, `_` and `-`, not beginning with `.` or `-`, so that it is a safe folder name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(!try_from, !into)]
pub struct JobId(#[schemars(regex(pattern = "^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$"))] String);

/// The id is no name for a folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("job id {0:?} is not usable: take 1 to 128 letters, digits, '.', '_' or '-', not beginning with '.' or '-'")]
pub struct InvalidJobId(String);

impl JobId {
    pub fn new(id: impl Into<String>) -> Result<Self, InvalidJobId> {
        let id = id.into();
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if id.is_empty() || id.len() > 128 || id.starts_with(['.', '-']) || !id.chars().all(allowed) {
            return Err(InvalidJobId(id.chars().take(140).collect()));
        }
        Ok(Self(id))
    }

    /// For people the name of a file, the last part of a path or URL, and for machines a digest of all that makes this job
    /// another job.
    pub fn derived(source: &str, digest: &Sha256) -> Self {
        let name = source.rsplit('/').next().unwrap_or_default();
        let stem = Path::new(name).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let readable: String =
            stem.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).take(48).collect();
        let readable = readable.trim_matches('-');
        let separator = if readable.is_empty() { "" } else { "-" };
        Self::new(format!("{readable}{separator}{}", &digest.as_str()[..20]))
            .expect("letters, digits, '_' and '-' only, at most 69 of them, no '-' in front")
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for JobId {
    type Error = InvalidJobId;

    fn try_from(id: String) -> Result<Self, InvalidJobId> {
        Self::new(id)
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> String {
        id.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A SHA-256 digest, 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(!try_from, !into)]
pub struct Sha256(#[schemars(regex(pattern = "^[0-9a-f]{64}$"))] String);

/// Not 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 digest of 64 lower-case hexadecimal digits")]
pub struct InvalidSha256;

impl TryFrom<String> for Sha256 {
    type Error = InvalidSha256;

    fn try_from(hex: String) -> Result<Self, InvalidSha256> {
        let is_hex = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if hex.len() == 64 && is_hex { Ok(Self(hex)) } else { Err(InvalidSha256) }
    }
}

impl From<Sha256> for String {
    fn from(digest: Sha256) -> String {
        digest.0
    }
}

impl Sha256 {
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_digest(&Hasher::digest(bytes))
    }

    /// Reads the whole file.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut hasher = Hasher::new();
        let mut chunk = vec![0; 1 << 16];
        loop {
            let n = file.read(&mut chunk)?;
            if n == 0 {
                return Ok(Self::from_digest(&hasher.finalize()));
            }
            hasher.update(&chunk[..n]);
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn from_digest(digest: &[u8]) -> Self {
        let mut hex = String::with_capacity(2 * digest.len());
        for byte in digest {
            write!(hex, "{byte:02x}").expect("writing to a string cannot fail");
        }
        Self(hex)
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_id_is_a_safe_folder_name() {
        assert!(JobId::new("street-00a1.b_c").is_ok());
        for bad in ["", ".", "..", "../x", "a/b", "-rf", "a b", "a\0b", "é", &"x".repeat(129)] {
            assert!(JobId::new(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_job_id_read_from_json_is_checked_too() {
        assert!(serde_json::from_str::<JobId>("\"../x\"").is_err());
    }

    #[test]
    fn a_digest_read_from_json_is_checked_too() {
        let digest = serde_json::to_string(&Sha256::of(b"")).unwrap();
        assert!(serde_json::from_str::<Sha256>(&digest).is_ok());
        assert!(serde_json::from_str::<Sha256>("\"../../etc\"").is_err());
    }

    #[test]
    fn sha256_is_the_published_test_vector() {
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Sha256::of(b"abc").as_str(), expected);
    }
}
