use super::*;

fn web() -> Vec<(&'static str, &'static str)> {
    vec![
        (
            "roles/web/tasks/main.yml",
            "- {name: install, ping: , notify: restart web}\n- import_tasks: conf.yml\n",
        ),
        ("roles/web/tasks/conf.yml", "- {name: conf, ping: }\n"),
        ("roles/web/handlers/main.yml", "- {name: restart web, ping: }\n"),
        ("roles/web/defaults/main.yml", "port: 80\n"),
        ("roles/web/vars/main/a.yml", "x: 1\n"),
        ("roles/web/vars/main/b.yml", "y: 2\n"),
        ("roles/web/meta/main.yml", "dependencies:\n  - role: common\n    level: 3\n"),
        (
            "roles/web/meta/argument_specs.yml",
            "argument_specs:\n  main:\n    short_description: Web\n    options: {port: {type: int}}\n",
        ),
        ("roles/common/tasks/main.yml", "- {name: common, ping: }\n"),
    ]
}

fn project(site: &'static str) -> Project {
    let mut files = web();
    files.push(("site.yml", site));
    Project::new(&files)
}

#[test]
fn a_role_with_its_parts() {
    let plays = project("- hosts: all\n  roles:\n    - {role: web, http_port: 8080, tags: w, when: go}\n  tasks:\n    - {name: last, ping: }\n").compile();
    let play = &plays[0].play;
    assert_eq!(
        names(&play.tasks),
        ["common", "Validating arguments against arg spec 'main' - Web", "install", "conf", "last"]
    );
    assert_eq!(names(&play.handlers), ["restart web"]);
    let role = &play.roles[0];
    assert_eq!(
        (&*role.name, role.defaults.get("port"), role.params.get("http_port")),
        ("web", Some(&80.into()), Some(&8080.into()))
    );
    assert_eq!(role.vars.len(), 2);
    assert_eq!(role.dependencies, [1]);
    assert_eq!((&*play.roles[1].name, play.roles[1].params.get("level")), ("common", Some(&3.into())));
    assert!(play.roles[1].parents.is_empty(), "Ansible names parents of what is included or imported only");
    let all = tasks(&play.tasks);
    assert_eq!((all[0].role, all[2].role, all[4].role), (Some(1), Some(0), None));
    let Node::Block(block) = &play.tasks[1] else { panic!() };
    assert_eq!((&block.keywords.tags[..], block.keywords.when.len()), (&["w".to_owned()][..], 1));
    assert_eq!(plays[0].role_names, ["web"]);
}

#[test]
fn equal_roles_run_once() {
    let run = |text| names(&project(text).compile()[0].play.tasks);
    let validate = "Validating arguments against arg spec 'main' - Web";
    assert_eq!(
        run("- hosts: all\n  roles: [common, common, {role: common, a: 1}, {role: common, a: 1}]\n"),
        ["common", "common"]
    );
    assert_eq!(run("- hosts: all\n  roles: [web, web]\n"), ["common", validate, "install", "conf"]);
    assert_eq!(
        run("- hosts: all\n  tasks:\n    - import_role: {name: common}\n    - import_role: {name: common}\n"),
        ["common", "common"]
    );
    let plays =
        project("- hosts: all\n  roles: [{role: common, when: a}, {role: common, when: a}]\n").compile();
    let once: Vec<_> = plays[0]
        .play
        .tasks
        .iter()
        .filter_map(|node| match node {
            Node::Block(block) => Some(block.once),
            Node::Task(_) => None,
        })
        .collect();
    assert_eq!(once, [Some(0), Some(0)]);
}

#[test]
fn import_and_include_options() {
    let project = project(
        "- hosts: all\n  tasks:\n    - import_role: {name: web, tasks_from: conf}\n      vars: {port: 1}\n    - include_role: {name: web}\n    - ping:\n      notify: restart web\n",
    );
    let compiler = project.compiler();
    let plays = match compiler.compile(&[project.path("site.yml")]) {
        Ok(compiled) => compiled.plays,
        Err(wrong) => {
            // `notify` on an include is no keyword of Ansible's, and harmless.
            panic!("{}", project.shown(&wrong));
        }
    };
    let play = &plays[0].play;
    assert_eq!(names(&play.tasks), ["common", "conf", "include_role", "ping"]);
    assert_eq!(play.roles.len(), 2);
    let asking = Asking {
        collections: &[],
        playbook_dir: project.dir.path(),
        role_path: None,
        role: None,
        from: &play.files[0],
        tags: &[],
        handlers: false,
        next: Next { task: 100, role: 2, file: 7 },
        vars: Map::new(),
    };
    let included = compiler.include_role(&asking, "web", &Map::new(), &Map::new()).unwrap();
    assert_eq!(included.roles.len(), 2);
    let Node::Block(block) = &included.tasks[0] else { panic!() };
    assert_eq!(block.role, Some(2));
    assert!(!included.roles[0].public);
    assert_eq!(names(&included.handlers), ["restart web"]);
}

#[test]
fn files_travel_with_the_play() {
    let project = Project::new(&[
        ("site.yml", "- hosts: all\n  roles: [r]\n"),
        ("roles/r/tasks/main.yml", "- script: run.sh --now\n- include_tasks: other.yml\n"),
        ("roles/r/tasks/other.yml", "- ping:\n"),
        ("roles/r/files/run.sh", "#!/bin/sh\n"),
        ("roles/r/templates/sub/a.j2", "{{ ansible_domain }}"),
    ]);
    let plays = project.compile();
    let play = &plays[0].play;
    let found: Vec<_> = play.found.iter().map(|found| (&*found.path, found.place, found.role)).collect();
    assert!(found.contains(&("sub/a.j2", Place::Templates, Some(0))), "{found:?}");
    assert_eq!(play.gather.mentions, Some(vec!["ansible_domain".to_owned()]));
    let tree = project
        .compiler()
        .find("run.sh", Place::Files, project.dir.path(), Some(&project.path("roles/r")), None)
        .unwrap();
    assert_eq!(tree.name, "run.sh");
    assert!(
        project
            .compiler()
            .find("gone", Place::Files, Path::new("/"), None, None)
            .unwrap_err()
            .contains("/files/gone")
    );
}

#[test]
fn roles_of_collections_know_their_own() {
    let kit = "collections/ansible_collections/lab/kit";
    let project = Project::new(&[
        ("site.yml", "- hosts: all\n  collections: [lab.kit]\n  roles: [lab.kit.web, base]\n"),
        (&format!("{kit}/roles/web/tasks/main.yml"), "- import_role: {name: base}\n"),
        (&format!("{kit}/roles/base/tasks/main.yml"), "- {name: of the collection, ping: }\n"),
        ("roles/base/tasks/main.yml", "- {name: of nobody, ping: }\n"),
    ]);
    let plays = project.compile();
    assert_eq!(names(&plays[0].play.tasks), ["of the collection", "of the collection"]);
    let roles: Vec<_> = plays[0].play.roles.iter().map(|role| role.full_name()).collect();
    assert_eq!(roles, ["lab.kit.web", "lab.kit.base", "lab.kit.base"]);
}
