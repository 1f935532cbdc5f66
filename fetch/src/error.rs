//! What can be wrong with a source that has a URL. Messages have the URL as anybody may see it.

use crate::address::DeniedAddress;
use framefleet_contract::ErrorCode;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    #[error("{url} is not opened: {denied}; --allow-address allows it")]
    AddressDenied { url: String, denied: DeniedAddress },
    #[error("{url} is not opened: its server redirects {reason}")]
    RedirectDenied { url: String, reason: String },
    #[error("no such file: {url} ({status}); check the URL")]
    NotFound { url: String, status: u16 },
    #[error("{url} cannot be read: {reason}")]
    Refused { url: String, reason: String },
    #[error("{url} is not read: {reason}")]
    BytesLimit { url: String, reason: String },
    #[error("reading {url} failed ({reason}); check its server and the network, and run again")]
    Unreadable { url: String, reason: String },
    #[error(
        "reading {url} has taken too long; check its server and the network and run again, or raise --stall-seconds"
    )]
    TimedOut { url: String },
    #[error(
        "{url} is not the file any more that was planned ({difference}); leave it alone while it is processed, or start a new job"
    )]
    Changed { url: String, difference: String },
    #[error("the certificates of SSL_CERT_FILE cannot be used ({reason}); name a file of certificates in PEM format")]
    Certificates { reason: String },
}

impl FetchError {
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::AddressDenied { .. } => ErrorCode::AddressDenied,
            Self::RedirectDenied { .. } => ErrorCode::RedirectDenied,
            Self::NotFound { .. } => ErrorCode::SourceNotFound,
            Self::Refused { .. } => ErrorCode::SourceRefused,
            Self::BytesLimit { .. } => ErrorCode::BytesLimit,
            Self::Unreadable { .. } => ErrorCode::SourceUnreadable,
            Self::TimedOut { .. } => ErrorCode::ReadTimeout,
            Self::Changed { .. } => ErrorCode::SourceChanged,
            Self::Certificates { .. } => ErrorCode::BadRequest,
        }
    }
}
