//! Who of several schedulers acts: the holder of a Lease.
//!
//! The rules are those of Kubernetes' own components: whoever wants the lease watches, by its own clock, whether the holder
//! renews it, and takes it when it was not renewed for its whole duration; every write names the version that it replaces, so
//! that of two takers one fails. The holder counts from *before* it asked for the last renewal, and stops acting
//! [`MARGIN`] before others could take over; what it sends is given up by then. So a slow leader stops before a new one
//! starts. The crates there are compare the clocks of two machines, or write whatever the version.

use crate::cluster::in_words;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Without a renewal for so long, another one takes over.
pub const DURATION: Duration = Duration::from_secs(15);
/// The holder acts no more when so little of it is left.
pub const MARGIN: Duration = Duration::from_secs(5);
/// Between two renewals.
const PERIOD: Duration = Duration::from_secs(3);
/// One renewal may take so long.
const PATIENCE: Duration = Duration::from_secs(4);

/// Until when this program leads. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Leadership {
    until: Arc<Mutex<Option<Instant>>>,
}

impl Leadership {
    /// Time that is left to act in; none where another one leads, or may lead soon.
    pub fn left(&self) -> Option<Duration> {
        let until = (*self.until.lock().unwrap_or_else(PoisonError::into_inner))?;
        until.checked_sub(MARGIN)?.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    pub fn is_held(&self) -> bool {
        self.left().is_some()
    }

    fn set(&self, until: Option<Instant>) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

/// Tries to get and to keep a lease.
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    leadership: Leadership,
    /// The version of the lease that was seen last, and since when it has been that.
    seen: Option<(String, Instant)>,
}

impl Candidate {
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            leadership: Leadership::default(),
            seen: None,
        }
    }

    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// Goes on until it is dropped.
    pub async fn run(mut self) {
        let mut has_led = false;
        loop {
            match tokio::time::timeout(PATIENCE, self.try_once()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!("the lease {}: {}", self.name, in_words(&error)),
                Err(_) => tracing::warn!("the lease {}: no answer for {} s", self.name, PATIENCE.as_secs()),
            }
            let leads = self.leadership.is_held();
            if leads != has_led {
                tracing::info!(identity = self.identity, "{}", if leads { "leads" } else { "leads no more" });
                has_led = leads;
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Gives the lease back, so that another one need not wait for its end.
    pub async fn release(client: Client, namespace: &str, name: &str, identity: &str) -> kube::Result<()> {
        let api: Api<Lease> = Api::namespaced(client, namespace);
        let mut lease = api.get(name).await?;
        if holder(&lease) == Some(identity) {
            let spec = lease.spec.get_or_insert_default();
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
            api.replace(name, &PostParams::default(), &lease).await?;
        }
        Ok(())
    }

    async fn try_once(&mut self) -> kube::Result<()> {
        let begun = Instant::now();
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            return self.make(begun).await;
        };
        let is_mine = holder(&lease) == Some(self.identity.as_str());
        if !is_mine && !self.has_run_out(&lease) {
            self.leadership.set(None);
            return Ok(());
        }
        let now = MicroTime(jiff::Timestamp::now());
        let spec = lease.spec.get_or_insert_default();
        if !is_mine {
            spec.holder_identity = Some(self.identity.clone());
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
        }
        spec.renew_time = Some(now);
        spec.lease_duration_seconds = Some(DURATION.as_secs() as i32);
        match self.api.replace(&self.name, &PostParams::default(), &lease).await {
            Ok(_) => {
                self.leadership.set(Some(begun + DURATION));
                Ok(())
            }
            // Somebody else was faster, and will be seen the next time.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn make(&mut self, begun: Instant) -> kube::Result<()> {
        let now = MicroTime(jiff::Timestamp::now());
        let lease = Lease {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                lease_duration_seconds: Some(DURATION.as_secs() as i32),
                lease_transitions: Some(0),
                ..LeaseSpec::default()
            }),
        };
        match self.api.create(&PostParams::default(), &lease).await {
            Ok(_) => {
                self.leadership.set(Some(begun + DURATION));
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether the holder has not renewed it for its whole duration, as far as was seen here, or has given it back.
    fn has_run_out(&mut self, lease: &Lease) -> bool {
        let spec = lease.spec.as_ref();
        if holder(lease).is_none() {
            return true;
        }
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let duration = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or(0).max(0) as u64;
        match &self.seen {
            Some((seen, since)) if *seen == version => since.elapsed() > Duration::from_secs(duration),
            _ => {
                self.seen = Some((version, Instant::now()));
                false
            }
        }
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Candidate").field("name", &self.name).field("identity", &self.identity).finish_non_exhaustive()
    }
}
