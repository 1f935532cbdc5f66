//! The fleets whose pools are sized: one for each way to a Kafka cluster and prefix, however many pools and Secrets have it.
//!
//! Who reaches the same topics with other credentials is another fleet: nobody learns by naming brokers what others may read.

use crate::cluster::in_words;
use crate::conditions::Cause;
use crate::demand::{Follower, Snapshot};
use crate::pool::{Kafka, Role, WorkerPool};
use framefleet_queue::Connection;
use framefleet_queue::connection::BROKERS_VARIABLE as BROKERS;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Follows what waits for all pools.
#[derive(Default)]
#[expect(missing_debug_implementations, reason = "it holds secrets")]
pub struct Fleets {
    /// What the Secrets of pools say, by namespace and what the pool says of Kafka.
    secrets: HashMap<(String, Kafka), Known>,
    fleets: BTreeMap<FleetName, Followed>,
}

/// The variables of the Secret, and the prefix. Holds secrets: not to be printed.
pub type FleetName = (BTreeMap<String, String>, String);

struct Known {
    asked: Instant,
    settings: Result<BTreeMap<String, String>, Cause>,
}

struct Followed {
    queues: BTreeSet<String>,
    follower: Result<Follower, Cause>,
}

/// A Secret that was changed is noticed after so long.
const SECRET_PERIOD: Duration = Duration::from_mins(1);
/// One that is missing is looked for again after so long.
const MISSING_PERIOD: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(4);

impl Fleets {
    /// Follows the fleets of these pools and no others. Gives each pool's fleet, or why it has none.
    pub async fn follow(&mut self, client: &Client, pools: &[Arc<WorkerPool>]) -> Vec<Result<FleetName, Cause>> {
        let mut names = Vec::new();
        let mut wanted: BTreeMap<FleetName, BTreeSet<String>> = BTreeMap::new();
        for pool in pools {
            let found = self.settings_of(client, pool).await;
            names.push(found.map(|variables| {
                let name = (variables, pool.spec.kafka.prefix.clone());
                let queues = wanted.entry(name.clone()).or_default();
                if pool.spec.roles.contains(&Role::Detect) {
                    queues.extend(pool.spec.queues.iter().map(|queue| queue.name.clone()));
                }
                name
            }));
        }
        let used = |(namespace, kafka): &(String, Kafka)| {
            pools.iter().any(|pool| pool.namespace().as_ref() == Some(namespace) && pool.spec.kafka == *kafka)
        };
        self.secrets.retain(|key, _| used(key));
        self.fleets.retain(|name, followed| {
            wanted.get(name).is_some_and(|queues| followed.queues == *queues && followed.follower.is_ok())
        });
        for (name, queues) in wanted {
            self.fleets.entry(name.clone()).or_insert_with(|| Followed::start(&name, queues));
        }
        names
    }

    pub fn names(&self) -> impl Iterator<Item = &FleetName> {
        self.fleets.keys()
    }

    pub fn snapshot(&self, name: &FleetName, now: f64) -> Result<Snapshot, Cause> {
        let missing = || Err(Cause::new("NotFollowed", "the fleet is not followed yet"));
        self.fleets.get(name).map_or_else(missing, |followed| match &followed.follower {
            Ok(follower) => Ok(follower.snapshot(now)),
            Err(cause) => Err(cause.clone()),
        })
    }

    async fn settings_of(&mut self, client: &Client, pool: &WorkerPool) -> Result<BTreeMap<String, String>, Cause> {
        let namespace = pool.namespace().unwrap_or_default();
        let key = (namespace, pool.spec.kafka.clone());
        if let Some(known) = self.secrets.get(&key) {
            let period = if known.settings.is_ok() { SECRET_PERIOD } else { MISSING_PERIOD };
            if known.asked.elapsed() < period {
                return known.settings.clone();
            }
        }
        let read = read_secret(client, &key.0, &key.1.secret_name).await;
        let settings = match (read, self.secrets.remove(&key)) {
            // An API server that is silent for a while says nothing against what it said before.
            (Err((_, true)), Some(Known { settings: Ok(known), .. })) => Ok(known),
            (read, _) => read.map_err(|(cause, _)| cause),
        };
        self.secrets.insert(key, Known { asked: Instant::now(), settings: settings.clone() });
        settings
    }
}

impl Followed {
    fn start((variables, prefix): &FleetName, queues: BTreeSet<String>) -> Self {
        let connection = Connection::of_variables(variables.clone(), prefix)
            .map_err(|error| Cause::new("KafkaSettingsRefused", error.to_string()));
        let follower = connection.and_then(|connection| {
            let failed = |e| Cause::new("NotFollowed", format!("the fleet cannot be followed: {e}"));
            Follower::start(&connection, queues.clone()).map_err(failed)
        });
        Self { queues, follower }
    }
}

/// The variables in a Secret; otherwise why not, and whether that says nothing about the Secret.
async fn read_secret(client: &Client, namespace: &str, name: &str) -> Result<BTreeMap<String, String>, (Cause, bool)> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = match tokio::time::timeout(PATIENCE, secrets.get_opt(name)).await {
        Ok(Ok(Some(secret))) => secret,
        Ok(Ok(None)) => {
            let message = format!("there is no Secret {name} in {namespace}; make it, with the key {BROKERS}");
            return Err((Cause::new("SecretMissing", message), false));
        }
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
            let advice = "a Role must let the scheduler get it, as it does framefleet-kafka";
            let message = format!("the Secret {name} of {namespace} may not be read: {}; {advice}", status.message);
            return Err((Cause::new("SecretForbidden", message), false));
        }
        Ok(Err(error)) => {
            return Err((Cause::new("SecretUnreadable", format!("Secret {name}: {}", in_words(&error))), true));
        }
        Err(_) => return Err((Cause::new("SecretUnreadable", format!("Secret {name}: no answer")), true)),
    };
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).ok();
    let variables: BTreeMap<String, String> = secret
        .data
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(key, value)| Some((key, text(value.0)?.trim().to_owned())))
        .collect();
    if variables.get(BROKERS).is_none_or(String::is_empty) {
        let message = format!("Secret {name} has no key {BROKERS}: HOST:PORT, separated by commas");
        return Err((Cause::new("SecretIncomplete", message), false));
    }
    Ok(variables)
}
