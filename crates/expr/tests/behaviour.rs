//! What a caller relies on: types, undefined and unknown values, laziness, limits.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use debark_expr::{Engine, ErrorKind, LayerKind, Scope, Services, TemplateOptions, Truth};
use debark_value::{Map, Value, from_json, map};

struct Files;

impl Services for Files {
    fn lookup(&self, name: &str, args: &[Value], _: &Map, _: &Scope) -> Result<Value, String> {
        match name {
            "env" => Ok(Value::list(args.to_vec())),
            other => Err(format!("there is no lookup '{other}'")),
        }
    }

    fn hostvars(&self, host: &str) -> Result<Option<Value>, String> {
        Ok((host == "db").then(|| Value::from(map! { "port" => 5432 })))
    }

    fn file(&self, path: &str) -> Result<String, String> {
        match path {
            "base.j2" => Ok("<{% block body %}base{% endblock %}>{% block end %}end{% endblock %}".into()),
            "conf.j2" => Ok(
                "{% if port is defined %}\nport {{ port }}\n{% endif %}\n{{ name }}{{ x | default('') }}\n"
                    .into(),
            ),
            "list.j2" => Ok("[1, {{ port }}]\n".into()),
            "marks.j2" => Ok("[[ name ]] {{ name }}".into()),
            "self.j2" => Ok("{{ lookup('template', 'self.j2') }}".into()),
            "part.j2" => Ok("part of {{ name }}".into()),
            "macros.j2" => Ok("{% macro twice(x) %}{{ once(x) }}{{ once(x) }}{% endmacro %}\
                 {% macro once(x) %}[{{ x }}]{% endmacro %}{% set version = 3 %}"
                .into()),
            other => Err(format!("there is no template '{other}'")),
        }
    }
}

fn engine() -> Engine {
    Engine::new(Arc::new(Files))
}

fn json(text: &str) -> Map {
    match from_json(serde_json::from_str(text).unwrap()) {
        Value::Map(map) => Arc::unwrap_or_clone(map),
        other => panic!("{other:?} is no map"),
    }
}

fn scope() -> Scope {
    let mut scope = Scope::new();
    let templated = r#"{"name": "web", "port": 80, "url": "http://{{ name }}:{{ port }}/", "a": "{{ b }}", "b": "{{ a }}",
        "cfg": {"good": "{{ name }}", "bad": "{{ nowhere }}", "list": ["{{ port }}", 1]}, "inventory_hostname": "w1",
        "db": {"hostname": "h"}, "self_ref": {"x": "{{ self_ref.x }}"}, "deep": "{{ cfg.bad }}"}"#;
    scope.push(Arc::new(json(templated)), LayerKind::Templated);
    let mut facts = json(r#"{"out": {"rc": 0, "stdout": "{{ name }}", "changed": true, "failed": false}}"#);
    facts.insert("later".into(), Value::Unknown("task 'x'".into()));
    facts.insert(
        "partly".into(),
        Value::from(map! { "rc" => Value::Unknown("task 'x'".into()), "known" => 1 }),
    );
    scope.push(Arc::new(facts), LayerKind::Plain);
    scope
}

fn render(text: &str) -> Value {
    engine().render_str(text, &scope()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(text: &str) -> String {
    match engine().render_str(text, &scope()) {
        Err(error) => match error.hint() {
            // What is said of all that is undefined and like nothing that is defined.
            Some(hint) if hint.ends_with("`| default(...)`") => error.to_string(),
            Some(hint) => format!("{error}; {hint}"),
            None => error.to_string(),
        },
        Ok(value) => panic!("{text} gave {value:?}"),
    }
}

#[test]
fn keeps_types() {
    assert_eq!(render("{{ 1 }}"), Value::Int(1));
    assert_eq!(render("{{ port }}"), Value::Int(80));
    assert_eq!(render("{% if port %}{{ [1] }}{% else %}{{ [] }}{% endif %}"), Value::list([1]));
    assert_eq!(render("{{ port }}{{ port }}"), Value::from("8080"));
    assert_eq!(render("[{{ port }}, {{ port }}]"), Value::list([80, 80]));
    assert_eq!(render("{{ '[1]' }}"), Value::from("[1]"));
    assert_eq!(render("{{ none }}"), Value::Null);
    assert_eq!(render("x{{ none }}"), Value::from("x"));
    assert_eq!(render("{{ name }}\n"), Value::from("web\n"));
    assert_eq!(render("{{ port | default(omit) }}"), Value::Int(80));
    assert_eq!(render("{{ gone | default(omit) }}"), Value::Omit);
}

#[test]
fn variables_are_rendered_where_they_are_used() {
    assert_eq!(render("{{ url }}"), Value::from("http://web:80/"));
    assert_eq!(render("{{ cfg.good }}"), Value::from("web"));
    assert_eq!(render("{{ cfg.list }}"), Value::list([80, 1]));
    assert_eq!(render("{{ out.stdout }}"), Value::from("{{ name }}"));
    assert_eq!(error("{{ cfg }}"), "'nowhere' is undefined in variable 'bad'");
    assert_eq!(error("{{ deep }}"), "'nowhere' is undefined in variable 'deep' -> 'bad'");
}

#[test]
fn what_cannot_be_ordered_is_an_error_however_much_it_is() {
    let mixed = "(range(60) | map('string') | list + range(60) | list + ['a', none] * 20)";
    assert!(error(&format!("{{{{ {mixed} | sort }}}}")).contains("cannot"), "no panic");
    let versions = "(range(60) | map('string') | list + ['b', '1.a', 'z'] * 20)";
    assert!(error(&format!("{{{{ {versions} | version_sort }}}}")).contains("cannot compare"));
}

#[test]
fn recursion_is_named() {
    assert_eq!(error("{{ a }}"), "variables are defined by one another: a -> b -> a");
    assert_eq!(error("{{ self_ref }}"), "variables are defined by one another: x -> x");
}

#[test]
fn undefined_is_an_error_only_where_it_is_used() {
    assert_eq!(error("{{ nmae }}"), "'nmae' is undefined; did you mean 'name'?");
    assert_eq!(error("{{ db.host }}"), "'db.host' is undefined");
    assert_eq!(error("{{ db.hostnam }}"), "'db.hostnam' is undefined; did you mean 'hostname'?");
    assert_eq!(error("{{ x.y.z }}"), "'x' is undefined");
    assert_eq!(error("{{ gone == 1 }}"), "'gone' is undefined");
    assert_eq!(error("{% for x in gone %}{% endfor %}"), "'gone' is undefined");
    assert_eq!(render("{{ x.y.z | default('d') }}"), Value::from("d"));
    assert_eq!(render("{{ x.y.z is defined }}"), Value::Bool(false));
    assert_eq!(render("{{ hostvars['db'].port }}"), Value::Int(5432));
    assert_eq!(render("{{ hostvars['w1'].url }}"), Value::from("http://web:80/"));
    assert_eq!(render("{{ hostvars['none'].x is defined }}"), Value::Bool(false));
    assert_eq!(render("{{ vars['url'] }}"), Value::from("http://web:80/"));
}

#[test]
fn unknown_spreads() {
    let unknown = Value::Unknown("task 'x'".into());
    assert_eq!(render("{{ later }}"), unknown);
    assert_eq!(render("{{ later.stdout | string }}"), unknown);
    assert_eq!(render("a {{ partly.rc }}"), unknown);
    assert_eq!(render("{{ partly.rc + 1 }}"), unknown);
    assert_eq!(render("{{ partly.known }}"), Value::Int(1));
    assert_eq!(render("{{ later is defined }}"), Value::Bool(true));
    let test = |condition: &str| engine().test(&Value::from(condition), &scope()).unwrap();
    assert_eq!(test("later.rc == 0"), Truth::Unknown("task 'x'".into()));
    assert_eq!(test("later is failed"), Truth::Unknown("task 'x'".into()));
    assert_eq!(test("port == 1 and later"), Truth::False);
    let items = engine().render_value(&Value::list(["{{ later }}", "{{ port }}"]), &scope()).unwrap();
    assert_eq!(items, Value::list([unknown, Value::Int(80)]));
}

#[test]
fn conditions() {
    let test = |condition: Value| engine().test(&condition, &scope()).unwrap();
    assert_eq!(test(Value::from("port == 80")), Truth::True);
    assert_eq!(test(Value::from("{{ port == 81 }}")), Truth::False);
    assert_eq!(test(Value::Bool(false)), Truth::False);
    assert_eq!(test(Value::from("")), Truth::True);
    assert_eq!(test(Value::list(["out is changed", "out is failed"])), Truth::False);
    assert_eq!(test(Value::from("out.stdout is search('name')")), Truth::True);
}

#[test]
fn conditions_that_only_older_releases_accept() {
    let test = |condition: Value| engine().test(&condition, &scope()).unwrap();
    // ansible-core 2.19 wants a boolean, and no braces.
    for truthy in ["name", "port", "cfg", "cfg.list | length", "{{ port }} == 80"] {
        assert_eq!(test(Value::from(truthy)), Truth::True, "{truthy}");
    }
    for falsy in ["port - 80", "cfg.list | reject | list", "{{ port }} == 81"] {
        assert_eq!(test(Value::from(falsy)), Truth::False, "{falsy}");
    }
    assert_eq!(test(Value::Int(1)), Truth::True);
}

#[test]
fn operators_say_what_they_were_used_on() {
    let wrong = error("{{ name + port }}");
    assert_eq!(
        wrong,
        "'+' does not work on a text and an integer (of 'name' and 'port'); \
         join texts with '~', or turn a text into a number with '| int'"
    );
    assert_eq!(error("{{ name < port }}"), "cannot compare a text with an integer (of 'name' and 'port')");
    assert_eq!(error("{{ port | join(',') }}"), "cannot loop over an integer");
}

#[test]
fn limits() {
    let kind = |text: &str| engine().render_str(text, &scope()).unwrap_err().kind().clone();
    assert_eq!(
        kind("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}"),
        ErrorKind::Fuel
    );
    assert_eq!(kind("{{ range(10000000) }}"), ErrorKind::Size);
    assert_eq!(kind("{{ 'x' * 1000000000 }}"), ErrorKind::Size);
    assert_eq!(kind(&format!("{{{{ {}1{} }}}}", "(".repeat(500), ")".repeat(500))), ErrorKind::Syntax);
    assert_eq!(kind("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"), ErrorKind::Recursion);
    assert_eq!(
        kind("{% set n = namespace(x=[]) %}{% for i in range(1000) %}{% set n.x = [n.x] %}{% endfor %}"),
        ErrorKind::Size
    );
    let mut chain = Map::new();
    for at in 0..500 {
        chain.insert(format!("v{at}").into(), Value::from(format!("{{{{ v{} }}}}", at + 1)));
    }
    let mut scope = Scope::new();
    scope.push(Arc::new(chain), LayerKind::Templated);
    let kind = engine().render_str("{{ v0 }}", &scope).unwrap_err().kind().clone();
    assert_eq!(kind, ErrorKind::Recursion);
}

#[test]
fn inheritance_and_imports() {
    let file =
        |source: &str| engine().render_template(source, &TemplateOptions::default(), &scope()).unwrap();
    let child =
        "{% extends 'base.j2' %}{% set x = 7 %}{% block body %}{{ super() }} and {{ name }}{% endblock %}";
    assert_eq!(file(child), "<base and web>end");
    assert_eq!(file("{% include 'part.j2' %}!"), "part of web!");
    assert_eq!(file("{% include 'gone.j2' ignore missing %}!"), "!");
    assert_eq!(file("{% import 'macros.j2' as m %}{{ m.twice(1) }}{{ m.version }}"), "[1][1]3");
    assert_eq!(file("{% from 'macros.j2' import twice as t %}{{ t('a') }}"), "[a][a]");
}

#[test]
fn template_files() {
    let file =
        |source: &str| engine().render_template(source, &TemplateOptions::default(), &scope()).unwrap();
    assert_eq!(file("a\n{% if true %}\nb\n{% endif %}\nc\n"), "a\nb\nc\n");
    assert_eq!(
        file(
            "#jinja2: lstrip_blocks: True, variable_start_string: '[['\n  {% if 1 %}\n[[ port }}\n  {% endif %}\n"
        ),
        "80\n"
    );
    assert_eq!(file("{{ 'a\\tb' }}\n\n"), "a\tb\n\n");
    let error =
        engine().render_template("a\n\n{{ gone }}\n", &TemplateOptions::default(), &scope()).unwrap_err();
    assert_eq!((error.line(), error.message()), (Some(3), "'gone' is undefined"));
}

#[test]
fn texts_of_playbooks_keep_backslashes() {
    assert_eq!(render(r"{{ 'a\n' ~ 'b' }}"), Value::from("a\\nb"));
    assert_eq!(engine().eval(r"'a\n' ~ 'b'", &scope()).unwrap(), Value::from("a\nb"));
}

#[test]
fn a_template_that_puts_out_nothing_is_empty() {
    let render =
        |source: &str| engine().render_template(source, &TemplateOptions::default(), &scope()).unwrap();
    for nothing in [
        "{% for k in [] %}\n{{ k }}\n{% endfor %}\n",
        "{# x #}\n",
        "{% if false %}x{% endif %}\n",
        "{% raw %}{% endraw %}\n",
        "{{ none }}\n",
    ] {
        assert_eq!(render(nothing), "", "{nothing}");
    }
    // Text of no length is text; a lone value of another type is none.
    assert_eq!(render("{{ '' }}\n"), "\n");
    assert_eq!(render("\n"), "\n");
    assert_eq!(render("{{ [1] }}\n"), "[1]");
    assert_eq!(render("{{ 1 }}{{ 2 }}\n"), "12\n");
}

#[test]
fn lookups() {
    assert_eq!(render("{{ lookup('vars', 'url') }}"), Value::from("http://web:80/"));
    assert_eq!(render("{{ lookup('vars', 'gone', default='d') }}"), Value::from("d"));
    assert_eq!(render("{{ lookup('env', 'HOME') }}"), Value::from("HOME"));
    assert_eq!(render("{{ query('env', 'A', 'B') }}"), Value::list(["A", "B"]));
    assert_eq!(render("{{ lookup('env', 'A', 'B') }}"), Value::from("A,B"));
    assert_eq!(error("{{ lookup('file', 'x') }}"), "there is no lookup 'file'");
    assert_eq!(render("{{ lookup('file', 'x', errors='ignore') }}"), Value::Null);
    let with = |name: &str, terms: &str| {
        let terms = from_json(serde_json::from_str(terms).unwrap());
        engine().lookup_list(name, &terms, Map::new(), &scope()).unwrap().to_string()
    };
    assert_eq!(with("nested", "[[1, 2], [3]]"), "[[1, 3], [2, 3]]");
    assert_eq!(with("together", "[[1, 2], [3]]"), "[[1, 3], [2, None]]");
    assert_eq!(with("dict", r#"{"a": 1}"#), "[{'key': 'a', 'value': 1}]");
    assert_eq!(with("sequence", r#""start=1 end=5 stride=2 format=x%02d""#), "['x01', 'x03', 'x05']");
    assert_eq!(with("indexed_items", r#"["a"]"#), "[[0, 'a']]");
    assert_eq!(
        with("subelements", r#"[[{"n": "a", "k": [1, 2]}], "k"]"#),
        "[[{'n': 'a'}, 1], [{'n': 'a'}, 2]]"
    );
    assert_eq!(with("subelements", r#"[[{"a": {"b": [1], "c": 2}}], "a.b"]"#), "[[{'a': {'c': 2}}, 1]]");
}

#[test]
fn checks() {
    let found = debark_expr::check_str(
        "{{ a.b | default(c) }}{% for x in y %}{{ x }}{{ lookup('file', f) }}{% endfor %}",
    )
    .unwrap();
    let names: Vec<&str> = found.variables.iter().map(|name| &**name).collect();
    assert_eq!(names, ["a", "c", "f", "y"]);
    assert_eq!(found.filters.iter().map(|name| &**name).collect::<Vec<_>>(), ["default"]);
    assert_eq!(found.lookups.iter().map(|name| &**name).collect::<Vec<_>>(), ["file"]);
    let wrong = debark_expr::check_expr("x | defualt(1)").unwrap_err();
    assert_eq!(
        (wrong.message.as_str(), wrong.hint.as_deref()),
        ("there is no filter 'defualt'", Some("did you mean 'default'?"))
    );
    let wrong = debark_expr::check_template("a\n{% if x %}\n", &TemplateOptions::default()).unwrap_err();
    assert_eq!(wrong.message, "'{% endif %}' is missing");
    let wrong = debark_expr::check_str("a\n {{ x = 1 }}").unwrap_err();
    assert_eq!((wrong.line, wrong.column), (2, 7));
    assert_eq!(wrong.hint.as_deref(), Some("equality is written '=='"));
    assert!(debark_expr::check_str("{{ x is defind }}").is_err());
    assert!(debark_expr::check_str("{{ x | map('uper') }}").is_err());
}

#[test]
fn template_lookups_see_the_scope_of_the_task() {
    let engine = engine();
    let mut scope = Scope::new();
    scope.push(Arc::new(map! { "name" => "n", "port" => 80 }), LayerKind::Templated);
    let render = |text: &str| engine.render_str(text, &scope).map_err(|error| error.to_string());
    assert_eq!(render("{{ lookup('template', 'conf.j2') }}").unwrap(), "port 80\nn\n".into());
    let vars = "{{ lookup('template', 'conf.j2', template_vars={'x': '!', 'port': 81}) }}";
    assert_eq!(render(vars).unwrap(), "port 81\nn!\n".into());
    // What a template sets is its own matter, and what is around it stays.
    let around = "{% set x = 'set' %}{{ lookup('ansible.builtin.template', 'conf.j2') }}{{ x }}";
    assert_eq!(render(around).unwrap(), "port 80\nn\nset".into());
    let untrimmed = "{{ lookup('template', 'conf.j2', trim_blocks=false) }}";
    assert_eq!(render(untrimmed).unwrap(), "\nport 80\n\nn\n".into());
    let list = render("{{ lookup('template', 'list.j2') }}").unwrap();
    assert_eq!(list, Value::list([Value::from(1), Value::from(80)]));
    let text = render("{{ lookup('template', 'list.j2', convert_data=false) | length }}").unwrap();
    assert_eq!(text, Value::from(8));
    let marks =
        "{{ lookup('template', 'marks.j2', variable_start_string='[[', variable_end_string=']]') | length }}";
    assert_eq!(render(marks).unwrap(), Value::from(12));
    assert!(render("{{ lookup('template', 'nope.j2') }}").unwrap_err().contains("nope.j2"));
    assert!(render("{{ lookup('template', 'self.j2') }}").is_err());
}

#[test]
fn digits_without_end_are_cut_not_a_panic() {
    for text in [
        "'%.99999999999999999999f' % 1.5",
        "'%.70000e' % 1.5",
        "'%.70000g' % 0.0001",
        "'{:.70000f}'.format(1.5)",
    ] {
        assert!(
            render(&format!("{{{{ ({text}) | length }}}}")).to_text().unwrap().parse::<u64>().unwrap()
                < 100_000
        );
    }
}

#[test]
fn hosts_are_gone_through() {
    struct Others;
    impl Services for Others {
        fn lookup(&self, name: &str, _: &[Value], _: &Map, _: &Scope) -> Result<Value, String> {
            Err(format!("there is no lookup '{name}'"))
        }

        fn hostvars(&self, host: &str) -> Result<Option<Value>, String> {
            assert_eq!(host, "h2");
            Ok(Some(Value::from(map! { "number" => 2 })))
        }

        fn file(&self, path: &str) -> Result<String, String> {
            Err(format!("there is no {path}"))
        }
    }
    let mut scope = Scope::new();
    let own =
        map! { "number" => "{{ 0 + 1 }}", "broken" => "{{ nothing_there }}", "inventory_hostname" => "h1" };
    scope.push(Arc::new(own), LayerKind::Templated);
    let groups = map! { "groups" => Value::from(map! { "all" => Value::list(["h1", "h2"]) }) };
    scope.push(Arc::new(groups), LayerKind::Plain);
    let engine = Engine::new(Arc::new(Others));
    for (expression, wanted) in [
        ("hostvars | length", "2"),
        ("hostvars | list", "['h1', 'h2']"),
        ("['h1', 'h2'] | map('extract', hostvars) | map(attribute='number') | list", "[1, 2]"),
        ("hostvars | dict2items | map(attribute='value.number') | list", "[1, 2]"),
        ("hostvars.values() | selectattr('number', 'gt', 1) | map(attribute='number') | list", "[2]"),
        ("hostvars | json_query('*.number')", "[1, 2]"),
        ("'h9' in hostvars or hostvars['h9'] is defined", "False"),
    ] {
        assert_eq!(engine.eval(expression, &scope).unwrap().to_string(), wanted, "{expression}");
    }
}

#[test]
fn details_of_ansible() {
    for (expression, wanted) in [
        ("{{ ['B', 'a', 'b'] | unique }}", "['B', 'a']"),
        ("{{ (1, 2) }} {{ (1, 2) | string }}", "[1, 2] (1, 2)"),
        ("{{ 'C:\\\\a' | win_splitdrive | last | length }}", "3"),
        ("{{ '~root/x' | expanduser }}", "/root/x"),
        ("{{ 'abc' | password_hash('md5', 'saltsalt') }}", "$1$saltsalt$7fq7ZEc75157blrz18yX./"),
        ("{{ ('abc' | password_hash('sha512_crypt', 'saltsalt')).split('$')[2] }}", "rounds=656000"),
        ("{{ ('abc' | password_hash('sha512', salt_size=8, rounds=5000)).split('$')[2] | length }}", "8"),
        ("{{ [{'n': 1}] | subelements('k', skip_missing=true) }}", "[]"),
        ("{{ '$ANSIBLE_VAULT;1.1;AES256' is vault_encrypted }}", "False"),
    ] {
        assert_eq!(render(expression).to_string(), wanted, "{expression}");
    }
    for wrong in
        ["{{ 'x' | regex_search('(y)', '\\\\1') }}", "{{ [{'n': 1}] | subelements('n', skip_missing=true) }}"]
    {
        assert!(engine().render_str(wrong, &scope()).is_err(), "{wrong}");
    }
    let unknown = debark_expr::check_str("{{ lookup('fil', 'x') }}").unwrap_err();
    assert!(unknown.to_string().contains("there is no lookup 'fil'"), "{unknown}");
}

#[test]
fn fuel_bounds_what_is_slow() {
    // Inputs that took the fuzzer longest: the rounds of a hash are paid for, by the length of the password.
    let hash = |length: usize, rounds: usize| {
        let text =
            format!("{{{{ ('x' * {length}) | password_hash('sha512', 'Qaltsalt', rounds={rounds}) }}}}");
        engine().render_str(&text, &scope())
    };
    assert!(hash(200, 1000).is_ok());
    let error = hash(4000, 5_000_000).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Fuel), "{error}");
    let long = "{{ ('x' * 5000) | password_hash }}";
    assert!(engine().render_str(long, &scope()).unwrap_err().to_string().contains("4096"));
    let digits = "{{ '%s-%05d-%.29223372036854775807f-+ ' % ('a', 42, 3,14159, 255) }}";
    assert!(engine().render_str(digits, &scope()).is_err());
}

#[test]
fn closed_vaults_are_errors_where_they_are_used() {
    let mut scope = Scope::new();
    let vars = map! { "closed" => "{{ 'no password is known' | _closed_vault }}", "open" => 1 };
    scope.push(Arc::new(vars), LayerKind::Templated);
    assert_eq!(engine().render_str("{{ open }}", &scope).unwrap(), Value::Int(1));
    for text in ["{{ closed }}", "{{ closed | default('x') }}"] {
        let error = engine().render_str(text, &scope).unwrap_err().to_string();
        assert!(error.contains("no password is known"), "{error}");
    }
}
