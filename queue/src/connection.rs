//! How the broker is reached: addresses, the topics' prefix, and settings that are passed on to librdkafka.

use crate::error::QueueError;
use crate::topics::Topics;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The way to a cluster. Cheap to clone. What it prints never holds a secret.
#[derive(Clone)]
pub struct Connection {
    brokers: String,
    topics: Topics,
    settings: BTreeMap<String, String>,
}

/// What an environment variable of a setting begins with: `FRAMEFLEET_KAFKA_SASL_PASSWORD` is `sasl.password`.
pub const SETTING_VARIABLES: &str = "FRAMEFLEET_KAFKA_";

/// The addresses of the brokers.
pub const BROKERS_VARIABLE: &str = "FRAMEFLEET_BROKERS";

/// On these rests that nothing is lost, so nobody else sets them.
const OURS: [&str; 10] = [
    "bootstrap.servers",
    "group.id",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "partition.assignment.strategy",
    "group.protocol",
    "auto.offset.reset",
    "enable.idempotence",
    "acks",
    "statistics.interval.ms",
];

/// By these a setting would bring foreign code into this process.
const LOADING: [&str; 3] = ["plugin.library.paths", "ssl.engine.location", "ssl.engine.id"];

/// Settings that are run as a command, or load modules, whatever their names end with.
const RUNNING: [&str; 2] = ["sasl.kerberos.kinit.cmd", "ssl.providers"];
/// What the names of settings end with that name a file.
const NAMING_FILES: [&str; 4] = [".location", ".file", ".keytab", ".path"];

/// How long a question to the broker may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What a broker says while a topic is made, a leader is elected or a group looked for.
const PASSING: [RDKafkaErrorCode; 6] = [
    RDKafkaErrorCode::NotLeaderForPartition,
    RDKafkaErrorCode::LeaderNotAvailable,
    RDKafkaErrorCode::CoordinatorLoadInProgress,
    RDKafkaErrorCode::CoordinatorNotAvailable,
    RDKafkaErrorCode::NotCoordinator,
    RDKafkaErrorCode::UnknownPartition,
];

impl Connection {
    /// `brokers` are `host:port`, separated by commas. Settings are librdkafka's; those that are ours are refused.
    pub fn new(brokers: &str, prefix: &str, settings: BTreeMap<String, String>) -> Result<Self, QueueError> {
        if brokers.trim().is_empty() {
            return Err(QueueError::BadRequest("--brokers is empty; give host:port".to_owned()));
        }
        if brokers.contains("://") {
            return Err(QueueError::BadRequest(format!(
                "--brokers is {brokers:?}; give host:port, and no scheme before it"
            )));
        }
        if let Some(name) = settings.keys().find(|name| OURS.contains(&name.as_str())) {
            let reason = format!("the Kafka setting {name} is not for you to change: nothing is lost because of it");
            return Err(QueueError::BadRequest(reason));
        }
        if let Some(name) = settings.keys().find(|name| LOADING.contains(&name.as_str())) {
            let reason = format!("the Kafka setting {name} is refused: it would load foreign code into this process");
            return Err(QueueError::BadRequest(reason));
        }
        Ok(Self { brokers: brokers.trim().to_owned(), topics: Topics::new(prefix)?, settings })
    }

    /// The way that somebody else describes, by the variables that his workers have: `FRAMEFLEET_BROKERS`, and
    /// [`SETTING_VARIABLES`] with a setting. All others are passed over.
    ///
    /// # Errors
    /// Also a setting that would have this process read a file of its own or run a program for him.
    pub fn of_variables(
        variables: impl IntoIterator<Item = (String, String)>,
        prefix: &str,
    ) -> Result<Self, QueueError> {
        let variables: BTreeMap<String, String> = variables.into_iter().collect();
        let brokers = variables.get(BROKERS_VARIABLE).map(String::as_str).unwrap_or_default();
        if brokers.trim().is_empty() {
            return Err(QueueError::BadRequest(format!("{BROKERS_VARIABLE} is missing; give host:port")));
        }
        let settings = settings(None, variables.clone().into_iter(), &[])?;
        let is_foreign = |name: &str| RUNNING.contains(&name) || NAMING_FILES.iter().any(|end| name.ends_with(end));
        if let Some(name) = settings.keys().find(|name| is_foreign(name)) {
            return Err(QueueError::BadRequest(format!(
                "the Kafka setting {name} is refused: it names a file or a command of the machine that reads it; give \
                 certificates and keys as text, in ssl.ca.pem, ssl.certificate.pem and ssl.key.pem"
            )));
        }
        Self::new(brokers, prefix, settings)
    }

    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// What is common to all clients.
    pub(crate) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in &self.settings {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.brokers);
        config.set("allow.auto.create.topics", "false");
        // A broker that comes back is wanted soon: librdkafka's own would be 10 s.
        config.set("reconnect.backoff.max.ms", "2000");
        // By them it shows whether a client knows any broker.
        config.set("statistics.interval.ms", "3000");
        let is_debugged = self.settings.contains_key("debug");
        config.set_log_level(if is_debugged { RDKafkaLogLevel::Debug } else { RDKafkaLogLevel::Warning });
        config
    }

    /// Asks the broker, again where it says that it is just changing something.
    pub(crate) fn ask<T>(&self, mut question: impl FnMut() -> Result<T, KafkaError>) -> Result<T, QueueError> {
        let begin = Instant::now();
        loop {
            let error = match question() {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let passes = error.rdkafka_error_code().is_some_and(|code| PASSING.contains(&code));
            if !passes || begin.elapsed() > PATIENCE {
                return Err(QueueError::of(&self.brokers, &error));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// librdkafka refuses a setting that it does not know, or a file that is not there, when a client is made.
    pub(crate) fn refused(&self, error: &KafkaError) -> QueueError {
        // It repeats what it was given, and that may be a secret whose name is misspelt.
        let said = match error {
            KafkaError::ClientConfig(_, said, name, value) if !value.is_empty() => {
                format!("{} ({name})", said.replace(value, "***"))
            }
            other => other.to_string(),
        };
        let said = self.secrets().fold(said, |said, secret| said.replace(secret, "***"));
        QueueError::BadRequest(format!(
            "Kafka's settings are refused: {said}; check --kafka, or FRAMEFLEET_KAFKA_... in the environment or a pool's Secret"
        ))
    }

    fn secrets(&self) -> impl Iterator<Item = &str> {
        let secret = self.settings.iter().filter(|(name, value)| is_secret(name) && !value.is_empty());
        secret.map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings: BTreeMap<&str, &str> = self
            .settings
            .iter()
            .map(|(name, value)| (name.as_str(), if is_secret(name) { "***" } else { value.as_str() }))
            .collect();
        f.debug_struct("Connection")
            .field("brokers", &self.brokers)
            .field("prefix", &self.topics.prefix())
            .field("settings", &settings)
            .finish()
    }
}

/// Whether a setting of librdkafka holds something that must not be seen.
pub fn is_secret(name: &str) -> bool {
    let secret = ["password", "secret", "oauthbearer.config", "ssl.key.pem", "sasl.jaas", "token"];
    let name = name.to_ascii_lowercase();
    secret.iter().any(|part| name.contains(part))
}

/// Reads settings from what a user gave, the later ones over the earlier ones: `NAME=VALUE` lines of a file, variables
/// such as `FRAMEFLEET_KAFKA_SASL_PASSWORD`, and `NAME=VALUE` or `NAME=@FILE` of the command line.
///
/// # Errors
/// A file that cannot be read, a line without `=`, or a secret on the command line, where every other process can see it.
pub fn settings(
    file: Option<&Path>,
    variables: impl Iterator<Item = (String, String)>,
    given: &[String],
) -> Result<BTreeMap<String, String>, QueueError> {
    let mut settings = BTreeMap::new();
    if let Some(file) = file {
        let text = read(file)?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '!']));
        for line in lines {
            let (name, value) = line.split_once('=').ok_or_else(|| {
                QueueError::BadRequest(format!("{}: a line without '='; write NAME=VALUE", file.display()))
            })?;
            settings.insert(name.trim().to_owned(), value.trim().to_owned());
        }
    }
    for (variable, value) in variables {
        // Kubernetes has its own about a Service that is called so.
        let is_setting = |name: &&str| !name.is_empty() && !name.starts_with("SERVICE_") && !name.starts_with("PORT");
        if let Some(name) = variable.strip_prefix(SETTING_VARIABLES).filter(is_setting) {
            settings.insert(name.to_ascii_lowercase().replace('_', "."), value);
        }
    }
    for setting in given {
        let (name, value) = setting.split_once('=').ok_or_else(|| {
            QueueError::BadRequest("a --kafka setting without '='; write NAME=VALUE or NAME=@FILE".to_owned())
        })?;
        let value = match value.strip_prefix('@') {
            Some(file) => read(Path::new(file))?.trim_end_matches(['\r', '\n']).to_owned(),
            None if is_secret(name) && !value.is_empty() => {
                return Err(QueueError::BadRequest(format!(
                    "--kafka {name}=... would be seen by every process here; write {name}=@FILE, or set {}",
                    variable_of(name)
                )));
            }
            None => value.to_owned(),
        };
        settings.insert(name.to_owned(), value);
    }
    Ok(settings)
}

fn variable_of(name: &str) -> String {
    format!("{SETTING_VARIABLES}{}", name.to_ascii_uppercase().replace('.', "_"))
}

fn read(file: &Path) -> Result<String, QueueError> {
    std::fs::read_to_string(file)
        .map_err(|e| QueueError::BadRequest(format!("{}: {e}; give a file that can be read", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(settings: &[&str]) -> Result<BTreeMap<String, String>, QueueError> {
        let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
        super::settings(None, std::iter::empty(), &settings)
    }

    #[test]
    fn secrets_come_from_files_and_the_environment_and_are_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "hunter2\n").unwrap();
        let from_file = given(&[&format!("sasl.password=@{}", file.display())]).unwrap();
        assert_eq!(from_file["sasl.password"], "hunter2");
        let variables = [("FRAMEFLEET_KAFKA_SASL_PASSWORD".to_owned(), "hunter2".to_owned())];
        assert_eq!(settings(None, variables.into_iter(), &[]).unwrap(), from_file);
        let refused = given(&["sasl.password=hunter2"]).unwrap_err().to_string();
        assert!(refused.contains("FRAMEFLEET_KAFKA_SASL_PASSWORD") && !refused.contains("hunter2"), "{refused}");
        let connection = Connection::new("a:1", "p", from_file).unwrap();
        assert!(!format!("{connection:?}").contains("hunter2"));
    }

    #[test]
    fn what_librdkafka_refuses_is_named_without_its_value() {
        let misspelt = given(&["sasl.pasword=hunter2"]).unwrap();
        let connection = Connection::new("a:1", "p", misspelt).unwrap();
        let error = connection.config().create::<rdkafka::consumer::BaseConsumer>().map(drop).unwrap_err();
        let refused = connection.refused(&error).to_string();
        assert!(refused.contains("sasl.pasword") && !refused.contains("hunter2"), "{refused}");
    }

    #[test]
    fn later_settings_count_and_comments_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kafka.properties");
        std::fs::write(&file, "# ours\nsession.timeout.ms = 6000\nclient.id=a\n").unwrap();
        let read = settings(Some(&file), std::iter::empty(), &["client.id=b".to_owned()]).unwrap();
        assert_eq!(
            read,
            [("client.id", "b"), ("session.timeout.ms", "6000")].map(|(n, v)| (n.into(), v.into())).into()
        );
        assert!(given(&["x"]).is_err());
        assert!(given(&["x=@/nowhere"]).is_err());
    }

    #[test]
    fn what_delivery_rests_on_cannot_be_changed() {
        let settings = given(&["enable.auto.commit=true"]).unwrap();
        assert!(Connection::new("a:1", "p", settings).unwrap_err().to_string().contains("enable.auto.commit"));
        assert!(Connection::new(" ", "p", BTreeMap::new()).is_err());
    }

    #[test]
    fn no_setting_brings_foreign_code_into_the_process() {
        for setting in ["plugin.library.paths=/tmp/x.so", "ssl.engine.location=/tmp/x.so"] {
            let refused = Connection::new("a:1", "p", given(&[setting]).unwrap()).unwrap_err().to_string();
            assert!(refused.contains(setting.split('=').next().unwrap()), "{refused}");
        }
    }

    #[test]
    fn what_somebody_else_writes_reads_no_file_and_runs_nothing_here() {
        let variables = |more: &[(&str, &str)]| {
            let all = [("FRAMEFLEET_BROKERS", "a:1"), ("FRAMEFLEET_KAFKA_SASL_PASSWORD", "hunter2"), ("other", "x")];
            let all: Vec<_> = all.iter().chain(more).map(|(name, value)| ((*name).into(), (*value).into())).collect();
            Connection::of_variables(all, "p")
        };
        let connection = variables(&[("FRAMEFLEET_KAFKA_SSL_CA_PEM", "-----BEGIN")]).unwrap();
        assert_eq!((connection.brokers(), connection.settings.len()), ("a:1", 2));
        for (variable, setting) in [
            ("FRAMEFLEET_KAFKA_PLUGIN_LIBRARY_PATHS", "plugin.library.paths"),
            ("FRAMEFLEET_KAFKA_SASL_KERBEROS_KINIT_CMD", "sasl.kerberos.kinit.cmd"),
            ("FRAMEFLEET_KAFKA_SSL_KEY_LOCATION", "ssl.key.location"),
            ("FRAMEFLEET_KAFKA_SASL_OAUTHBEARER_ASSERTION_FILE", "sasl.oauthbearer.assertion.file"),
            ("FRAMEFLEET_KAFKA_SSL_PROVIDERS", "ssl.providers"),
            ("FRAMEFLEET_KAFKA_ACKS", "acks"),
        ] {
            let refused = variables(&[(variable, "/x")]).unwrap_err().to_string();
            assert!(refused.contains(setting), "{refused}");
        }
        assert!(Connection::of_variables([], "p").unwrap_err().to_string().contains("FRAMEFLEET_BROKERS"));
    }

    #[test]
    fn what_librdkafka_refuses_is_told_without_the_secret() {
        let settings =
            [("sasl.mechanisms", "PLAIN"), ("ssl.key.password", "hunter2"), ("security.protocol", "hunter2")];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let connection = Connection::new("a:1", "p", settings).unwrap();
        let refused = connection.config().create::<rdkafka::consumer::BaseConsumer>().err().unwrap();
        let said = connection.refused(&refused).to_string();
        assert!(said.contains("security.protocol") && !said.contains("hunter2"), "{said}");
    }
}
