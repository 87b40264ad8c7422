//! The file by which a client finds the API server and proves who it is.
//!
//! In: the certificates. Out: a kubeconfig; JSON, which is YAML too.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

use super::{
    layout::{API_PORT, NODE_IP},
    pki::Identity,
};

/// The kubeconfig of `user`, who shows `identity` to a server that `authority` (PEM) signed.
pub fn render(user: &str, authority: &str, identity: &Identity) -> String {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "sockspan", "cluster": {
            "server": format!("https://{NODE_IP}:{API_PORT}"),
            "certificate-authority-data": BASE64_STANDARD.encode(authority.as_bytes()),
        }}],
        "users": [{"name": user, "user": {
            "client-certificate-data": BASE64_STANDARD.encode(identity.certificate.as_bytes()),
            "client-key-data": BASE64_STANDARD.encode(identity.key.as_bytes()),
        }}],
        "contexts": [{"name": "sockspan", "context": {"cluster": "sockspan", "user": user}}],
        "current-context": "sockspan",
    });
    format!("{config:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubeconfig_names_server_user_and_authority() {
        let identity = Identity { certificate: "cert".to_owned(), key: "key".to_owned() };
        let text = render("admin", "ca", &identity);
        let config: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(config["clusters"][0]["cluster"]["server"], "https://10.123.0.2:6443");
        assert_eq!(config["clusters"][0]["cluster"]["certificate-authority-data"], "Y2E=");
        assert_eq!(config["users"][0]["user"]["client-key-data"], "a2V5");
        assert_eq!(config["current-context"], config["contexts"][0]["name"]);
        assert_eq!(config["contexts"][0]["context"]["user"], "admin");
    }
}
