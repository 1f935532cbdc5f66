//! Somebody who may ask the API server: a client, a kubeconfig, and `kubectl`.

use super::objects::{Objects, block_on, runtime};
use super::programs;
use crate::call::Ended;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Error, Resource};
use serde_json::json;
use std::fmt;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where a server is, and whose certificates prove that it is the one.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    pub server: String,
    pub authority: PathBuf,
}

#[derive(Clone)]
pub struct Access {
    endpoint: Endpoint,
    token: String,
    kubeconfig: PathBuf,
    client: Client,
}

impl Access {
    pub(super) fn new(endpoint: Endpoint, token: String, kubeconfig: PathBuf) -> Self {
        // Every parser of YAML reads JSON.
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster(&endpoint)}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        });
        fs::write(&kubeconfig, config.to_string()).unwrap();
        let config: Kubeconfig = serde_json::from_value(config).unwrap();
        let mut config = block_on(Config::from_custom_kubeconfig(config, &KubeConfigOptions::default())).unwrap();
        // Tests see what the API server answers.
        config.default_retry = false;
        let _guard = runtime().enter();
        Self { client: Client::try_from(config).unwrap(), endpoint, token, kubeconfig }
    }

    /// The same rights at another address, such as a proxy's. The kubeconfig lies beside the other one.
    pub(super) fn at(&self, server: String) -> Self {
        let place = server.rsplit(':').next().unwrap();
        let name = format!("{}-by-{place}", self.kubeconfig.file_name().unwrap().to_str().unwrap());
        let endpoint = Endpoint { server, authority: self.endpoint.authority.clone() };
        Self::new(endpoint, self.token.clone(), self.kubeconfig.with_file_name(name))
    }

    pub(super) fn of_service_account(&self, namespace: &str, name: &str, folder: &Path) -> Result<Self, Error> {
        let accounts = Api::<ServiceAccount>::namespaced(self.client(), namespace);
        let spec = TokenRequestSpec { expiration_seconds: Some(24 * 3600), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let granted = block_on(accounts.create_token_request(name, &PostParams::default(), &request))?;
        let token = granted.status.expect("whoever is granted a token is told it").token;
        Ok(Self::new(self.endpoint.clone(), token, folder.join(format!("kubeconfig-of-{namespace}-{name}"))))
    }

    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    pub fn client(&self) -> Client {
        self.client.clone()
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Of a namespace.
    pub fn objects<K>(&self, namespace: &str) -> Objects<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Objects::new(Api::namespaced(self.client(), namespace))
    }

    /// Of the whole cluster: those that have no namespace, and reading those that do.
    pub fn everywhere<K: Resource<DynamicType = ()>>(&self) -> Objects<K> {
        Objects::new(Api::all(self.client()))
    }

    /// Runs it, and says what it printed. It must succeed.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        let ended = self.try_kubectl(arguments, "");
        assert_eq!(ended.status, Some(0), "{ended}");
        ended.stdout
    }

    pub fn try_kubectl(&self, arguments: &[&str], input: &str) -> Ended {
        let mut command = Command::new(programs::program("kubectl"));
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut kubectl = command.spawn().unwrap();
        kubectl.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Ended::new(format!("{command:?}"), kubectl.wait_with_output().unwrap())
    }

    /// Applies objects as they are in a file: YAML, of any kinds.
    pub fn apply(&self, objects: &str) {
        let ended = self.try_kubectl(&["apply", "--server-side", "-f", "-"], objects);
        assert_eq!(ended.status, Some(0), "{ended}");
    }

    pub(super) fn is_ready(&self) -> bool {
        let request = axum::http::Request::get("/readyz").body(Vec::new()).unwrap();
        block_on(self.client.request_text(request)).is_ok()
    }
}

fn cluster(endpoint: &Endpoint) -> serde_json::Value {
    if endpoint.server.starts_with("https") {
        json!({"server": endpoint.server, "certificate-authority": endpoint.authority})
    } else {
        json!({"server": endpoint.server})
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("kubeconfig", &self.kubeconfig).finish_non_exhaustive()
    }
}
