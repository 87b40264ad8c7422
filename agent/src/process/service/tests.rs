//! Command lines, and the names that services have by them.

use proptest::prelude::*;

use super::*;
use crate::process::{Environment, fixture::Fixture};

/// The process that runs this command line in this directory.
fn process(line: &str, directory: &str) -> Process {
    let fixture = Fixture::new();
    fixture.process(5, &line.split(' ').collect::<Vec<_>>(), directory);
    fixture.procfs().process(5).unwrap()
}

fn name(line: &str, directory: &str) -> String {
    service_name(&process(line, directory), None)
}

#[test]
fn the_environment_comes_first() {
    let mut shop = process("/usr/bin/node shop.js", "/srv");
    shop.environment = Environment {
        service_name: Some(" orders ".into()),
        resource_attributes: Some("service.name=other".into()),
        flask_app: None,
        ..Environment::default()
    };
    assert_eq!(service_name(&shop, None), "orders");
    shop.environment.service_name = None;
    assert_eq!(service_name(&shop, None), "other");
    for unusable in ["service.name=%zz", "a=b", "service.name=", "service.name=%20"] {
        shop.environment.resource_attributes = Some(unusable.into());
        assert_eq!(service_name(&shop, None), "shop", "{unusable}");
    }
}

#[test]
fn scripts() {
    for (line, directory, expected) in [
        ("/usr/bin/node shop.js", "/srv", "shop"),
        ("/usr/bin/node app.js", "/srv/frontend", "frontend"),
        ("/usr/bin/node dist/main.js", "/srv/frontend", "frontend"),
        ("/usr/bin/node /app/server.js", "/", "app"),
        ("/usr/bin/node /server.js", "/", "server"),
        ("/usr/bin/node .", "/srv/frontend", "frontend"),
        ("/usr/bin/node ../cart/src/index.mjs", "/srv/frontend", "cart"),
        ("/usr/bin/python3.11 manage.py runserver", "/srv/shop", "shop"),
        ("/usr/bin/python3.11 /srv/product/app.py", "/", "product"),
        ("/usr/bin/php artisan serve", "/srv/shop", "shop"),
        ("/usr/bin/ruby3.1 /usr/local/bin/puma -p 1", "/srv/shop", "shop"),
        ("/usr/bin/ruby3.1 clock.rb", "/srv/shop", "clock"),
        ("/usr/bin/dotnet /srv/Shop.Api.dll", "/", "Shop.Api"),
        ("/usr/bin/node", "/srv", "node"),
        ("/usr/bin/python3.11 -c pass", "/srv", "python3.11"),
        ("/usr/sbin/php-fpm8.2 --fpm-config /etc/x.conf", "/", "php-fpm8.2"),
        ("/usr/sbin/nginx -g x", "/srv", "nginx"),
    ] {
        assert_eq!(name(line, directory), expected, "{line}");
    }
}

#[test]
fn python_applications() {
    let python = |arguments: &str| name(&format!("/usr/bin/python3.11 {arguments}"), "/srv/product");
    for (arguments, expected) in [
        ("-m flask --app shop run", "shop"),
        ("-m flask --app=shop/cart.py:create_app run", "cart"),
        ("-m flask --app app run --port 5000", "product"),
        ("-m flask run", "product"),
        ("/venv/bin/flask -A cart run", "cart"),
        ("/venv/bin/gunicorn -w 4 -b 0.0.0.0:80 app:app", "product"),
        ("/venv/bin/gunicorn -k uvicorn.workers.UvicornWorker cart.main:app -b localhost:80", "cart"),
        ("/venv/bin/gunicorn --bind unix:app.sock cart.wsgi", "cart"),
        ("-m gunicorn.app.wsgiapp cart:create_app()", "cart"),
        ("-m uvicorn orders:app --reload", "orders"),
        ("/venv/bin/uvicorn main:app --host 0.0.0.0", "product"),
        ("/venv/bin/fastapi run cart.py", "cart"),
        ("/venv/bin/hypercorn", "product"),
        ("-m orders.__main__", "orders"),
        ("-m orders", "orders"),
    ] {
        assert_eq!(python(arguments), expected, "{arguments}");
    }
    let mut flask = process("/usr/bin/python3.11 -m flask run", "/srv/product");
    flask.environment.flask_app = Some("shop.web:app".into());
    assert_eq!(service_name(&flask, None), "web");
    let mut worker = process("/usr/bin/python3.11", "/srv/product");
    worker.arguments = vec!["gunicorn: worker [cart.wsgi:app]".into()];
    assert_eq!(service_name(&worker, None), "cart");
}

#[test]
fn workers_of_multiprocessing_are_their_parents_service() {
    let parent = process("/usr/bin/python3.11 -m uvicorn orders:app --workers 4", "/srv");
    let mut worker = process("/usr/bin/python3.11", "/srv");
    worker.arguments = ["python", "-c", "from multiprocessing.spawn import spawn_main; spawn_main()"]
        .map(String::from)
        .into();
    assert_eq!(service_name(&worker, Some(&parent)), "orders");
    assert_eq!(service_name(&worker, None), "python3.11");
    worker.arguments = ["python", "-c", "pass"].map(String::from).into();
    assert_eq!(service_name(&worker, Some(&parent)), "python3.11");
}

#[test]
fn java_programs() {
    let java = |arguments: &str| name(&format!("/usr/lib/jvm/17/bin/java {arguments}"), "/srv/order");
    for (arguments, expected) in [
        ("-jar target/order-service-0.0.1-SNAPSHOT.jar", "order-service"),
        ("-jar /opt/cart/lib/app.jar", "cart"),
        ("-jar /opt/cart/lib/app-1.0.jar", "cart"),
        ("-cp x com.acme.order.OrderApplication", "OrderApplication"),
        ("-cp x com.acme.order.MainKt", "order"),
        ("-cp x Main", "order"),
        ("-cp x org.springframework.boot.loader.launch.JarLauncher", "order"),
        ("-m shop/com.acme.Cart", "Cart"),
        ("-version", "java"),
    ] {
        assert_eq!(java(arguments), expected, "{arguments}");
    }
}

#[test]
fn versions_of_jars() {
    for (jar, expected) in
        [("a/b-c-1.2.jar", "a/b-c"), ("a-2/b.jar", "a-2/b.jar"), ("-1.jar", "-1.jar"), ("b-x.jar", "b-x.jar")]
    {
        assert_eq!(without_version(jar), expected);
    }
}

#[test]
fn without_an_executable_the_thread_names_it() {
    let mut process = process("/usr/bin/x", "/");
    process.executable = None;
    assert_eq!(service_name(&process, None), "x");
    process.comm = "\u{1}".into();
    assert_eq!(service_name(&process, None), "unknown_service");
    process.comm = "é".repeat(300);
    assert_eq!(service_name(&process, None).len(), 254);
}

proptest! {
    #[test]
    fn any_command_line_gives_a_name(
        exe in prop::sample::select(vec!["python3", "node", "java", "php", "ruby", "dotnet", "x"]),
        arguments in prop::collection::vec("(-[mcfreWjp]|--app|flask|/?[.:/a-zé@=*-]{0,12})", 0..5),
        directory in "(/[a-z]{0,3}){0,3}",
    ) {
        let mut process = process("/bin/x", "/");
        process.executable = Some(format!("/bin/{exe}").into());
        process.arguments = [vec![exe.to_owned()], arguments].concat();
        process.directory = Some(directory.into());
        let name = service_name(&process, None);
        prop_assert!(!name.is_empty() && name.len() <= MAX_NAME);
    }
}
