//! Whether a process loads an OpenTelemetry tracer at its start: what its arguments and environment say.
//!
//! In: a process and its runtime. Out: what loads the tracer, in words; `None` where nothing does, or where the tracer is
//! told to send nothing. What an application sets up in its own code does not show here.

use super::{Process, Runtime};

/// What loads the tracer of `process`.
pub fn instrumentation(process: &Process, runtime: &Runtime) -> Option<String> {
    let loads = &process.environment.loads;
    if loads.is_off || process.arguments.iter().any(|argument| is_off(argument)) {
        return None;
    }
    let own = process.arguments.iter().map(String::as_str);
    let found = match runtime {
        Runtime::Java => own.chain(words(&loads.java)).find_map(java_agent),
        Runtime::Node { .. } => {
            let own: Vec<&str> = own.collect();
            let set: Vec<&str> = words(&loads.node).collect();
            node_module(&own).or_else(|| node_module(&set))
        }
        Runtime::Python { .. } => {
            let launcher = own.filter(|a| a.rsplit('/').next() == Some("opentelemetry-instrument"));
            launcher.chain(loads.python.split(':').filter(|path| is_python_path(path))).next()
        }
        Runtime::Dotnet => {
            loads.dotnet.split(':').find(|hook| hook.contains("OpenTelemetry.AutoInstrumentation"))
        }
        Runtime::Ruby => words(&loads.ruby).find(|word| word.contains("opentelemetry")),
        Runtime::Go | Runtime::Php | Runtime::Native => None,
    };
    found.map(|found| format!("{found} traces it"))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace()
}

/// A Java property that keeps the agent from sending spans.
fn is_off(argument: &str) -> bool {
    let off = ["-Dotel.sdk.disabled=true", "-Dotel.javaagent.enabled=false", "-Dotel.traces.exporter=none"];
    off.contains(&argument)
}

/// The file of `-javaagent:/x/opentelemetry-javaagent.jar`, or of what distributions make of it, without its options.
fn java_agent(word: &str) -> Option<&str> {
    let path = word.strip_prefix("-javaagent:")?.split('=').next()?;
    (path.contains("opentelemetry") || path.contains("otel")).then_some(path)
}

/// A module that Node loads before the program.
fn node_module<'a>(words: &[&'a str]) -> Option<&'a str> {
    const FLAGS: [&str; 5] = ["-r", "--require", "--import", "--loader", "--experimental-loader"];
    let is_tracer =
        |module: &&str| module.contains("opentelemetry") || module.contains("otel-auto-instrumentation");
    let joined = words.iter().filter_map(|word| {
        let (flag, module) = word.split_once('=')?;
        FLAGS.contains(&flag).then_some(module)
    });
    let apart = words.windows(2).filter_map(|pair| match pair {
        [flag, module] if FLAGS.contains(flag) => Some(*module),
        _ => None,
    });
    joined.chain(apart).find(is_tracer)
}

/// The folder by which Python loads the tracer before the program.
fn is_python_path(path: &str) -> bool {
    path.trim_end_matches('/').ends_with("opentelemetry/instrumentation/auto_instrumentation")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::fixture::Fixture;

    const NODE: Runtime = Runtime::Node { library: None };
    const PYTHON: Runtime = Runtime::Python { asyncio: false, greenlet: false, gevent: false, uvloop: false };

    fn found(runtime: &Runtime, arguments: &[&str], environment: &[&str]) -> Option<String> {
        let fixture = Fixture::new();
        fixture.process(7, arguments, "/");
        fixture.write(7, "environ", environment.join("\0").as_bytes());
        instrumentation(&fixture.procfs().process(7).unwrap(), runtime)
    }

    #[test]
    fn what_is_loaded_before_the_program_shows() {
        let path = "PYTHONPATH=/app:/x/site-packages/opentelemetry/instrumentation/auto_instrumentation:/y";
        for (runtime, arguments, environment) in [
            (
                &Runtime::Java,
                vec!["java", "-javaagent:/x/opentelemetry-javaagent.jar=a=b", "-jar", "a.jar"],
                "",
            ),
            (
                &Runtime::Java,
                vec!["java"],
                "JAVA_TOOL_OPTIONS=-Xmx1g -javaagent:/otel-auto-instrumentation-java/javaagent.jar",
            ),
            (&Runtime::Java, vec!["java"], "JDK_JAVA_OPTIONS=-javaagent:/x/splunk-otel-javaagent.jar"),
            (
                &NODE,
                vec!["node", "app.js"],
                "NODE_OPTIONS=--require @opentelemetry/auto-instrumentations-node/register",
            ),
            (
                &NODE,
                vec!["node", "app.js"],
                "NODE_OPTIONS=--require=/otel-auto-instrumentation-nodejs/autoinstrumentation.js",
            ),
            (&NODE, vec!["node", "-r", "@opentelemetry/auto-instrumentations-node/register", "app.js"], ""),
            (&PYTHON, vec!["python", "/v/bin/opentelemetry-instrument", "python", "app.py"], ""),
            (&PYTHON, vec!["python", "app.py"], path),
            (
                &Runtime::Dotnet,
                vec!["dotnet", "a.dll"],
                "DOTNET_STARTUP_HOOKS=/x/OpenTelemetry.AutoInstrumentation.StartupHook.dll",
            ),
            (&Runtime::Ruby, vec!["ruby", "a.rb"], "RUBYOPT=-ropentelemetry-auto-instrumentation"),
        ] {
            let reason = found(runtime, &arguments, &[environment]);
            assert!(reason.is_some(), "{arguments:?} {environment}");
            assert!(!reason.is_some_and(|r| r.contains("=a=b")), "options can hold secrets");
            for off in ["OTEL_SDK_DISABLED=True", "OTEL_TRACES_EXPORTER=none"] {
                assert_eq!(found(runtime, &arguments, &[off, environment]), None, "{arguments:?} {off}");
            }
            assert_eq!(found(&Runtime::Native, &arguments, &[environment]), None, "a shell that starts it");
        }
        let disabled = ["java", "-javaagent:/x/opentelemetry-javaagent.jar", "-Dotel.traces.exporter=none"];
        assert_eq!(found(&Runtime::Java, &disabled, &[]), None);
    }

    #[test]
    fn what_only_names_it_is_no_tracer() {
        for (runtime, arguments, environment) in [
            (&Runtime::Java, vec!["java", "-javaagent:/x/jmx_exporter.jar", "-jar", "opentelemetry.jar"], ""),
            (
                &NODE,
                vec!["node", "opentelemetry.js"],
                "NODE_OPTIONS=--require ./tracing.js --max-old-space-size=99",
            ),
            (&NODE, vec!["node", "app.js"], "OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318"),
            (&PYTHON, vec!["python", "app.py"], "PYTHONPATH=/x/site-packages/opentelemetry"),
        ] {
            assert_eq!(found(runtime, &arguments, &[environment]), None, "{arguments:?} {environment}");
        }
    }
}
