//! What went wrong between the agent and the API server, in words with a cure.

use std::fmt;

use kube::{core::Status, runtime::watcher};

use crate::{chain::chain, metrics::WatchError};

/// A failed request or watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Its kind, as it is counted.
    pub reason: WatchError,
    /// What happened, and what to do about it.
    pub text: String,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Trouble {
    /// Of a watch on `resource`.
    pub fn of_watch(resource: &str, error: &watcher::Error) -> Self {
        match error {
            watcher::Error::InitialListFailed(error) => Self::of("list", resource, error),
            watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
                Self::of("watch", resource, error)
            }
            watcher::Error::WatchError(status) => Self::of_status("watch", resource, status),
            watcher::Error::NoResourceVersion => Self {
                reason: WatchError::Other,
                text: format!("the API server told no version of its {resource}"),
            },
        }
    }

    /// Of one request.
    pub fn of(verb: &str, resource: &str, error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(verb, resource, status),
            kube::Error::Auth(error) => Self {
                reason: WatchError::Unauthorized,
                text: format!("there are no credentials for the API server: {}", chain(error)),
            },
            kube::Error::SerdeError(error) => Self {
                reason: WatchError::Other,
                text: format!("the API server's answer to {verb} {resource} is not understood: {error}"),
            },
            error => Self {
                reason: WatchError::Unreachable,
                text: format!(
                    "the API server cannot be reached to {verb} {resource}: {}; what is known already is used \
                     until it answers",
                    chain(error)
                ),
            },
        }
    }

    fn of_status(verb: &str, resource: &str, status: &Status) -> Self {
        let (reason, text) = match status.code {
            401 => (
                WatchError::Unauthorized,
                format!(
                    "the API server does not accept the agent's credentials to {verb} {resource} (401): give the \
                     pod a ServiceAccount whose token is mounted, or name a kubeconfig that is valid"
                ),
            ),
            403 => (WatchError::Forbidden, forbidden(verb, resource, &status.message)),
            410 => {
                (WatchError::Expired, format!("the watch on {resource} was too old (410) and begins anew"))
            }
            code => (
                WatchError::Other,
                format!("the API server answered {verb} {resource} with {code}: {}", status.message),
            ),
        };
        Self { reason, text }
    }
}

/// The rule that is missing; `message` names who asked.
pub fn forbidden(verb: &str, resource: &str, message: &str) -> String {
    let user = message.split_once("User \"").and_then(|(_, rest)| rest.split_once('"')).map(|(user, _)| user);
    let who = match user.map(|user| (user, user.strip_prefix("system:serviceaccount:"))) {
        Some((_, Some(account))) => format!("ServiceAccount {}", account.replacen(':', "/", 1)),
        Some((user, None)) => format!("user {user}"),
        None => "the agent".to_owned(),
    };
    format!(
        "the API server forbids {who} to {verb} {resource} in all namespaces (403): bind it, by a ClusterRoleBinding, to \
         a ClusterRole with the rule {{apiGroups: [\"\"], resources: [{resource}], verbs: [list, watch]}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, message: &str) -> Status {
        Status { code, message: message.into(), ..Status::default() }
    }

    #[test]
    fn what_is_forbidden_names_account_verb_resource_and_rule() {
        let message = "pods is forbidden: User \"system:serviceaccount:sockspan:sockspan\" cannot list resource \
                       \"pods\" in API group \"\" at the cluster scope";
        let error = watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status(403, message))));
        let trouble = Trouble::of_watch("pods", &error);
        assert_eq!(trouble.reason, WatchError::Forbidden);
        assert_eq!(
            trouble.text,
            "the API server forbids ServiceAccount sockspan/sockspan to list pods in all namespaces (403): bind it, by a \
             ClusterRoleBinding, to a ClusterRole with the rule {apiGroups: [\"\"], resources: [pods], verbs: [list, \
             watch]}"
        );
        assert!(
            forbidden("watch", "namespaces", "User \"jane\" cannot")
                .contains("forbids user jane to watch namespaces")
        );
        assert!(forbidden("watch", "namespaces", "").contains("forbids the agent to"));
    }

    #[test]
    fn the_other_kinds() {
        for (code, reason) in
            [(401, WatchError::Unauthorized), (410, WatchError::Expired), (500, WatchError::Other)]
        {
            let error = watcher::Error::WatchError(Box::new(status(code, "x")));
            assert_eq!(Trouble::of_watch("pods", &error).reason, reason);
        }
        let away = kube::Error::Service("connection refused".into());
        let trouble = Trouble::of_watch("pods", &watcher::Error::WatchStartFailed(away));
        assert_eq!(trouble.reason, WatchError::Unreachable);
        assert!(trouble.text.contains("connection refused"), "{trouble}");
    }
}
