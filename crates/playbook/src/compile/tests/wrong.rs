use super::*;

macro_rules! wrong {
    ($($name:ident: $text:expr;)*) => {$(
        #[test]
        fn $name() {
            insta::assert_snapshot!(site($text).wrong());
        }
    )*};
}

wrong! {
    unknown_play_keyword: "- hosts: all\n  taks: []\n";
    unknown_task_keyword: "- hosts: all\n  tasks:\n    - ping:\n      regster: x\n";
    keyword_at_the_wrong_level: "- hosts: all\n  tasks:\n    - ping:\n      serial: 1\n";
    unknown_module: "- hosts: all\n  tasks:\n    - name: x\n      pingg:\n";
    two_modules: "- hosts: all\n  tasks:\n    - ping:\n      debug: msg=x\n";
    no_module: "- hosts: all\n  tasks:\n    - name: nothing\n";
    unknown_parameter: "- hosts: all\n  tasks:\n    - ping: {dat: x}\n";
    keyword_indented_too_far: "- hosts: all\n  tasks:\n    - ping:\n        register: x\n";
    bad_boolean: "- hosts: all\n  become: maybe\n  tasks: []\n";
    tasks_that_are_a_mapping: "- hosts: all\n  tasks:\n    ping:\n";
    task_that_is_text: "- hosts: all\n  tasks:\n    - ping\n";
    play_without_hosts: "- ping:\n";
    playbook_that_is_a_mapping: "hosts: all\ntasks: []\n";
    empty_playbook: "# nothing\n";
    unknown_handler: "- hosts: all\n  tasks:\n    - ping:\n      notify: restrat\n  handlers:\n    - {name: restart, ping: }\n";
    missing_import: "- hosts: all\n  tasks:\n    - import_tasks: gone.yml\n";
    missing_include: "- hosts: all\n  tasks:\n    - include_tasks: gone.yml\n";
    missing_role: "- hosts: all\n  roles: [gone]\n";
    collection_role: "- hosts: all\n  roles: [a.b.c]\n";
    import_by_a_fact: "- hosts: all\n  tasks:\n    - import_tasks: '{{ ansible_os_family }}.yml'\n";
    looped_import: "- hosts: all\n  tasks:\n    - import_tasks: x.yml\n      loop: [1]\n";
    loop_over_a_bare_name: "- hosts: all\n  tasks:\n    - ping:\n      loop: things\n";
    unknown_with: "- hosts: all\n  tasks:\n    - ping:\n      with_item: [1]\n";
    bad_register: "- hosts: all\n  tasks:\n    - ping:\n      register: '{{ x }}'\n";
    bad_variable_name: "- hosts: all\n  vars: {a-b: 1}\n  tasks: []\n";
    unknown_debugger: "- hosts: all\n  tasks:\n    - ping:\n      debugger: on_fail\n";
    unknown_meta: "- hosts: all\n  tasks:\n    - meta: flush_handler\n";
    free_text_for_a_module: "- hosts: all\n  tasks:\n    - ping: hello there\n";
    open_quote_in_parameters: "- hosts: all\n  tasks:\n    - debug: msg='x\n";
    block_as_handler: "- hosts: all\n  tasks: []\n  handlers:\n    - block: [{ping: }]\n";
    rescue_without_block: "- hosts: all\n  tasks:\n    - rescue: [{ping: }]\n";
    legacy_include: "- hosts: all\n  tasks:\n    - include: x.yml\n";
    bad_template: "- hosts: all\n  tasks:\n    - debug: {msg: 'a {{ b | defalt(1) }}'}\n";
    bad_template_in_a_block: "- hosts: all\n  tasks:\n    - debug:\n        msg: |\n          one\n          two {{ b + }}\n";
    bad_condition: "- hosts: all\n  tasks:\n    - ping:\n      when: a = b\n";
    include_with_a_keyword_of_tasks: "- hosts: all\n  tasks:\n    - include_tasks: site.yml\n      become: true\n";
    missing_script: "- hosts: all\n  tasks:\n    - script: gone.sh --now\n";
    missing_vars: "- hosts: all\n  vars_files: [gone.yml]\n  tasks:\n    - include_vars: gone2.yml\n";
    module_of_another_system: "- hosts: all\n  tasks:\n    - block:\n        - community.mysql.mysql_db: {name: x}\n    - zypper: name=x\n";
    several_at_once: "- hosts: all\n  tasks:\n    - pingg:\n    - ping: {x: 1}\n    - debug: msg=x\n      wehn: y\n";
}

#[test]
fn modules_of_other_systems_may_stand_where_nobody_comes() {
    let project = site(
        "- hosts: all\n  tasks:\n    - zypper: {name: x}\n      when: ansible_os_family == 'Suse'\n    \
         - include_tasks: other.yml\n      when: false\n    \
         - mysql_db: {name: '{{ item }}'}\n      loop: '{{ databases | default([]) }}'\n    \
         - {package: {name: x, enablerepo: epel}, when: false}\n    - {systemd: {force: true}, when: false}\n",
    );
    std::fs::write(project.path("other.yml"), "- a.b.c: {x: '{{ y }}'}\n- yum: name=x\n").unwrap();
    let compiled = project.compiler().compile(&[project.path("site.yml")]).unwrap();
    assert_eq!(compiled.warnings.len(), 1, "{}", project.shown(&compiled.warnings));
    let zypper = compiled.plays[0].play.tasks.iter().find_map(|node| match node {
        Node::Task(task) if task.action == "zypper" => Some(task),
        _ => None,
    });
    assert_eq!(zypper.unwrap().args.len(), 1);
}

#[test]
fn a_missing_include_under_a_condition_is_a_warning() {
    let project = site("- hosts: all\n  tasks:\n    - include_tasks: gone.yml\n      when: false\n");
    let compiled = project.compiler().compile(&[project.path("site.yml")]).unwrap();
    assert_eq!(compiled.warnings.len(), 1);
}

#[test]
fn a_missing_role_under_a_condition_is_a_warning() {
    let project = site(
        "- hosts: all\n  tasks:\n    - include_role: {name: gone}\n      when: false\n    - include_role: {name: a.b.c}\n      loop: []\n",
    );
    let compiled = project.compiler().compile(&[project.path("site.yml")]).unwrap();
    assert_eq!(compiled.warnings.len(), 2);
    insta::assert_snapshot!(site("- hosts: all\n  tasks:\n    - include_role: {name: gone}\n").wrong());
}

#[test]
fn modules_in_python() {
    let project = Project::new(&[
        ("site.yml", "- hosts: all\n  roles: [web]\n  tasks:\n    - own:\n    - {mine: , when: false}\n"),
        ("library/own.py", "x\n"),
        ("roles/web/tasks/main.yml", "- mine: {a: b}\n- import_tasks: more.yml\n"),
        ("roles/web/tasks/more.yml", "- mine: {a: b}\n  when: false\n"),
        ("roles/web/library/mine.py", "x\n"),
    ]);
    insta::assert_snapshot!(project.wrong());
}

#[test]
fn filters_and_tests_in_python() {
    let plugin = "class FilterModule:\n    def filters(self):\n        return {'shout': str.upper}\n";
    let project = Project::new(&[
        (
            "site.yml",
            "- hosts: all\n  roles: [web]\n  tasks:\n    - debug: {msg: \"{{ 'a' | shout }}\"}\n      when: 1 is odds\n",
        ),
        ("filter_plugins/a.py", "x = 'other'\n"),
        ("filter_plugins/voices.py", plugin),
        (
            "test_plugins/numbers.py",
            "class TestModule:\n    def tests(self):\n        return {\"odds\": odds}\n",
        ),
        (
            "roles/web/tasks/main.yml",
            "- debug: {msg: \"{{ 'a' | whisper }}\"}\n- debug: {msg: \"{{ 'a' | murmur }}\"}\n",
        ),
        ("roles/web/filter_plugins/low.py", "FILTERS = {'whisper': str.lower}\n"),
    ]);
    insta::assert_snapshot!(project.wrong());
}

#[test]
fn nobody_is_there_to_be_asked_by_a_debugger() {
    let project = site(
        "- hosts: all\n  strategy: debug\n  debugger: never\n  tasks:\n    - block:\n        - ping:\n          \
         debugger: always\n      debugger: on_failed\n",
    );
    let compiled = project.compiler().compile(&[project.path("site.yml")]).unwrap();
    insta::assert_snapshot!(project.shown(&compiled.warnings));
    let keyword = &compiled.plays[0].play.keywords.debugger;
    assert_eq!(keyword.as_ref().and_then(|value| value.as_str()), Some("never"));
}

#[test]
fn an_import_of_itself() {
    let project = Project::new(&[
        ("site.yml", "- hosts: all\n  tasks:\n    - import_tasks: a.yml\n"),
        ("a.yml", "- import_tasks: b.yml\n"),
        ("b.yml", "- import_tasks: a.yml\n"),
    ]);
    insta::assert_snapshot!(project.wrong());
}

#[test]
fn a_playbook_that_imports_itself() {
    insta::assert_snapshot!(site("- import_playbook: site.yml\n").wrong());
}

#[test]
fn roles_that_need_each_other() {
    let project = Project::new(&[
        ("site.yml", "- hosts: all\n  roles: [a]\n"),
        ("roles/a/meta/main.yml", "dependencies: [b]\n"),
        ("roles/b/meta/main.yml", "dependencies: [a]\n"),
    ]);
    insta::assert_snapshot!(project.wrong());
}

#[test]
fn a_missing_file_of_a_role() {
    let project = Project::new(&[
        ("site.yml", "- hosts: all\n  tasks:\n    - import_role: {name: web, tasks_from: instal}\n"),
        ("roles/web/tasks/install.yml", "[]\n"),
    ]);
    insta::assert_snapshot!(project.wrong());
}

#[test]
fn an_include_that_includes_itself_is_fine() {
    let project = Project::new(&[
        ("site.yml", "- hosts: all\n  tasks:\n    - include_tasks: a.yml\n"),
        ("a.yml", "- include_tasks: a.yml\n  when: false\n"),
    ]);
    assert_eq!(names(&project.compile()[0].play.tasks), ["include_tasks"]);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn never_panics(text in "(- |hosts: |tasks:|block:|ping:|when: |loop: |roles: |: |\n|  |    |\\{\\{|\\}\\}|'|[a-z]|\\[|\\]|,){0,40}") {
        let project = site(&text);
        drop(project.compiler().compile(&[project.path("site.yml")]));
    }
}
