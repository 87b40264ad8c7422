//! The chart makes what `deploy/sockspan.yaml` has, its values are checked, and the `opt-in` overlay is one line away.
//!
//! In: `deploy/`. Out: a verdict for each check.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{Count, Verdict};
use crate::{tools::helm, ui, workspace};

/// Values that the schema has to refuse.
const REFUSED: [&str; 8] = [
    "unknown=1",
    "image.unknown=x",
    "namespaceSelector=1",
    "otlp.endpoint=jaeger:4317",
    "sampler=sometimes",
    "instrumented=sometimes",
    "otel.UNKNOWN=x",
    "extraCapabilities={CAP_SYS_ADMIN}",
];
/// What only the chart has: it restarts the agents when what they read at their start changes.
const CHECKSUM: &str = "/spec/template/metadata/annotations";

type Objects = BTreeMap<String, Value>;

/// All of them.
pub fn chart() -> Result<Verdict> {
    let helm = helm::ensure()?;
    let deploy = workspace::root().join("deploy");
    let chart = deploy.join("helm/sockspan");
    let checks: [(&str, Result<()>); 4] = [
        ("the chart's default objects are the manifest's", same(&helm, &chart, &deploy)),
        ("the chart's values reach the settings", settings(&helm, &chart)),
        ("the chart's schema refuses what it should", schema(&helm, &chart)),
        ("the overlay opt-in is one line away from the base", opt_in(&deploy.join("kustomize"))),
    ];
    let mut count = Count::default();
    for (what, outcome) in checks {
        match outcome {
            Ok(()) => count.passed += 1,
            Err(error) => {
                ui::error(&error.context(what));
                count.failed += 1;
            }
        }
    }
    Ok(Verdict::Ran(count))
}

fn same(helm: &Path, chart: &Path, deploy: &Path) -> Result<()> {
    let mut manifest = objects(&fs::read_to_string(deploy.join("sockspan.yaml"))?)?;
    // Helm makes the namespace itself, if asked to.
    manifest.remove("Namespace/sockspan").context("the manifest has no namespace")?;
    let rendered = objects(&helm::template(helm, chart, &[])?)?;
    let names = |objects: &Objects| objects.keys().cloned().collect::<Vec<_>>();
    if names(&manifest) != names(&rendered) {
        bail!("the manifest has {:?}, the chart {:?}", names(&manifest), names(&rendered));
    }
    for (name, object) in &manifest {
        let other = &rendered[name];
        if object != other {
            bail!("{name} differs:\nmanifest: {object}\nchart:    {other}");
        }
    }
    Ok(())
}

fn settings(helm: &Path, chart: &Path) -> Result<()> {
    let values =
        ["namespaceSelector=sockspan.io/trace=enabled", "settings.no-uprobes=true", "samplerArg=0.1"];
    let rendered = objects(&helm::template(helm, chart, &values)?)?;
    let file = &rendered.get("ConfigMap/sockspan").context("no ConfigMap")?["data"]["sockspan.yaml"];
    let found = (&file["namespace-selector"], &file["no-uprobes"], &file["otel"]["OTEL_TRACES_SAMPLER_ARG"]);
    if found != (&"sockspan.io/trace=enabled".into(), &true.into(), &"0.1".into()) {
        bail!("the settings are {file}");
    }
    Ok(())
}

fn schema(helm: &Path, chart: &Path) -> Result<()> {
    for value in REFUSED {
        let Err(error) = helm::template(helm, chart, &[value]) else { bail!("--set {value} was taken") };
        // A chart that can't be rendered at all would refuse everything.
        if !error.to_string().contains("schema") {
            bail!("--set {value} failed for another reason: {error}");
        }
    }
    Ok(())
}

fn opt_in(kustomize: &Path) -> Result<()> {
    let base = fs::read_to_string(kustomize.join("base/configmap.yaml"))?;
    let overlay = fs::read_to_string(kustomize.join("overlays/opt-in/configmap.yaml"))?;
    let differing: Vec<_> = base.lines().zip(overlay.lines()).filter(|(a, b)| a != b).collect();
    let expected = ("    namespace-selector: \"\"", "    namespace-selector: sockspan.io/trace=enabled");
    if base.lines().count() != overlay.lines().count() || differing != [expected] {
        bail!("these lines differ: {differing:?}");
    }
    Ok(())
}

/// The objects of a YAML file by kind and name, the settings file inside the ConfigMap as what it means.
fn objects(yaml: &str) -> Result<Objects> {
    let mut objects = Objects::new();
    for document in yaml.split("\n---\n").map(|text| text.trim_start_matches("---\n")) {
        let mut object: Value =
            serde_saphyr::from_str(document).with_context(|| format!("not YAML:\n{document}"))?;
        let text =
            |value: &Value| value.as_str().map(str::to_owned).context("an object without kind or name");
        let name = format!("{}/{}", text(&object["kind"])?, text(&object["metadata"]["name"])?);
        if let Some(file) = object.pointer_mut("/data/sockspan.yaml") {
            *file = serde_saphyr::from_str(file.as_str().unwrap_or_default())?;
        }
        if let Some(Value::Object(annotations)) = object.pointer_mut(CHECKSUM) {
            annotations.remove("checksum/restart");
        }
        if objects.insert(name.clone(), object).is_some() {
            bail!("{name} is there twice");
        }
    }
    Ok(objects)
}
