//! What a host that was taken over gets, and what an honest one does.

use std::path::Path;
use std::sync::Arc;

use debark_playbook::inventory::{Inventory, Options};
use debark_playbook::vault::Vault;
use debark_playbook::{CompileOptions, Compiler, SourceMap};
use debark_value::{Map, Value, map};
use debark_wire::{Become, Invocation, Login, Logins, Place, Request};

use crate::site::{Site, SiteOptions};
use crate::world::World;

const INVENTORY: &str = "web1 ansible_host=192.0.2.1 keyfile=keys/web.pub shell_word=uptime\nweb2 ansible_host=192.0.2.2 \
    db_password=hunter22 port=80\nmanager ansible_connection=local\n[web]\nweb1\nweb2\n";

struct Test {
    site: Site,
    dir: tempfile::TempDir,
}

fn test(playbook: &str) -> Test {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let write = |name: &str, text: &str| {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("hosts", INVENTORY);
    write("site.yml", playbook);
    write("ports.yml", "other: 222\n");
    write("files/motd", "hello");
    write("files/keys/web.pub", "key");
    write("files/keys/joe.pub", "key");
    write("templates/a.j2", "{{ lookup('env', 'LANG') }} {{ hostvars['web2'].port }}\n");
    write("group_vars/all/secret.yml", "unused: 1\nmentioned: '{{ ansible_domain }}'\n");
    write("more.yml", "- debug: msg={{ lookup('pipe', 'true') }}\n");
    let sources = Arc::new(SourceMap::default());
    let vault = Arc::new(Vault::default());
    let options = Options { vault: vault.clone(), sources: sources.clone(), ..Options::default() };
    let hosts = root.join("hosts").display().to_string();
    let inventory = Arc::new(Inventory::load(&[hosts], options).unwrap_or_else(|e| panic!("{e:?}")));
    let compiler = Arc::new(Compiler::new(sources, vault.clone(), CompileOptions::default()));
    let compiled = compiler.compile(&[root.join("site.yml")]).unwrap_or_else(|e| panic!("{e:?}"));
    Test { site: Site::new(compiler, compiled.plays, inventory, vault, SiteOptions::default()), dir }
}

impl Test {
    fn ask(&self, request: Request) -> Result<(), String> {
        self.site.permit(0, "web1", &request)
    }

    fn lookup(&self, name: &str, term: &str) -> Result<(), String> {
        let (args, kwargs) = (vec![Value::from(term)], Map::new());
        self.ask(Request::Lookup { name: name.into(), args, kwargs, role_path: None })
    }

    fn find(&self, path: &str) -> Result<(), String> {
        self.ask(Request::Find { path: path.into(), place: Place::Files, role_path: None, task_dir: None })
    }

    fn root(&self) -> &Path {
        self.dir.path()
    }
}

fn play(tasks: &str) -> String {
    let tasks: String = tasks.lines().map(|line| format!("    {line}\n")).collect();
    format!("- hosts: web\n  gather_facts: false\n  vars: {{base: keys, cmd: 'date -u'}}\n  tasks:\n{tasks}")
}

#[test]
fn lookups_must_stand_in_the_play() {
    let none = test(&play("- ping:\n"));
    for name in ["pipe", "file", "env", "url", "password", "lines", "fileglob", "nothing"] {
        let why = none.lookup(name, "id").unwrap_err();
        assert!(
            why.contains(&format!("the lookup `{name}` of `id`, which nothing in the play asks for")),
            "{why}"
        );
    }
    let some = test(&play(
        "- debug: msg={{ lookup('pipe', 'id -un') }}\n- debug: {msg: \"{{ lookup('pipe', cmd) }} {{ q('env', 'HOME') }}\"}\n\
         - debug: {msg: \"{{ lookup('file', base ~ '/' ~ who ~ '.pub') }}\"}\n\
         - debug: {msg: \"{{ lookup('pipe', 'dig ' ~ fact) }}\"}\n\
         - debug: {msg: \"{{ lookup('file', item) }}\"}\n  loop: ['a/b.txt', \"{{ keyfile }}\"]\n\
         - debug: {msg: x}\n  with_fileglob: 'conf.d/*'\n",
    ));
    for (name, term) in [
        ("pipe", "id -un"),
        ("pipe", "date -u"),
        ("env", "HOME"),
        ("file", "keys/joe.pub"),
        ("pipe", "dig web1.example.org"),
        ("file", "a/b.txt"),
        ("file", "keys/web.pub"),
        ("fileglob", "conf.d/*"),
        ("file", "motd"),
    ] {
        assert_eq!(some.lookup(name, term), Ok(()), "{name} {term}");
    }
    for (name, term) in [
        ("pipe", "id"),
        ("pipe", "id -un; id"),
        ("pipe", "dig a; id"),
        ("pipe", "dig $(id)"),
        ("env", "AWS_SECRET"),
        ("file", "/etc/passwd"),
        ("file", "keys/../../x.pub"),
        ("file", "../hosts"),
        ("file", "site.yml"),
        ("file", "group_vars/all/secret.yml"),
        ("fileglob", "/etc/*"),
        ("url", "http://192.0.2.9/"),
        ("file", "~/.ssh/id_ed25519"),
    ] {
        let why = some.lookup(name, term).unwrap_err();
        assert!(why.contains(name) && why.contains(term), "{why}");
    }
    // Options that the play does not give.
    let kwargs = map! { "rstrip" => false };
    let args = vec![Value::from("keys/joe.pub")];
    let odd = Request::Lookup { name: "file".into(), args, kwargs, role_path: None };
    assert!(some.ask(odd).is_err());
    let args = vec![Value::from("id -un")];
    let role = Some("/etc".to_owned());
    let odd = Request::Lookup { name: "pipe".into(), args, kwargs: Map::new(), role_path: role };
    assert!(some.ask(odd).unwrap_err().contains("none of the play's"));
}

#[test]
fn lookups_of_templates_and_includes_count_once_they_were_sent() {
    let some = test(&play("- template: {src: a.j2, dest: /tmp/a}\n- include_tasks: \"{{ file }}.yml\"\n"));
    assert_eq!(some.lookup("env", "LANG"), Ok(()), "it stands in the template that travels with the play");
    assert!(some.lookup("pipe", "true").is_err());
    let from = some.root().canonicalize().unwrap().join("site.yml").display().to_string();
    let include = |file: &str| Request::IncludeTasks {
        file: file.into(),
        role_path: None,
        from: from.clone(),
        role: None,
        tags: Vec::new(),
        handlers: false,
        next: debark_wire::Next { task: 100, role: 0, file: 1 },
    };
    for bad in ["/etc/passwd.yml", "../x.yml", "group_vars/all/secret.yml", "more.txt"] {
        assert!(some.ask(include(bad)).unwrap_err().contains("include_tasks"), "{bad}");
    }
    assert_eq!(some.ask(include("more.yml")), Ok(()));
    some.site.answer(0, "web1", include("more.yml")).unwrap();
    assert_eq!(some.lookup("pipe", "true"), Ok(()));
    assert!(
        some.site
            .permit(
                0,
                "web2",
                &Request::Lookup {
                    name: "pipe".into(),
                    args: vec!["true".into()],
                    kwargs: Map::new(),
                    role_path: None,
                }
            )
            .is_err(),
        "another host did not get the include"
    );
}

#[test]
fn files_must_be_named_by_a_task() {
    let some = test(&play(
        "- copy: {src: motd, dest: /etc/motd}\n- copy: {src: 'keys/{{ who }}.pub', dest: /tmp/k}\n\
         - copy: {src: \"{{ item }}\", dest: /tmp/}\n  loop: [/srv/one, two]\n",
    ));
    for good in ["motd", "keys/joe.pub", "/srv/one", "two"] {
        assert_eq!(some.find(good), Ok(()), "{good}");
    }
    for bad in [
        "/etc/shadow",
        "~/.ssh/id_ed25519",
        "../hosts",
        "site.yml",
        "keys/../../hosts",
        "group_vars/all/secret.yml",
    ] {
        let why = some.find(bad).unwrap_err();
        assert!(why.contains(bad), "{why}");
    }
    let digest = Request::Content { sha256: "0".repeat(64) };
    assert!(some.ask(digest).unwrap_err().contains("not told of"));
    assert!(test(&play("- ping:\n")).find("motd").is_err());
    let vars = Request::IncludeVars { args: map! { "file" => "/etc/passwd" }, role_path: None };
    assert!(some.ask(vars).unwrap_err().contains("include_vars"));
}

fn delegate(task: u32, host: &str, module: &str, args: Map) -> Request {
    let invocation = Invocation { module: module.into(), args, ..Invocation::default() };
    let logins = Logins::default();
    Request::Delegate { task, host: host.into(), logins, invocation: Box::new(invocation) }
}

fn task(test: &Test, number: usize) -> u32 {
    fn ids(nodes: &[debark_wire::Node], found: &mut Vec<u32>) {
        for node in nodes {
            match node {
                debark_wire::Node::Task(task) if task.action != "meta" => found.push(task.id),
                debark_wire::Node::Task(_) => {}
                debark_wire::Node::Block(block) => ids(&block.block, found),
            }
        }
    }
    let mut found = Vec::new();
    ids(&test.site.plays[0].play.tasks, &mut found);
    found[number]
}

#[test]
fn delegated_tasks_are_the_plays() {
    let some = test(&play(
        "- {command: systemctl reload haproxy, delegate_to: web2}\n\
         - {command: 'touch {{ fact }}', delegate_to: localhost}\n\
         - {command: uptime, delegate_to: '{{ item }}', loop: \"{{ groups['web'] }}\"}\n- command: uptime\n",
    ));
    let say = |text: &str| map! { "cmd" => text };
    let ask = |number: usize, host: &str, module: &str, args: Map| {
        some.ask(delegate(task(&some, number), host, module, args))
    };
    assert_eq!(ask(0, "web2", "command", say("systemctl reload haproxy")), Ok(()));
    assert!(ask(0, "web2", "command", say("rm -rf /")).unwrap_err().contains("not what the play says"));
    assert!(ask(0, "web2", "shell", say("systemctl reload haproxy")).unwrap_err().contains("`shell`"));
    assert!(
        ask(0, "localhost", "command", say("systemctl reload haproxy")).unwrap_err().contains("localhost")
    );
    assert!(
        ask(0, "manager", "command", say("systemctl reload haproxy")).unwrap_err().contains("this machine")
    );
    assert_eq!(ask(1, "localhost", "command", say("touch web1")), Ok(()));
    for bad in ["touch a; id", "touch $(id)", "touch /etc/x", "touch a b", "id"] {
        assert!(ask(1, "localhost", "command", say(bad)).is_err(), "{bad}");
    }
    assert_eq!(ask(2, "web2", "command", say("uptime")), Ok(()));
    for host in ["manager", "localhost", "192.0.2.9"] {
        assert!(ask(2, host, "command", say("uptime")).is_err(), "{host}");
    }
    assert!(ask(3, "web2", "command", say("uptime")).unwrap_err().contains("does not delegate"));
    let invocation = Invocation {
        module: "command".into(),
        args: say("systemctl reload haproxy"),
        become_: Some(Become { method: "sudo".into(), user: "root".into(), ..Become::default() }),
        ..Invocation::default()
    };
    let become_ = Request::Delegate {
        task: task(&some, 0),
        host: "web2".into(),
        logins: Logins::default(),
        invocation: Box::new(invocation),
    };
    assert!(some.ask(become_).unwrap_err().contains("become root"));
    let facts = map! { "color" => "red" };
    let facts = Request::SetFacts { task: task(&some, 0), host: "web2".into(), facts, set: false };
    assert!(some.ask(facts).unwrap_err().contains("no task of the play does"));
}

#[test]
fn tasks_log_in_as_the_play_says() {
    let some = test(&play(
        "- {command: uptime, remote_user: deploy, port: 2222}\n- command: uptime\n\
         - {command: uptime, vars: {ansible_user: '{{ who }}', ansible_port: '{{ fact }}', who: admin}}\n\
         - {command: uptime, remote_user: '{{ item }}', loop: [joe, ann]}\n\
         - {command: uptime, remote_user: '{{ fact }}'}\n",
    ));
    let by_keyword = |user: &str, port| (None, Login { user: Some(user.into()), port, ..Login::default() });
    let by_variable = |user: &str, port| {
        (Some(Login { user: Some(user.into()), port, ..Login::default() }), Login::default())
    };
    let ask = |number: usize, host: &str, cmd: &str, (variables, keywords): (Option<Login>, Login)| {
        let request = delegate(task(&some, number), host, "command", map! { "cmd" => cmd });
        let Request::Delegate { task, host, invocation, .. } = request else { unreachable!() };
        let logins = Logins { variables: variables.unwrap_or_default(), keywords };
        some.ask(Request::Delegate { task, host, logins, invocation })
    };
    assert_eq!(ask(0, "web1", "uptime", by_keyword("deploy", Some(2222))), Ok(()));
    assert_eq!(ask(2, "web1", "uptime", by_variable("admin", Some(2200))), Ok(()));
    assert_eq!(ask(3, "web1", "uptime", by_keyword("ann", None)), Ok(()));
    for (number, cmd, login) in [
        (0, "uptime", by_keyword("root", Some(2222))),
        (0, "uptime", by_keyword("deploy", Some(22))),
        (0, "uptime", by_variable("deploy", None)),
        (0, "id", by_keyword("deploy", Some(2222))),
        (1, "uptime", by_keyword("deploy", None)),
        (1, "uptime", by_variable("admin", None)),
        (2, "uptime", by_variable("root", None)),
        (3, "uptime", by_keyword("root", None)),
        (4, "uptime", by_keyword("root", None)),
    ] {
        assert!(ask(number, "web1", cmd, login.clone()).is_err(), "{number} {cmd} {login:?}");
    }
    assert!(ask(0, "web2", "uptime", by_keyword("deploy", Some(2222))).is_err(), "it is not delegated");
    assert!(ask(1, "web1", "uptime", Default::default()).is_err(), "nor to itself");
    let set = test(&play("- {command: uptime}\n- set_fact: {ansible_user: root, ansible_port: 2222}\n"));
    let (user, key) = (Some("root".to_owned()), Some("/root/.ssh/other".to_owned()));
    let login = |key| Login { user: user.clone(), port: Some(2222), key, ..Login::default() };
    let request = |login| Request::Delegate {
        task: task(&set, 0),
        host: "web1".into(),
        logins: Logins { variables: login, ..Logins::default() },
        invocation: Box::new(Invocation { module: "command".into(), ..Invocation::default() }),
    };
    assert_eq!(set.ask(request(login(None))), Ok(()));
    assert!(set.ask(request(login(key))).unwrap_err().contains("ansible_private_key_file"));
}

#[test]
fn variables_of_a_play_say_how_its_hosts_are_reached() {
    let test = test(
        "- hosts: web\n  vars: {ansible_user: '{{ who }}', who: admin}\n  port: '{{ 2000 + other }}'\n  \
         vars_files: ports.yml\n  tasks: []\n",
    );
    test.site.play(0, &Default::default()).unwrap();
    let reached = |logins: Logins| {
        test.site.target_by("web1", &logins).map(|target| (target.port, target.user)).unwrap()
    };
    let login = |user: &str, port| Login { user: Some(user.into()), port, ..Login::default() };
    assert_eq!(reached(Logins::default()), (Some(2222), Some("admin".into())));
    let keywords = Logins { keywords: login("root", Some(22)), ..Logins::default() };
    assert_eq!(reached(keywords), (Some(22), Some("admin".into())), "the variable wins");
    let variables = Logins { variables: login("root", None), ..Logins::default() };
    assert_eq!(reached(variables), (Some(2222), Some("root".into())));
    let spec = test.site.play(0, &Default::default()).unwrap();
    let part = test.site.host_play(&spec, "web1", &spec.hosts, &Map::new()).unwrap();
    assert_eq!(part.login, login("admin", Some(2222)));
}

#[test]
fn other_hosts_variables_are_seen_as_far_as_mentioned() {
    let none = test(&play("- ping:\n"));
    assert!(
        none.ask(Request::HostVars { host: "web2".into() })
            .unwrap_err()
            .contains("nothing in the play reads")
    );
    let some = test(&play("- debug: msg={{ hostvars['web2'].port }}\n"));
    assert_eq!(some.ask(Request::HostVars { host: "web2".into() }), Ok(()));
    assert!(some.ask(Request::HostVars { host: "manager".into() }).is_err());
    let known = map! { "told" => "x" };
    let vars = some.site.host_vars(0, "web1", "web2", &known).unwrap();
    assert_eq!(vars.get("port"), Some(&80.into()));
    assert!(!vars.contains_key("db_password") && !vars.contains_key("told"));
    let all = test(&play("- debug: msg={{ hostvars[other][name] }}\n"));
    let vars = all.site.host_vars(0, "web1", "web2", &known).unwrap();
    assert!(vars.contains_key("port") && vars.contains_key("told") && !vars.contains_key("db_password"));
}

#[test]
fn the_inventory_changes_only_as_tasks_say() {
    let add = |name: &str, groups: &[&str], vars: Map| Request::AddHost {
        hosts: vec![name.into()],
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        parents: Vec::new(),
        vars,
    };
    let none = test(&play("- ping:\n"));
    assert!(none.ask(add("evil", &[], Map::new())).is_err());
    let some = test(&play(
        "- add_host: {name: '{{ fact }}', groups: new, ansible_host: '{{ ip }}', color: '{{ c }}'}\n\
         - group_by: {key: 'os_{{ os }}'}\n",
    ));
    assert_eq!(
        some.ask(add("vm7", &["new"], map! { "ansible_host" => "192.0.2.7", "color" => "red" })),
        Ok(())
    );
    for (name, groups, vars) in [
        ("localhost", &["new"][..], Map::new()),
        ("web2", &["new"], map! { "ansible_host" => "192.0.2.9" }),
        ("vm8", &["web"], Map::new()),
        ("vm8", &["new"], map! { "ansible_connection" => "local" }),
        ("vm8", &["new"], map! { "ansible_ssh_common_args" => "-o ProxyCommand=id" }),
        ("vm8", &["new"], map! { "color" => "{{ lookup('pipe', 'id') }}" }),
        ("vm8", &["new"], map! { "ansible_host" => "-oProxyCommand=id" }),
        ("-oProxyCommand=id", &["new"], Map::new()),
    ] {
        assert!(some.ask(add(name, groups, vars.clone())).is_err(), "{name} {groups:?} {vars:?}");
    }
    let by = |host: &str, group: &str| Request::AddHost {
        hosts: vec![host.into()],
        groups: vec![group.into()],
        parents: vec!["all".into()],
        vars: Map::new(),
    };
    assert_eq!(some.ask(by("web1", "os_Debian")), Ok(()));
    assert!(some.ask(by("web2", "os_Debian")).is_err() && some.ask(by("web1", "web")).is_err());
}

#[test]
fn secrets_of_others_stay_here() {
    let of = |tasks: &str, host: &str| {
        let some = test(&play(tasks));
        crate::site::lock(&some.site.secrets).add("hunter22");
        crate::site::lock(&some.site.secrets).add("of nobody here");
        let spec = some.site.play(0, &Default::default()).unwrap();
        some.site.host_play(&spec, host, &spec.hosts, &Map::new()).unwrap().secrets
    };
    let using = "- debug: msg={{ db_password }}\n";
    assert_eq!(of(using, "web2"), ["hunter22"]);
    assert!(of(using, "web1").is_empty());
    assert!(of("- ping:\n", "web2").is_empty(), "nothing there uses it");
}

#[test]
fn every_play_on_a_host_says_how_it_is_reached() {
    let test = test(
        "- hosts: manager\n  remote_user: nobody\n  port: 1\n  tasks: []\n\
         - hosts: [web, '!web2']\n  port: '{{ 2000 + 222 }}'\n  tasks: []\n\
         - hosts: all\n  remote_user: admin\n  port: 22\n  tasks: []\n",
    );
    let reached = |play: u32, host: &str| {
        test.site.play(play, &Default::default()).unwrap();
        test.site.target(host).map(|target| (target.port, target.user)).unwrap()
    };
    assert_eq!(reached(1, "web1"), (Some(2222), None));
    assert_eq!(reached(1, "web2"), (Some(22), Some("admin".into())), "not in the play: as its own says");
    assert_eq!(reached(2, "web1"), (Some(22), Some("admin".into())));
    // Facts that variables of the inventory mention are gathered, too.
    let mentions = test.site.plays[1].play.gather.mentions.clone().unwrap();
    assert!(mentions.contains(&"ansible_domain".to_owned()), "{mentions:?}");
}
