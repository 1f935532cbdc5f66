//! A container's variables, from where the pod says that they come.

use crate::cluster::access::Access;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EnvFromSource, EnvVar, EnvVarSource, ObjectFieldSelector, Pod, Secret,
};
use kube::ResourceExt;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

pub type Variables = BTreeMap<String, String>;

/// Where it looks.
#[derive(Debug)]
pub struct Sources<'a> {
    pub admin: &'a Access,
    pub pod: &'a Pod,
    pub address: Ipv4Addr,
}

const LISTEN: &str = "FRAMEFLEET_LISTEN";

impl Sources<'_> {
    /// Or what is missing.
    pub fn variables(&self, container: &Container) -> Result<Variables, String> {
        let mut variables = Variables::new();
        for source in container.env_from.iter().flatten() {
            let prefix = source.prefix.as_deref().unwrap_or("");
            let all = self.all_of(source)?;
            variables.extend(all.into_iter().map(|(name, value)| (format!("{prefix}{name}"), value)));
        }
        for variable in container.env.iter().flatten() {
            if let Some(value) = self.value(variable, &variables)? {
                variables.insert(variable.name.clone(), value);
            }
        }
        if let Some(listen) = variables.get_mut(LISTEN) {
            *listen = listen.replacen("0.0.0.0:", &format!("{}:", self.address), 1);
        }
        Ok(variables)
    }

    fn all_of(&self, source: &EnvFromSource) -> Result<Variables, String> {
        if let Some(it) = &source.secret_ref {
            return self.secret(&it.name, it.optional);
        }
        let it = source.config_map_ref.as_ref().ok_or("envFrom names neither a Secret nor a ConfigMap")?;
        self.config_map(&it.name, it.optional)
    }

    /// `None` where it may be missing, and is.
    fn value(&self, variable: &EnvVar, known: &Variables) -> Result<Option<String>, String> {
        match &variable.value_from {
            None => Ok(Some(expanded(variable.value.as_deref().unwrap_or(""), known))),
            Some(source) => self.value_from(source),
        }
    }

    fn value_from(&self, source: &EnvVarSource) -> Result<Option<String>, String> {
        if let Some(field) = &source.field_ref {
            return self.field(field).map(Some);
        }
        let (key, optional, values) = if let Some(it) = &source.secret_key_ref {
            (&it.key, it.optional, self.secret(&it.name, it.optional)?)
        } else if let Some(it) = &source.config_map_key_ref {
            (&it.key, it.optional, self.config_map(&it.name, it.optional)?)
        } else {
            return Err("the test node does not know this source of a variable".to_owned());
        };
        match values.get(key) {
            None if optional != Some(true) => Err(format!("couldn't find key {key}")),
            value => Ok(value.cloned()),
        }
    }

    fn field(&self, field: &ObjectFieldSelector) -> Result<String, String> {
        let path = field.field_path.as_str();
        let of_map = |map: &Variables, key: &str| map.get(key).cloned().unwrap_or_default();
        if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
            return match map {
                "metadata.labels" => Ok(of_map(self.pod.labels(), key)),
                "metadata.annotations" => Ok(of_map(self.pod.annotations(), key)),
                _ => Err(format!("no field {path}")),
            };
        }
        let spec = self.pod.spec.as_ref().expect("a pod has one");
        let value = match path {
            "metadata.name" => Some(self.pod.name_any()),
            "metadata.namespace" => self.pod.namespace(),
            "metadata.uid" => self.pod.uid(),
            "spec.nodeName" => spec.node_name.clone(),
            "spec.serviceAccountName" => spec.service_account_name.clone(),
            "status.podIP" => Some(self.address.to_string()),
            "status.hostIP" => Some("127.0.0.1".to_owned()),
            _ => None,
        };
        value.ok_or_else(|| format!("the test node does not know the field {path}"))
    }

    pub fn secret(&self, name: &str, optional: Option<bool>) -> Result<Variables, String> {
        let secrets = self.admin.objects::<Secret>(&self.namespace());
        let found = secrets.try_get(name).map_err(|e| e.to_string())?;
        let data = found.map(|secret| secret.data.unwrap_or_default()).or(when(optional));
        let data = data.ok_or_else(|| format!("secret \"{name}\" not found"))?;
        let text = |ByteString(bytes)| String::from_utf8_lossy(&bytes).into_owned();
        Ok(data.into_iter().map(|(key, value)| (key, text(value))).collect())
    }

    pub fn config_map(&self, name: &str, optional: Option<bool>) -> Result<Variables, String> {
        let maps = self.admin.objects::<ConfigMap>(&self.namespace());
        let found = maps.try_get(name).map_err(|e| e.to_string())?;
        let data = found.map(|map| map.data.unwrap_or_default()).or(when(optional));
        data.ok_or_else(|| format!("configmap \"{name}\" not found"))
    }

    pub fn namespace(&self) -> String {
        self.pod.namespace().expect("a pod is in one")
    }
}

/// Something empty, where nothing is as good.
fn when<T: Default>(optional: Option<bool>) -> Option<T> {
    optional.unwrap_or(false).then(T::default)
}

/// As Kubernetes does: `$(NAME)` is a variable if it is known, `$$` one dollar.
pub fn expanded(text: &str, known: &Variables) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let name = after.strip_prefix('(').and_then(|after| after.split_once(')'));
        rest = match (after.strip_prefix('$'), name) {
            (Some(after), _) => {
                expanded.push('$');
                after
            }
            (None, Some((name, after))) if known.contains_key(name) => {
                expanded.push_str(&known[name]);
                after
            }
            _ => {
                expanded.push('$');
                after
            }
        };
    }
    expanded + rest
}
