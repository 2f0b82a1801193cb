//! What a CA should be like, and the files that make it so.

use super::{
    super::{jwk::Jwk, machine::keygen, x509::Authority},
    provisioner::{PASSWORD, Provisioner},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

/// The file with the root that it trusts for other servers.
pub(super) const WEB_ROOT: &str = "web.crt";

#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Its provisioners, in this order.
    pub(crate) provisioners: Vec<Provisioner>,
    /// The names in its TLS certificate, which are also the audiences that it accepts in tokens.
    pub(crate) names: Vec<String>,
    /// Whether it signs SSH certificates at all.
    pub(crate) ssh: bool,
    /// The only kind of SSH certificates that it signs (`host`, `user`); `None` for both.
    pub(crate) only: Option<&'static str>,
    /// The seconds after which its root and its intermediate expire.
    pub(crate) ends: Option<[i64; 2]>,
    /// Whether it lists a second root.
    pub(crate) second_root: bool,
    /// The root that it trusts when it asks another server, such as a provider of single sign-on.
    pub(crate) web_root: Option<String>,
    /// The only patterns that names in host certificates may match; empty for any name.
    pub(crate) allowed: Vec<String>,
    /// The iterations that hash a JWK provisioner's password. `step` uses 600000, which takes a while.
    pub(crate) iterations: u32,
}

impl Default for Setup {
    /// The provisioners that `step ca init --ssh` creates.
    fn default() -> Self {
        Self {
            provisioners: vec![Provisioner::jwk("admin"), Provisioner::sshpop("sshpop")],
            names: ["127.0.0.1", "localhost"].map(str::to_owned).to_vec(),
            ssh: true,
            only: None,
            ends: None,
            second_root: false,
            web_root: None,
            allowed: Vec::new(),
            iterations: 10_000,
        }
    }
}

impl Setup {
    /// A setup with these provisioners.
    pub(crate) fn of(provisioners: impl IntoIterator<Item = Provisioner>) -> Self {
        Self { provisioners: provisioners.into_iter().collect(), ..Self::default() }
    }

    /// Writes the files of the CA. Returns the keys of its JWK provisioners, by name.
    pub(super) fn write(
        &self,
        directory: &Path,
        port: u16,
        tls: &Authority,
        others: &Authority,
    ) -> BTreeMap<String, Jwk> {
        let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
        let write = |name: &str, contents: &str| {
            fs::write(directory.join(name), contents).unwrap();
            fs::set_permissions(directory.join(name), fs::Permissions::from_mode(0o600)).unwrap();
        };
        write("root.crt", &tls.root());
        write("intermediate.crt", &tls.intermediate());
        write("intermediate.key", &tls.key());
        // With a line end, as an editor leaves it, and as `step` accepts it.
        write("provisioner-password", &format!("{PASSWORD}\n"));
        let leaf = others.leaf(&["web1.example.org"], Duration::from_secs(24 * 3600));
        write("x5c.crt", &leaf.pem);
        write("x5c.key", &leaf.key.serialize_pem());
        for name in ["host_ca", "user_ca"] {
            keygen(&["-q", "-N", "", "-C", "", "-t", "ecdsa", "-f"], &directory.join(name));
        }

        let mut keys = BTreeMap::new();
        let mut entries = Vec::new();
        for provisioner in &self.provisioners {
            let (entry, key) = provisioner.configured(self.iterations, others);
            entries.push(entry);
            if let Some(key) = key {
                write(&format!("{}.jwk", provisioner.name), &key.private().to_string());
                keys.insert(provisioner.name.clone(), key);
            }
        }
        let mut config = json!({
            "root": path("root.crt"), "crt": path("intermediate.crt"), "key": path("intermediate.key"),
            "address": format!("127.0.0.1:{port}"), "dnsNames": self.names,
            "logger": { "format": "json" },
            "db": { "type": "bbolt", "dataSource": path("db") },
            "authority": { "provisioners": entries },
        });
        if self.ssh {
            config["ssh"] = match self.only {
                Some(kind) => json!({ format!("{kind}Key"): path(&format!("{kind}_ca")) }),
                None => json!({ "hostKey": path("host_ca"), "userKey": path("user_ca") }),
            };
        }
        if self.second_root {
            write("second.crt", &others.root());
            config["root"] = json!([path("root.crt"), path("second.crt")]);
        }
        if let Some(root) = &self.web_root {
            write(WEB_ROOT, root);
        }
        if !self.allowed.is_empty() {
            config["authority"]["policy"] = json!({ "ssh": { "host": { "allow": { "dns": self.allowed } } } });
        }
        write_config(directory, &config);
        keys
    }
}

/// The CA's configuration.
pub(super) fn read_config(directory: &Path) -> Value {
    serde_json::from_slice(&fs::read(directory.join("ca.json")).unwrap()).unwrap()
}

/// Replaces it.
pub(super) fn write_config(directory: &Path, config: &Value) {
    fs::write(directory.join("ca.json"), config.to_string()).unwrap();
}
