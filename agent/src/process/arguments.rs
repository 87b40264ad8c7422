//! What an interpreter was told to run: its command line read as the interpreter reads it, up to the program's name.

/// An executable that runs programs written in a language, known by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interpreter {
    Node,
    Python,
    Java,
    Ruby,
    Php,
    Dotnet,
}

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    /// A file (Ruby, Node, PHP, Python), a jar or an assembly, with the arguments after it.
    File(&'a str, &'a [String]),
    /// A Python module, dotted, with the arguments after it.
    Module(&'a str, &'a [String]),
    /// A Java class, dotted.
    Class(&'a str),
}

/// Node's options whose value may be the next argument.
const NODE: [&str; 17] = [
    "-C",
    "--conditions",
    "--diagnostic-dir",
    "--env-file",
    "--env-file-if-exists",
    "--experimental-loader",
    "--icu-data-dir",
    "--import",
    "--input-type",
    "--inspect-port",
    "--loader",
    "--openssl-config",
    "-r",
    "--require",
    "--title",
    "--trace-event-categories",
    "--watch-path",
];
/// The java launcher's options whose value is the next argument.
const JAVA: [&str; 15] = [
    "-cp",
    "-classpath",
    "--class-path",
    "-p",
    "--module-path",
    "--upgrade-module-path",
    "--add-modules",
    "--add-exports",
    "--add-opens",
    "--add-reads",
    "--enable-native-access",
    "--limit-modules",
    "--patch-module",
    "--source",
    "--finalization",
];
const RUBY: [&str; 4] = ["-C", "-E", "-I", "-r"];
const PHP: [&str; 6] = ["-c", "-d", "-S", "-t", "-z", "--define"];
const DOTNET: [&str; 5] =
    ["--additionalprobingpath", "--depsfile", "--runtimeconfig", "--fx-version", "--roll-forward"];

/// The interpreter whose executable has this base name.
pub(super) fn interpreter(executable: &str) -> Option<Interpreter> {
    // python3.11, ruby3.1, php8.2, php-fpm8.2, python3.13t
    let stem = executable.split(|c: char| c.is_ascii_digit()).next().unwrap_or_default();
    match stem {
        "node" | "nodejs" if stem == executable => Some(Interpreter::Node),
        "python" | "pypy" => Some(Interpreter::Python),
        "java" => Some(Interpreter::Java),
        "ruby" => Some(Interpreter::Ruby),
        "php" | "php-fpm" => Some(Interpreter::Php),
        "dotnet" => Some(Interpreter::Dotnet),
        _ => None,
    }
}

/// What `interpreter` runs, given its arguments without the zeroth; `None` for a shell of the language, code on the
/// command line, or what is not understood.
pub(super) fn entry(interpreter: Interpreter, arguments: &[String]) -> Option<Entry<'_>> {
    match interpreter {
        Interpreter::Python => python(arguments),
        Interpreter::Java => java(arguments),
        Interpreter::Node => {
            file(arguments, &NODE, &["-e", "--eval", "-p", "--print", "-pe", "--run", "--test"])
        }
        Interpreter::Ruby => file(arguments, &RUBY, &["-e"]),
        Interpreter::Php => match file(arguments, &PHP, &["-r", "-B", "-E", "-R"])? {
            Entry::File("-f" | "--file", rest) => rest.split_first().map(|(f, rest)| Entry::File(f, rest)),
            entry => Some(entry),
        },
        Interpreter::Dotnet => match file(arguments, &DOTNET, &[])? {
            Entry::File("exec", rest) => file(rest, &DOTNET, &[]),
            entry => Some(entry),
        }
        .filter(|entry| matches!(entry, Entry::File(file, _) if file.ends_with(".dll"))),
    }
}

/// The first argument that is neither an option nor an option's value. `inline` are the options that mean there is none.
fn file<'a>(arguments: &'a [String], valued: &[&str], inline: &[&str]) -> Option<Entry<'a>> {
    let mut rest = arguments;
    while let Some((first, tail)) = rest.split_first() {
        let first = first.as_str();
        if inline.contains(&first) {
            return None;
        }
        rest = match first {
            "--" => return tail.split_first().map(|(f, rest)| Entry::File(f, rest)),
            "-f" | "--file" if valued == PHP => return Some(Entry::File(first, tail)),
            _ if valued.contains(&first) => tail.get(1..)?,
            _ if first.starts_with('-') && first != "-" => tail,
            _ => return Some(Entry::File(first, tail)),
        };
    }
    None
}

/// Python's short options can be written together (`-um flask`), and `-m` and `-c` end them.
fn python(arguments: &[String]) -> Option<Entry<'_>> {
    let mut rest = arguments;
    while let Some((first, tail)) = rest.split_first() {
        let Some(letters) = first.strip_prefix('-').filter(|l| !l.is_empty()) else {
            return Some(Entry::File(first, tail));
        };
        rest = match letters.find(['m', 'c', 'W', 'X']).filter(|_| !letters.starts_with('-')) {
            None if first == "--check-hash-based-pycs" => tail.get(1..)?,
            None => tail,
            Some(at) => {
                let (letter, attached) = (letters.get(at..=at)?, letters.get(at + 1..)?);
                let (value, after) = if attached.is_empty() {
                    tail.split_first().map(|(v, after)| (v.as_str(), after))?
                } else {
                    (attached, tail)
                };
                match letter {
                    "m" => return Some(Entry::Module(value, after)),
                    "c" => return None,
                    _ => after,
                }
            }
        };
    }
    None
}

fn java(arguments: &[String]) -> Option<Entry<'_>> {
    let mut rest = arguments;
    while let Some((first, tail)) = rest.split_first() {
        rest = match first.as_str() {
            "-jar" => return tail.split_first().map(|(jar, rest)| Entry::File(jar, rest)),
            "-m" | "--module" => return tail.first().and_then(|m| module(m)),
            option if JAVA.contains(&option) => tail.get(1..)?,
            option if option.starts_with("--module=") => return module(option.split_once('=')?.1),
            // @file holds more arguments, which are not read.
            option if option.starts_with(['-', '@']) => tail,
            source if source.ends_with(".java") => return Some(Entry::File(source, tail)),
            class => return Some(Entry::Class(class)),
        };
    }
    None
}

/// `module/class`, or a module that knows its class.
fn module(text: &str) -> Option<Entry<'_>> {
    text.rsplit('/').next().map(Entry::Class)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(interpreter: Interpreter, line: &str) -> Option<String> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        entry(interpreter, &arguments).map(|entry| match entry {
            Entry::File(name, rest) => format!("file {name} {}", rest.join(" ")).trim_end().to_owned(),
            Entry::Module(name, rest) => format!("module {name} {}", rest.join(" ")).trim_end().to_owned(),
            Entry::Class(name) => format!("class {name}"),
        })
    }

    #[test]
    fn interpreters_by_name() {
        for (name, expected) in [
            ("node", Some(Interpreter::Node)),
            ("node_exporter", None),
            ("python3.13t", Some(Interpreter::Python)),
            ("pythonic", None),
            ("java", Some(Interpreter::Java)),
            ("javac", None),
            ("php-fpm8.2", Some(Interpreter::Php)),
            ("", None),
        ] {
            assert_eq!(interpreter(name), expected, "{name}");
        }
    }

    #[test]
    fn python_command_lines() {
        let run = |line| run(Interpreter::Python, line);
        assert_eq!(run("app.py --debug").unwrap(), "file app.py --debug");
        assert_eq!(run("-u -W ignore -Xdev shop/main.py").unwrap(), "file shop/main.py");
        assert_eq!(run("-um flask --app x run").unwrap(), "module flask --app x run");
        assert_eq!(run("-mflask run").unwrap(), "module flask run");
        assert_eq!(run("--check-hash-based-pycs never a.py").unwrap(), "file a.py");
        for none in ["", "-c code a.py", "-i", "-m", "-W"] {
            assert_eq!(run(none), None, "{none}");
        }
    }

    #[test]
    fn node_ruby_php_and_dotnet_command_lines() {
        let node = |line| run(Interpreter::Node, line);
        assert_eq!(node("--require ./x.js --max-old-space-size=64 app.js -p 1").unwrap(), "file app.js -p 1");
        assert_eq!(node("-r dotenv/config -- server.js").unwrap(), "file server.js");
        assert_eq!(node("-e 1"), None);
        assert_eq!(node("--require"), None);
        assert_eq!(run(Interpreter::Ruby, "-I lib -rjson app.rb").unwrap(), "file app.rb");
        assert_eq!(run(Interpreter::Php, "-S 0.0.0.0:80 -t public router.php").unwrap(), "file router.php");
        assert_eq!(run(Interpreter::Php, "-d a=b -f x.php y").unwrap(), "file x.php y");
        assert_eq!(run(Interpreter::Dotnet, "exec --depsfile a Shop.dll").unwrap(), "file Shop.dll");
        assert_eq!(run(Interpreter::Dotnet, "run --project Shop"), None);
    }

    #[test]
    fn java_command_lines() {
        let java = |line| run(Interpreter::Java, line);
        assert_eq!(java("-Xmx1g -jar a.jar --x").unwrap(), "file a.jar --x");
        assert_eq!(java("-cp a:b -Dx=y com.acme.Shop z").unwrap(), "class com.acme.Shop");
        assert_eq!(java("--add-opens a/b=c @args -m shop/com.acme.Main").unwrap(), "class com.acme.Main");
        assert_eq!(java("--module=shop/com.acme.Main").unwrap(), "class com.acme.Main");
        assert_eq!(java("Shop.java").unwrap(), "file Shop.java");
        assert_eq!(java("-version"), None);
        assert_eq!(java("-jar"), None);
    }
}
