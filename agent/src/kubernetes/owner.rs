//! From the pod's controller to the workload that a person made, by names alone: no object but the pod is read.
//!
//! | the pod's controller | is made by | when |
//! |---|---|---|
//! | ReplicaSet `<name>-<hash>` | Deployment `<name>` | the pod's label pod-template-hash has the same hash |
//! | Job `<name>-<minutes>` | CronJob `<name>` | the minutes since 1970 fit the pod's creation |
//!
//! A Job that was made by hand from a CronJob has a name of its own, and so no CronJob here.

use super::selector::Labels;

const HASH: &str = "pod-template-hash";
/// Digits that the minutes since 1970 have at least, from 1989 to 2160.
const DIGITS: usize = 8;
const DAY: i64 = 86_400;

/// A pod's controller, as the pod names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The group of its API, without the version.
    pub group: Box<str>,
    /// Its kind.
    pub kind: Box<str>,
    /// Its name.
    pub name: Box<str>,
}

/// The attributes that name `owner` and what made it, the topmost first. `created` is the pod's creation, seconds since
/// 1970.
pub fn workloads(owner: &Owner, labels: &Labels, created: i64) -> Vec<(&'static str, String)> {
    let name = owner.name.to_string();
    match (&*owner.group, &*owner.kind) {
        ("apps", "ReplicaSet") => {
            let hash = labels.get(HASH).filter(|hash| !hash.is_empty());
            let deployment = hash.and_then(|hash| name.strip_suffix(hash.as_str())?.strip_suffix('-'));
            let deployment =
                deployment.filter(|d| !d.is_empty()).map(|d| ("k8s.deployment.name", d.to_owned()));
            deployment.into_iter().chain([("k8s.replicaset.name", name.clone())]).collect()
        }
        ("apps", "StatefulSet") => vec![("k8s.statefulset.name", name)],
        ("apps", "DaemonSet") => vec![("k8s.daemonset.name", name)],
        ("batch", "Job") => {
            let cronjob = cronjob(&name, created).map(|cronjob| ("k8s.cronjob.name", cronjob.to_owned()));
            cronjob.into_iter().chain([("k8s.job.name", name.clone())]).collect()
        }
        ("", "ReplicationController") => vec![("k8s.replicationcontroller.name", name)],
        _ => Vec::new(),
    }
}

fn cronjob(job: &str, created: i64) -> Option<&str> {
    let (cronjob, minutes) = job.rsplit_once('-')?;
    let digits = minutes.len() >= DIGITS && minutes.bytes().all(|b| b.is_ascii_digit());
    let due = minutes.parse::<i64>().ok().filter(|_| digits)?.checked_mul(60)?;
    // A run can be made up for long after it was due; a date (20260131) is decades off.
    let fits = created.checked_sub(due).is_some_and(|late| (-DAY..=365 * DAY).contains(&late));
    (fits && !cronjob.is_empty()).then_some(cronjob)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-25T09:00:00Z
    const CREATED: i64 = 1_795_597_200;

    fn chain(group: &str, kind: &str, name: &str, hash: Option<&str>) -> Vec<(&'static str, String)> {
        let owner = Owner { group: group.into(), kind: kind.into(), name: name.into() };
        let labels = hash.map(|hash| (HASH.to_owned(), hash.to_owned())).into_iter().collect();
        workloads(&owner, &labels, CREATED)
    }

    #[test]
    fn owners() {
        let own = |pairs: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
            pairs.iter().map(|(k, v)| (*k, (*v).to_owned())).collect()
        };
        let minutes = CREATED / 60;
        let job = format!("backup-{minutes}");
        let early = format!("backup-{}", minutes + 3 * 1440);
        for (group, kind, name, hash, expected) in [
            (
                "apps",
                "ReplicaSet",
                "cart-5d4f8",
                Some("5d4f8"),
                own(&[("k8s.deployment.name", "cart"), ("k8s.replicaset.name", "cart-5d4f8")]),
            ),
            (
                "apps",
                "ReplicaSet",
                "cart-5d4f8",
                Some("other"),
                own(&[("k8s.replicaset.name", "cart-5d4f8")]),
            ),
            ("apps", "ReplicaSet", "cart-5d4f8", None, own(&[("k8s.replicaset.name", "cart-5d4f8")])),
            ("apps", "ReplicaSet", "5d4f8", Some("5d4f8"), own(&[("k8s.replicaset.name", "5d4f8")])),
            ("apps", "StatefulSet", "db", None, own(&[("k8s.statefulset.name", "db")])),
            ("apps", "DaemonSet", "log", None, own(&[("k8s.daemonset.name", "log")])),
            ("batch", "Job", &job, None, own(&[("k8s.cronjob.name", "backup"), ("k8s.job.name", &job)])),
            ("batch", "Job", &early, None, own(&[("k8s.job.name", &early)])),
            ("batch", "Job", "backup-20261125", None, own(&[("k8s.job.name", "backup-20261125")])),
            ("batch", "Job", "backup-1", None, own(&[("k8s.job.name", "backup-1")])),
            ("batch", "Job", "backup", None, own(&[("k8s.job.name", "backup")])),
            ("", "Node", "n1", None, own(&[])),
            ("other.io", "ReplicaSet", "cart-5d4f8", Some("5d4f8"), own(&[])),
        ] {
            assert_eq!(chain(group, kind, name, hash), expected, "{kind} {name}");
        }
    }
}
