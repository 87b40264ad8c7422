//! Which images there are, and what is in each.
//!
//! In: the programs that are built or installed here. Out: [`Set`]s, each under the names that manifests use.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{Image, Layer, Set, Source};
use crate::{
    build::{self, Profile},
    cache,
    k8s::binaries::{COREDNS, PAUSE, Programs},
    process,
    tools::{self, apt, jaeger, java, native, node, python},
    tree::Tree,
    workspace,
};

/// The collector's released image, of the time of our Jaeger; manifests may name other versions.
const COLLECTOR: &str = "docker.io/otel/opentelemetry-collector-contrib";
const COLLECTOR_VERSION: &str = "0.140.1";
/// The user that the released images of Jaeger and the collector run as.
const BACKEND_USER: &str = "10001:10001";
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What the cluster itself needs.
pub fn system(programs: &Programs) -> Result<Set> {
    let pause = single(&pause_name(), &programs.pause, "/pause")?;
    let coredns = single(&coredns_name(), &programs.coredns, "/coredns")?;
    Ok(Set { kind: "system", images: vec![pause, coredns] })
}

/// The image that holds a pod's namespaces.
pub fn pause_name() -> String {
    format!("registry.k8s.io/pause:{PAUSE}")
}

fn coredns_name() -> String {
    format!("registry.k8s.io/coredns/coredns:{COREDNS}")
}

/// All others: the agent, the sample, Jaeger and the collector, tools for tests.
pub fn all() -> Result<Vec<Set>> {
    let sample = workspace::root().join("deploy/e-commerce");
    Ok(vec![
        agent()?,
        frontend(&sample.join("frontend"))?,
        product(&sample.join("product"))?,
        order(&sample.join("order"))?,
        backends()?,
        test_tools()?,
    ])
}

/// What making [`all`] would install or build, a line each.
pub fn missing() -> Vec<String> {
    let busybox = process::which("busybox").is_none().then(|| "a shell: Debian's busybox-static".to_owned());
    tools::missing(false).into_iter().chain(jaeger::unbuilt()).chain(busybox).collect()
}

/// `docker.io/library/NAME` with our version and as the latest.
fn ours(name: &str) -> Vec<String> {
    [env!("CARGO_PKG_VERSION"), "latest"].map(|tag| format!("docker.io/library/{name}:{tag}")).into()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// One program alone.
fn single(name: &str, program: &Path, path: &str) -> Result<Image> {
    let mut image = Image::new(&[name.to_owned()], &[path]);
    image.layers = vec![layer(&[(program, path)])?];
    Ok(image)
}

/// Files with the libraries that they need.
fn layer(files: &[(&Path, &str)]) -> Result<Layer> {
    let mut tree = Tree::default();
    for (host, path) in files {
        tree.add(host, Path::new(path))?;
    }
    tree.add_libraries()?;
    let mut layer = Layer::default();
    layer.tree(&tree)?;
    Ok(layer)
}

/// With what a program on glibc needs to find names and trust servers.
fn base() -> Layer {
    let mut base = Layer::base();
    if Path::new(CERTIFICATES).is_file() {
        base.0.insert(CERTIFICATES.into(), Source::File(CERTIFICATES.into()));
    }
    base
}

fn agent() -> Result<Set> {
    const PROGRAM: &str = "/usr/local/bin/sockspan";
    let program = build::all(Profile::Release)?;
    let mut image = Image::new(&ours("sockspan"), &[PROGRAM]);
    image.layers = vec![base(), layer(&[(&program, PROGRAM)])?];
    image.ports = vec![7625];
    Ok(Set { kind: "sockspan", images: vec![image] })
}

fn service(kind: &'static str, entrypoint: &[&str], layers: Vec<Layer>) -> Set {
    let mut image = Image::new(&ours(kind), entrypoint);
    image.layers = layers;
    image.folder = "/app".to_owned();
    image.ports = vec![8080];
    Set { kind, images: vec![image] }
}

fn frontend(source: &Path) -> Result<Set> {
    const NODE: &str = "/usr/local/bin/node";
    let app = node::prepare(source)?;
    let mut files = Tree::default();
    files.add(&app, Path::new("/app"))?;
    files.leave_out(|path| path.file_name().is_some_and(|name| name == ".complete"));
    let mut top = Layer::default();
    top.tree(&files)?;
    let layers = vec![base(), layer(&[(&node::interpreter()?, NODE)])?, top];
    Ok(service("sockspan-frontend", &["node", "app.js"], layers))
}

fn product(source: &Path) -> Result<Set> {
    let parts = python::parts(&python::prepare(source)?)?;
    let program = Path::new("/usr/local/bin").join(parts.program.file_name().unwrap_or_default());
    let mut runtime = Tree::default();
    runtime.add(&parts.program, &program)?;
    // Python finds its library by its own place.
    let library = Path::new("/usr/local/lib").join(parts.library.file_name().unwrap_or_default());
    for part in &parts.library_parts {
        runtime.add(part, &library.join(part.file_name().unwrap_or_default()))?;
    }
    runtime.add(&parts.packages, Path::new("/app/packages"))?;
    runtime.add_libraries()?;
    let mut bottom = Layer::default();
    bottom.tree(&runtime)?;
    bottom.link("/usr/local/bin/python", &text(&program));
    let top = layer(&[(&source.join("app.py"), "/app/app.py")])?;
    let mut set = service("sockspan-product", &["python", "app.py"], vec![base(), bottom, top]);
    for image in &mut set.images {
        image.environment.extend(["PYTHONPATH=/app/packages", "PYTHONUNBUFFERED=1"].map(str::to_owned));
    }
    Ok(set)
}

fn order(source: &Path) -> Result<Set> {
    /// What only a compiler or a reader needs.
    const LEFT_OUT: [&str; 8] =
        ["jmods", "src.zip", "include", "man", "demo", "legal", "lib/ct.sym", "lib/src.zip"];
    let jar = java::prepare(source)?;
    let java = java::machine()?.canonicalize()?;
    let home = java.ancestors().nth(2).context("java is not in a folder of its own")?.to_owned();
    let mut runtime = Tree::default();
    runtime.add(&home, &home)?;
    runtime.leave_out(|path| LEFT_OUT.iter().any(|part| path.starts_with(home.join(part))));
    runtime.add_libraries()?;
    let mut bottom = Layer::default();
    bottom.tree(&runtime)?;
    let top = layer(&[(&jar, "/app/order.jar")])?;
    Ok(service("sockspan-order", &[&text(&java), "-jar", "order.jar"], vec![base(), bottom, top]))
}

/// Jaeger, and once more under the collector's name: its program carries the receiver, the processors and the exporter
/// that our collector's configuration uses (otlp, batch, `tail_sampling`), and reads the same configuration.
fn backends() -> Result<Set> {
    const PATHS: [&str; 2] = ["/cmd/jaeger/jaeger-linux", "/otelcol-contrib"];
    let mut files = base();
    files.0.append(&mut layer(&[(&jaeger::build()?, PATHS[0])])?.0);
    files.link(PATHS[1], PATHS[0]);
    let image = |names: Vec<String>, path: &str| {
        let mut image = Image::new(&names, &[path]);
        image.layers = vec![files.clone()];
        image.user = BACKEND_USER.to_owned();
        // As in the released image: without a configuration Jaeger listens for the whole pod.
        image.environment.push("JAEGER_LISTEN_HOST=0.0.0.0".to_owned());
        image.ports = vec![4317, 4318];
        image
    };
    let (repository, version) = jaeger::IMAGE.rsplit_once(':').context("Jaeger's image has no tag")?;
    let images = vec![
        image(named(repository, version)?, PATHS[0]),
        image(named(COLLECTOR, COLLECTOR_VERSION)?, PATHS[1]),
    ];
    Ok(Set { kind: "jaeger", images })
}

/// A shell with the usual commands, and the tests' small programs.
fn test_tools() -> Result<Set> {
    const BUSYBOX: &str = "/usr/bin/busybox";
    apt::ensure(&["busybox-static"], "busybox")?;
    let busybox = process::which("busybox").context("busybox is missing")?;
    let names = process::output(std::process::Command::new(&busybox).arg("--list"));
    let mut top = layer(&[(&busybox, BUSYBOX)])?;
    for name in names.context("busybox does not run")?.lines().filter(|name| *name != "busybox") {
        top.link(&format!("/usr/bin/{name}"), "busybox");
    }
    for program in cache::files(&native::prepare(&workspace::root().join("tests/programs"))?)? {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            top.0.insert(Path::new("/usr/local/bin").join(name), Source::File(program));
        }
    }
    let mut image = Image::new(&ours("sockspan-test-tools"), &[]);
    image.arguments = vec!["/bin/sh".to_owned()];
    image.layers = vec![base(), top];
    Ok(Set { kind: "sockspan-test-tools", images: vec![image] })
}

/// The image of `repository` under its `version` and every other that a manifest in `deploy` asks for.
fn named(repository: &str, version: &str) -> Result<Vec<String>> {
    let mut names = BTreeSet::from([format!("{repository}:{version}")]);
    let yaml = |path: &PathBuf| path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "tpl");
    for file in cache::files(&workspace::root().join("deploy"))?.into_iter().filter(yaml) {
        names.extend(references(&fs::read_to_string(&file).unwrap_or_default(), repository));
    }
    Ok(names.into_iter().collect())
}

/// The references to `repository` in a manifest; without a registry, docker.io is meant.
fn references(text: &str, repository: &str) -> Vec<String> {
    let short = repository.strip_prefix("docker.io/").unwrap_or(repository);
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '{' | '}'));
    let tags = words.filter_map(|word| {
        let word = word.strip_prefix("docker.io/").unwrap_or(word);
        word.strip_prefix(short)?.strip_prefix(':').filter(|tag| !tag.is_empty())
    });
    tags.map(|tag| format!("{repository}:{tag}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_manifests_name_are_found() {
        let text = "image: docker.io/jaegertracing/jaeger:2.13.0\nimage: \"jaegertracing/jaeger:2.14.0\"\n\
            - {image: jaegertracing/jaeger:2.15.0, name: x}\nimage: example/jaegertracing/jaeger:1\n";
        let found = references(text, "docker.io/jaegertracing/jaeger");
        let expected =
            ["2.13.0", "2.14.0", "2.15.0"].map(|tag| format!("docker.io/jaegertracing/jaeger:{tag}"));
        assert_eq!(found, expected);
    }
}
