//! Who is traced among the pods, and why: the first rule that decides.
//!
//! | | rule |
//! |---|---|
//! | 1 | the pod's annotation `sockspan.io/trace`, else its label: `enabled`, `disabled` |
//! | 2 | the namespace's label `sockspan.io/trace`, else its annotation: `disabled` |
//! | 3 | an excluded namespace: `exclude-namespace`, the agent's own, that of the OTLP endpoint's Service |
//! | 4 | `namespace-selector` does not match |
//! | 5 | `pod-selector` does not match |
//! | 6 | traced |
//!
//! In: [`Rules`], a pod, its namespace. Out: a [`Decision`] with the rule in words.

use super::{
    attributes::{Chosen, RESOURCE},
    pod::{Namespace, Pod},
    selector::{Labels, Selector},
};
use crate::settings::TextGlob;

/// The label and annotation by which pods and namespaces speak for themselves.
pub const TRACE: &str = "sockspan.io/trace";

/// Globs over keys or names.
#[derive(Clone, Debug, Default)]
pub struct Globs(pub Vec<TextGlob>);

impl Globs {
    /// The first that matches.
    pub fn first(&self, text: &str) -> Option<&TextGlob> {
        self.0.iter().find(|glob| glob.matches(text.as_bytes()))
    }

    /// Whether one matches.
    pub fn matches(&self, text: &str) -> bool {
        self.first(text).is_some()
    }

    #[cfg(test)]
    pub(super) fn of(texts: &[&str]) -> Self {
        Self(texts.iter().filter_map(|text| TextGlob::new(text).ok()).collect())
    }
}

impl PartialEq for Globs {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().map(TextGlob::text).eq(other.0.iter().map(TextGlob::text))
    }
}

/// A namespace that is left alone because of what it is to the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kin {
    /// Its name.
    pub name: String,
    /// What it is.
    pub why: &'static str,
}

/// Everything that the user says of pods. One value, which can be replaced while the agent runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// `namespace-selector`.
    pub namespaces: Selector,
    /// `pod-selector`.
    pub pods: Selector,
    /// `exclude-namespace`.
    pub excluded: Globs,
    /// The agent's own namespace, and the receiver's.
    pub kin: Vec<Kin>,
    /// Labels and annotations that become attributes.
    pub chosen: Chosen,
}

/// Traced or not, by which rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the pod's processes are traced.
    pub traced: bool,
    /// The rule that decided.
    pub rule: String,
}

impl Decision {
    fn no(rule: String) -> Self {
        Self { traced: false, rule }
    }
}

fn word<'a>(map: &'a Labels, accepted: &[&str]) -> Option<&'a str> {
    map.get(TRACE).map(String::as_str).filter(|word| accepted.contains(word))
}

impl Rules {
    /// The decision on `pod` in `namespace`.
    pub fn decide(&self, pod: &Pod, namespace: &Namespace) -> Decision {
        let (name, words) = (&namespace.name, ["enabled", "disabled"]);
        let own = word(&pod.annotations, &words).map(|word| ("annotation", word));
        if let Some((kind, word)) = own.or_else(|| word_of_label(pod, &words)) {
            return Decision { traced: word == "enabled", rule: format!("the pod's {kind} {TRACE}={word}") };
        }
        let label = word(&namespace.labels, &["disabled"]).map(|_| "label");
        let unless = || {
            (!namespace.labels.contains_key(TRACE))
                .then(|| word(&namespace.annotations, &["disabled"]))
                .flatten()
        };
        if let Some(kind) = label.or_else(|| unless().map(|_| "annotation")) {
            return Decision::no(format!("namespace {name} has the {kind} {TRACE}=disabled"));
        }
        if let Some(kin) = self.kin.iter().find(|kin| *kin.name == **name) {
            return Decision::no(format!("namespace {name} is {}", kin.why));
        }
        if let Some(glob) = self.excluded.first(name) {
            return Decision::no(format!("exclude-namespace {} matches namespace {name}", glob.text()));
        }
        if let Some(unmet) = self.namespaces.unmet(&namespace.labels) {
            return Decision::no(format!(
                "namespace-selector: the labels of namespace {name} do not match `{unmet}`"
            ));
        }
        if let Some(unmet) = self.pods.unmet(&pod.labels) {
            return Decision::no(format!("pod-selector: the pod's labels do not match `{unmet}`"));
        }
        Decision { traced: true, rule: self.matched(name) }
    }

    fn matched(&self, namespace: &str) -> String {
        match (self.namespaces.is_empty(), self.pods.is_empty()) {
            (true, true) => format!("no rule leaves out namespace {namespace}"),
            (false, true) => {
                format!("namespace-selector `{}` matches namespace {namespace}", self.namespaces)
            }
            (true, false) => format!("pod-selector `{}` matches", self.pods),
            (false, false) => {
                format!("namespace-selector `{}` and pod-selector `{}` match", self.namespaces, self.pods)
            }
        }
    }

    /// Which annotations are needed.
    pub fn kept(&self) -> Kept {
        let Chosen { pod_annotations, namespace_annotations, .. } = &self.chosen;
        Kept { pods: pod_annotations.clone(), namespaces: namespace_annotations.clone() }
    }
}

fn word_of_label<'a>(pod: &'a Pod, words: &[&str]) -> Option<(&'static str, &'a str)> {
    word(&pod.labels, words).map(|word| ("label", word))
}

/// The annotations that are kept; objects are read again when they change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// Of pods.
    pub pods: Globs,
    /// Of namespaces.
    pub namespaces: Globs,
}

impl Kept {
    /// Whether a pod's annotation is needed.
    pub fn of_pod(&self, key: &str) -> bool {
        key == TRACE || key.starts_with(RESOURCE) || self.pods.matches(key)
    }

    /// Whether a namespace's annotation is needed.
    pub fn of_namespace(&self, key: &str) -> bool {
        key == TRACE || self.namespaces.matches(key)
    }
}

/// The namespace of the Service that a host name stands for: `service.namespace`, `service.namespace.svc…`.
pub fn namespace_of(host: &str) -> Option<&str> {
    let mut labels = host.trim_end_matches('.').split('.');
    let (service, namespace, third) = (labels.next()?, labels.next()?, labels.next());
    let is_address = host.parse::<std::net::Ipv4Addr>().is_ok();
    let fits = !service.is_empty() && !namespace.is_empty() && third.is_none_or(|third| third == "svc");
    (fits && !is_address).then_some(namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Labels {
        let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
        pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    fn pod(own: &str, annotations: &str) -> Pod {
        Pod {
            labels: labels(own),
            annotations: labels(annotations),
            namespace: "shop".into(),
            ..Pod::default()
        }
    }

    fn namespace(name: &str, own: &str, annotations: &str) -> Namespace {
        Namespace { name: name.into(), labels: labels(own), annotations: labels(annotations) }
    }

    fn rules(namespaces: &str, pods: &str) -> Rules {
        Rules {
            namespaces: Selector::parse(namespaces).unwrap(),
            pods: Selector::parse(pods).unwrap(),
            excluded: Globs::of(&["kube-*"]),
            kin: vec![Kin { name: "sockspan".into(), why: "the agent's own" }],
            chosen: Chosen::default(),
        }
    }

    #[test]
    fn the_first_rule_that_decides() {
        let (yes, no) = ("sockspan.io/trace=enabled", "sockspan.io/trace=disabled");
        let shop = || namespace("shop", "team=a", "");
        for (rules, pod, namespace, traced, rule) in [
            (rules("", ""), pod("", ""), shop(), true, "no rule leaves out namespace shop"),
            (rules("", ""), pod("", no), shop(), false, "the pod's annotation sockspan.io/trace=disabled"),
            (rules("", ""), pod(no, ""), shop(), false, "the pod's label sockspan.io/trace=disabled"),
            (rules("", ""), pod(no, yes), shop(), true, "the pod's annotation sockspan.io/trace=enabled"),
            (
                rules("", ""),
                pod(no, "sockspan.io/trace=maybe"),
                shop(),
                false,
                "the pod's label sockspan.io/trace=disabled",
            ),
            (
                rules("", ""),
                pod("", yes),
                namespace("kube-system", "", ""),
                true,
                "the pod's annotation sockspan.io/trace=enabled",
            ),
            (
                rules("x", "y"),
                pod(yes, ""),
                namespace("shop", no, ""),
                true,
                "the pod's label sockspan.io/trace=enabled",
            ),
            (
                rules("", ""),
                pod("", ""),
                namespace("shop", no, ""),
                false,
                "namespace shop has the label sockspan.io/trace=disabled",
            ),
            (
                rules("", ""),
                pod("", ""),
                namespace("shop", "", no),
                false,
                "namespace shop has the annotation sockspan.io/trace=disabled",
            ),
            (
                rules("", ""),
                pod("", ""),
                namespace("shop", yes, no),
                true,
                "no rule leaves out namespace shop",
            ),
            (
                rules("", ""),
                pod("", ""),
                namespace("kube-system", yes, ""),
                false,
                "exclude-namespace kube-* matches namespace kube-system",
            ),
            (
                rules("", ""),
                pod("", ""),
                namespace("sockspan", "", ""),
                false,
                "namespace sockspan is the agent's own",
            ),
            (
                rules("team in (a,b)", ""),
                pod("", ""),
                shop(),
                true,
                "namespace-selector `team in (a,b)` matches namespace shop",
            ),
            (
                rules("team,team!=a", ""),
                pod("", ""),
                shop(),
                false,
                "namespace-selector: the labels of namespace shop do not match `team!=a`",
            ),
            (
                rules("", "tier=web"),
                pod("tier=api", ""),
                shop(),
                false,
                "pod-selector: the pod's labels do not match `tier=web`",
            ),
            (rules("", "tier"), pod("tier=api", ""), shop(), true, "pod-selector `tier` matches"),
            (
                rules("team", "tier"),
                pod("tier=api", ""),
                shop(),
                true,
                "namespace-selector `team` and pod-selector `tier` match",
            ),
        ] {
            assert_eq!(rules.decide(&pod, &namespace), Decision { traced, rule: rule.into() });
        }
    }

    #[test]
    fn the_receivers_namespace() {
        for (host, expected) in [
            ("jaeger.observability", Some("observability")),
            ("jaeger.observability.svc", Some("observability")),
            ("jaeger.observability.svc.cluster.local.", Some("observability")),
            ("jaeger", None),
            ("otlp.vendor.example", None),
            ("10.0.0.1", None),
            ("::1", None),
            ("", None),
            (".x", None),
        ] {
            assert_eq!(namespace_of(host), expected, "{host}");
        }
    }

    #[test]
    fn annotations_that_are_kept() {
        let rules = Rules {
            chosen: Chosen { pod_annotations: Globs::of(&["note*"]), ..Chosen::default() },
            ..Rules::default()
        };
        let kept = rules.kept();
        for (key, expected) in
            [(TRACE, true), ("resource.opentelemetry.io/a", true), ("notes", true), ("big", false)]
        {
            assert_eq!(kept.of_pod(key), expected, "{key}");
        }
        assert!(!kept.of_namespace("notes"));
        assert_ne!(kept, Kept::default());
    }
}
