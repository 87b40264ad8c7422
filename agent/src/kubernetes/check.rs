//! The preflight's question to the API server: whether it can be reached, and allows what the agent needs.

use std::time::Duration;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::{Api, Client, api::PostParams};
use tokio::time::timeout;

use super::{
    connect::Link,
    trouble::{Trouble, forbidden},
};
use crate::{chain::chain, preflight::Check, settings::Kubernetes};

const NAME: &str = "kubernetes";
const PATIENCE: Duration = Duration::from_secs(10);

/// The check; `None` where Kubernetes is off.
pub async fn check(settings: &Kubernetes) -> Option<Check> {
    if !settings.enabled {
        return None;
    }
    let link = match Link::open(settings).await {
        Ok(link) => link,
        Err(error) => {
            return Some(Check::fatal(NAME, chain(error.as_ref()), "--kubernetes off does without it"));
        }
    };
    let client = match link.client(|_| ()) {
        Ok(client) => client,
        Err(error) => {
            return Some(Check::fatal(NAME, chain(error.as_ref()), "check the certificates it names"));
        }
    };
    let refused = match timeout(PATIENCE, refused(&client)).await {
        Ok(Ok(refused)) => refused,
        Ok(Err(trouble)) => return Some(away(&trouble.text)),
        Err(_) => return Some(away(&format!("the API server {} does not answer", link.server()))),
    };
    Some(match refused.as_slice() {
        [] => Check::ok(
            NAME,
            format!(
                "{} lets the agent watch the pods of node {} and the namespaces",
                link.server(),
                link.node
            ),
        ),
        [(verb, resource, reason), ..] => Check::degraded(
            NAME,
            format!("no pod is traced: {}", forbidden(verb, resource, reason)),
            "apply the agent's ClusterRole and ClusterRoleBinding, which stand in its manifests",
        ),
    })
}

fn away(cause: &str) -> Check {
    let cure = "check the address, the network policies and the credentials; the agent itself keeps trying";
    Check::degraded(NAME, format!("no pod is traced until the API server answers: {cause}"), cure)
}

/// What is not allowed of what is needed.
async fn refused(client: &Client) -> Result<Vec<(&'static str, &'static str, String)>, Trouble> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let mut refused = Vec::new();
    for resource in ["pods", "namespaces"] {
        for verb in ["list", "watch"] {
            let attributes = ResourceAttributes {
                resource: Some(resource.into()),
                verb: Some(verb.into()),
                ..ResourceAttributes::default()
            };
            let spec =
                SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
            let review = SelfSubjectAccessReview { spec, ..Default::default() };
            let answer = reviews.create(&PostParams::default(), &review).await;
            let answer = answer.map_err(|error| Trouble::of(verb, resource, &error))?;
            if let Some(status) = answer.status.filter(|status| !status.allowed) {
                refused.push((verb, resource, status.reason.unwrap_or_default()));
            }
        }
    }
    Ok(refused)
}
