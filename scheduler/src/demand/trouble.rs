//! Why what is known of a fleet's work cannot be relied on. In this order the first of several counts.

/// Each says what is so, with its numbers, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Trouble {
    /// Settings of librdkafka, addresses or names that cannot be meant.
    #[error("{0}")]
    BadSettings(String),
    #[error("{0}")]
    BrokerUnreachable(String),
    #[error("{0}")]
    TopicsMissing(String),
    /// A group's committed offset lies behind the last message.
    #[error("{0}")]
    OffsetsAhead(String),
    /// It is being read, which takes a moment.
    #[error("{0}")]
    CatchingUp(String),
}

impl Trouble {
    /// For a condition of Kubernetes.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::BadSettings(_) => "BadSettings",
            Self::BrokerUnreachable(_) => "BrokerUnreachable",
            Self::TopicsMissing(_) => "TopicsMissing",
            Self::OffsetsAhead(_) => "OffsetsAhead",
            Self::CatchingUp(_) => "CatchingUp",
        }
    }
}
