use std::fs;

use super::*;

/// A directory with the given files.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        if text.starts_with("#!") {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    dir
}

fn load(dir: &tempfile::TempDir, name: &str, timeout: f32) -> Result<Inventory, Vec<Diagnostic>> {
    let options = Options { script_timeout: Duration::from_secs_f32(timeout), ..Options::default() };
    Inventory::load(&[dir.path().join(name).to_string_lossy().into_owned()], options)
}

fn error(script: &str) -> String {
    load(&tree(&[("inv", script)]), "inv", 1.0).unwrap_err()[0].message.clone()
}

#[test]
fn every_layer_in_its_order() {
    let dir = tree(&[
        ("inv/hosts", "h x=host\n[web]\nh\n[web:vars]\nx=group\n[all:vars]\nx=all\n"),
        ("inv/group_vars/all.yml", "x: gv-all\n"),
        ("inv/group_vars/web/a.yml", "x: gv-web\n"),
        ("inv/group_vars/web/.hidden.yml", "x: hidden\n"),
        ("inv/host_vars/h.yaml", "x: hv\n"),
        ("play/group_vars/all", "x: pgv-all\n"),
        ("play/group_vars/web.json", r#"{"x": "pgv-web"}"#),
        ("play/host_vars/h", "x: phv\n"),
    ]);
    let inventory = load(&dir, "inv", 1.0).unwrap();
    let dirs = [dir.path().join("play")];
    let origins = inventory.explain("x", "h", &dirs, &[]).unwrap();
    let values: Vec<String> = origins.iter().map(|origin| origin.value.to_string()).collect();
    assert_eq!(values, ["all", "group", "gv-all", "pgv-all", "gv-web", "pgv-web", "host", "hv", "phv"]);
    assert_eq!(origins.iter().filter(|origin| origin.wins).count(), 1);
    assert!(origins[1].place.as_ref().unwrap().ends_with("inv/hosts:5:1"), "{:?}", origins[1].place);
    assert_eq!(inventory.vars("h", &dirs).unwrap()["x"], Value::from("phv"));
    assert_eq!(inventory.vars("h", &[]).unwrap()["x"], Value::from("hv"));
}

#[test]
fn deeper_groups_and_priorities_win() {
    let dir = tree(&[(
        "hosts",
        "[a]\nh\n[b]\nh\n[a:vars]\nx=a\nansible_group_priority=10\n[b:vars]\nx=b\ny=b\n[top:children]\nb\n[top:vars]\ny=top\n",
    )]);
    let vars = load(&dir, "hosts", 1.0).unwrap().vars("h", &[]).unwrap();
    assert_eq!((&vars["x"], &vars["y"]), (&Value::from("b"), &Value::from("b")));
    let dir = tree(&[("hosts", "[a]\nh\n[b]\nh\n[a:vars]\nx=a\nansible_group_priority=10\n[b:vars]\nx=b\n")]);
    assert_eq!(load(&dir, "hosts", 1.0).unwrap().vars("h", &[]).unwrap()["x"], Value::from("a"));
}

#[test]
fn scripts_that_misbehave() {
    assert!(error("#!/bin/sh\nsleep 30\n").contains("did not finish within 1 s"));
    assert!(error("#!/bin/sh\necho '{\"web\": '\n").contains("not JSON"));
    assert!(error("#!/bin/sh\necho oops >&2; exit 3\n").contains("exit code 3"));
    assert!(error("#!/bin/sh\necho '[1]'\n").contains("no JSON object"));
    assert!(error("#!/bin/sh\necho '{\"web\": {\"hosts\": \"x\"}}'\n").contains("no list for the hosts"));
}

#[test]
fn scripts_with_and_without_meta() {
    let script = "#!/bin/sh\nif [ \"$1\" = --list ]; then echo '{\"web\": [\"w1\"], \"db\": {\"hosts\": [\"d1\"], \
                  \"vars\": {\"x\": 1}}, \"site\": {\"children\": [\"web\", \"db\"]}}'; else echo \"{\\\"me\\\": \\\"$2\\\"}\"; fi\n";
    let inventory = load(&tree(&[("inv", script)]), "inv", 20.0).unwrap();
    assert_eq!(inventory.vars("d1", &[]).unwrap()["me"], Value::from("d1"));
    assert_eq!(inventory.vars("d1", &[]).unwrap()["x"], Value::Int(1));
    let selected = inventory.select("site", &Limit::default()).unwrap();
    assert_eq!(selected.hosts, ["w1".into(), "d1".into()] as [Arc<str>; 2]);
}

#[test]
fn errors_name_what_is_wrong() {
    let missing = Inventory::load(&["web1".into()], Options::default()).unwrap_err();
    assert_eq!(missing[0].message, "cannot read inventory web1: there is no such file or directory");
    assert_eq!(missing[0].hint.as_deref(), Some("for a host of that name, add a comma: -i web1,"));
    let cycle = load(&tree(&[("h", "[a:children]\nb\n[b:children]\na\n")]), "h", 1.0).unwrap_err();
    assert!(cycle[0].message.contains("contains itself"), "{}", cycle[0].message);
    let dir = tree(&[("hosts", "h\n"), ("group_vars/all.yml", "- a\n"), ("host_vars/h.yml", "a: [\n")]);
    assert_eq!(load(&dir, "hosts", 1.0).unwrap().check(&[]).len(), 2);
}

#[test]
fn hosts_and_groups_may_come_at_run_time() {
    let inventory = load(&tree(&[("hosts", "[web]\nw1\n")]), "hosts", 1.0).unwrap();
    let vars = debark_value::map! { "x" => 1 };
    assert!(inventory.add_host("new", &["web".into(), "fresh".into()], &vars).unwrap());
    assert!(!inventory.add_host("new", &["web".into(), "fresh".into()], &vars).unwrap());
    assert!(inventory.group_by("w1", "os_debian", &["linux".into()]).unwrap());
    assert!(!inventory.group_by("w1", "os_debian", &["linux".into()]).unwrap());
    assert!(inventory.group_by("w1", "linux", &["os_debian".into()]).is_err());
    assert_eq!(inventory.vars("new", &[]).unwrap()["x"], Value::Int(1));
    assert_eq!(inventory.magic("w1")["group_names"], Value::list(["linux", "os_debian", "web"]));
    assert_eq!(inventory.magic("new")["groups"].get("fresh"), Some(&Value::list(["new"])));
}

#[test]
fn localhost_needs_no_inventory() {
    let inventory = Inventory::load(&["web1,web2:99,".into()], Options::default()).unwrap();
    assert_eq!(inventory.select("localhost", &Limit::default()).unwrap().hosts.len(), 1);
    assert_eq!(inventory.vars("localhost", &[]).unwrap()["ansible_connection"], Value::from("local"));
    assert_eq!(inventory.select("all", &Limit::default()).unwrap().hosts.len(), 2);
    assert_eq!(inventory.vars("web2", &[]).unwrap()["ansible_port"], Value::Int(99));
    let limit = Limit::parse(Some("web1")).unwrap();
    assert_eq!(inventory.select("all", &limit).unwrap().hosts.len(), 1);
}
