use super::*;

#[test]
fn a_play_with_everything_plain() {
    let plays = site(
        "- name: first
  hosts: web:!old
  become: true
  serial: [1, 50%]
  gather_subset: network, hardware
  vars: {a: 1}
  pre_tasks:
    - ping:
  tasks:
    - name: say
      command: echo {{ ansible_hostname }} creates=/x
      when: a == 1
      loop: [1, 2]
      loop_control: {loop_var: n, label: '{{ n }}'}
      register: said
      notify: restart
    - block:
        - debug: msg=hello
      rescue:
        - debug: {var: said}
      when: [a is defined, true]
  handlers:
    - name: restart
      command: 'true'
      listen: [again]
",
    )
    .compile();
    let [play] = &plays[..] else { panic!() };
    assert_eq!((&*play.play.name, &play.hosts[..]), ("first", &["web:!old".to_owned()][..]));
    assert_eq!(play.serial, [Value::from(1), Value::from("50%")]);
    assert_eq!(play.play.gather.subset, ["network", "hardware"]);
    assert_eq!(play.play.gather.mentions, Some(vec!["ansible_hostname".to_owned()]));
    assert_eq!(play.play.keywords.become_, Some(Value::from(true)));
    assert_eq!(play.vars.get("a"), Some(&Value::from(1)));
    assert_eq!(names(&play.play.tasks), ["ping", "say", "debug", "debug"]);
    assert_eq!(play.play.tasks.len(), 6, "flushes after each part");
    let all = tasks(&play.play.tasks);
    let say = all[1];
    assert_eq!(say.args.get("creates"), Some(&Value::from("/x")));
    assert_eq!(say.args.get("cmd"), Some(&Value::from("echo {{ ansible_hostname }}")));
    assert_eq!((say.span.line, say.span.column), (10, 7));
    let looping = say.looping.as_ref().unwrap();
    assert_eq!((&*looping.var, looping.label.as_ref()), ("n", Some(&Value::from("{{ n }}"))));
    assert_eq!(say.register.as_deref(), Some("said"));
    assert_eq!(all[2].args.get("msg"), Some(&Value::from("hello")));
    assert_eq!(play.play.handlers.len(), 1);
    assert!(all.windows(2).all(|pair| pair[0].id < pair[1].id));
}

#[test]
fn tags_select_and_blocks_pass_them_on() {
    let text = "- hosts: all
  tasks:
    - {name: one, ping: , tags: a}
    - {name: two, ping: }
    - block:
        - {name: three, ping: , tags: b}
        - {name: four, ping: , tags: never}
      tags: [a]
    - {name: five, ping: , tags: always}
  handlers:
    - {name: h, ping: }
";
    let run = |only: &[&str], skip: &[&str]| names(&site(text).tags(only, skip).compile()[0].play.tasks);
    assert_eq!(run(&[], &[]), ["one", "two", "three", "five"]);
    assert_eq!(run(&["a"], &[]), ["one", "three", "four", "five"]);
    assert_eq!(run(&[], &["b", "always"]), ["one", "two"]);
    assert_eq!(site(text).tags(&["nothing"], &[]).compile()[0].play.handlers.len(), 1);
}

#[test]
fn old_forms() {
    let plays = site(
        "- hosts: all
  tasks:
    - action: command echo a=b chdir=/tmp
    - local_action: {module: debug, msg: hi}
    - debug: '{{ options }}'
    - command: ls
      args: {chdir: /}
    - debug:
      args: '{{ options }}'
    - meta: noop
    - set_fact: a=1 b='x y'
",
    )
    .compile();
    let all = tasks(&plays[0].play.tasks);
    let text = |task: &Task, key: &str| task.args.get(key).map(ToString::to_string);
    assert_eq!(text(all[0], "cmd").as_deref(), Some("echo a=b"));
    assert_eq!(text(all[0], "chdir").as_deref(), Some("/tmp"));
    assert_eq!(all[1].keywords.delegate_to, Some(Value::from("localhost")));
    assert_eq!(all[2].args_template, Some(Value::from("{{ options }}")));
    assert_eq!(text(all[3], "chdir").as_deref(), Some("/"));
    assert_eq!(all[4].args_template, Some(Value::from("{{ options }}")));
    assert_eq!(text(all[5], "free_form").as_deref(), Some("noop"));
    assert_eq!(text(all[6], "b").as_deref(), Some("x y"));
}

#[test]
fn imports_become_blocks() {
    let project = Project::new(&[
        (
            "site.yml",
            "- import_playbook: other.yml\n  vars: {v: 1}\n  tags: [p]\n  when: v == 1\n- hosts: all\n  tasks:\n    - import_tasks: 'tasks/{{ what }}.yml'\n      vars: {what: a}\n      when: x\n      tags: t\n",
        ),
        ("other.yml", "- hosts: db\n  tasks:\n    - ping:\n"),
        ("tasks/a.yml", "- import_tasks: b.yml\n- {name: a, ping: }\n"),
        ("tasks/b.yml", "- {name: b, ping: }\n"),
    ]);
    let plays = project.compile();
    assert_eq!(plays.len(), 2);
    assert_eq!(plays[0].vars.get("v"), Some(&Value::from(1)));
    assert_eq!(plays[0].play.keywords.tags, ["p"]);
    let Node::Block(block) = &plays[0].play.tasks[1] else { panic!("{:?}", plays[0].play.tasks) };
    assert_eq!(block.keywords.when.len(), 1);
    assert_eq!(plays[1].play.index, 1);
    assert_eq!(names(&plays[1].play.tasks), ["b", "a"]);
    let Node::Block(block) = &plays[1].play.tasks[1] else { panic!() };
    assert_eq!((block.keywords.when.len(), &block.keywords.tags[..]), (1, &["t".to_owned()][..]));
    assert_eq!(tasks(&plays[1].play.tasks)[0].span.line, 1);
    assert!(
        plays[1].play.files.iter().any(|file| file.ends_with("tasks/b.yml")),
        "{:?}",
        plays[1].play.files
    );
}

#[test]
fn an_include_is_looked_into_and_compiled_later() {
    let project = Project::new(&[
        ("site.yml", "- hosts: all\n  tasks:\n    - include_tasks: more.yml\n    - ping:\n"),
        ("more.yml", "- {name: a, debug: {msg: '{{ ansible_fqdn }}'}, tags: x}\n- {name: b, ping: }\n"),
    ]);
    let compiler = project.compiler();
    let plays = compiler.compile(&[project.path("site.yml")]).unwrap().plays;
    let play = &plays[0].play;
    assert_eq!(names(&play.tasks), ["include_tasks", "ping"]);
    assert_eq!(play.gather.mentions, Some(vec!["ansible_fqdn".to_owned()]));
    let asking = Asking {
        collections: &[],
        playbook_dir: project.dir.path(),
        role_path: None,
        role: None,
        from: &play.files[0],
        tags: &[],
        handlers: false,
        next: Next { task: play.next_task, role: 0, file: play.files.len() as u32 },
        vars: Map::new(),
    };
    let included = compiler.include_tasks(&asking, "more.yml").unwrap();
    assert_eq!(names(&included.tasks), ["a", "b"]);
    assert_eq!(tasks(&included.tasks)[0].id, play.next_task);
    assert_eq!(tasks(&included.tasks)[0].span.file, play.files.len() as u32);
    assert_eq!(included.next_task, play.next_task + 2);
    assert!(compiler.include_tasks(&asking, "gone.yml").is_err());
}

#[test]
fn start_at_task() {
    let mut project = site(
        "- hosts: all\n  tasks:\n    - {name: one, ping: }\n    - block:\n        - {name: two, ping: }\n        - {name: three, ping: }\n",
    );
    project.options.start_at_task = Some("tw*".to_owned());
    assert_eq!(names(&project.compile()[0].play.tasks), ["two", "three"]);
    project.options.start_at_task = Some("thre".to_owned());
    insta::assert_snapshot!(project.wrong());
}

#[test]
fn five_thousand_tasks_compile_quickly() {
    let mut text = String::from("- hosts: all\n  tasks:\n");
    for n in 0..5000 {
        text.push_str(&format!("    - name: task {n}\n      command: echo {n}\n      when: ansible_os_family == 'Debian'\n      register: r{n}\n"));
    }
    let project = site(&text);
    let start = std::time::Instant::now();
    assert_eq!(tasks(&project.compile()[0].play.tasks).len(), 5000);
    // Without optimization on a busy machine; an optimized build takes a fraction.
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[test]
fn lists_tasks_and_tags_as_ansible_does() {
    let project = Project::new(&[
        (
            "site.yml",
            "- hosts: [a, b]\n  tags: p\n  roles: [{role: r, tags: y}]\n  tasks:\n    - {name: x, ping: , tags: z}\n    - ping:\n",
        ),
        ("roles/r/tasks/main.yml", "- {name: in role, ping: }\n"),
    ]);
    let listed = project.compile()[0].list();
    insta::assert_snapshot!(format!("{}\n{}{}", listed.heading(1), listed.task_lines(), listed.tag_line()));
}

#[test]
fn include_vars_reads_files_and_directories() {
    let project = Project::new(&[
        ("vars/a.yml", "a: 1\n"),
        ("more/b.yml", "b: 2\n"),
        ("more/deep/c.json", "{\"c\": 3}"),
        ("more/skip.txt", "x"),
        ("bad.yml", "[1]"),
    ]);
    let compiler = project.compiler();
    let read = |args: Map| compiler.include_vars(&args, project.dir.path(), None, None);
    assert_eq!(read(debark_value::map! { "file" => "a.yml" }).unwrap().vars.get("a"), Some(&1.into()));
    assert!(
        read(debark_value::map! { "dir" => "more" }).unwrap_err().contains("skip.txt does not end in one of")
    );
    let all =
        read(debark_value::map! { "dir" => "more", "ignore_files" => "skip.txt", "name" => "n" }).unwrap();
    assert_eq!(all.vars.get("n"), Some(&Value::from(debark_value::map! { "b" => 2, "c" => 3 })));
    assert_eq!(all.files.len(), 2);
    let top = read(debark_value::map! { "dir" => "more", "depth" => 1, "ignore_unknown_extensions" => true })
        .unwrap();
    assert_eq!(top.files.len(), 1);
    assert!(read(debark_value::map! { "file" => "gone.yml" }).unwrap_err().contains("vars/gone.yml"));
    assert!(
        read(debark_value::map! { "file" => "bad.yml" })
            .unwrap_err()
            .contains("a file of variables is a mapping")
    );
}

#[test]
fn facts_that_variables_mention_are_gathered() {
    let mut play = site("- hosts: all\n  tags: a\n  tasks: [{debug: {msg: '{{ ansible_fqdn }}'}}]\n")
        .compile()
        .remove(0);
    play.mention(&Value::from(debark_value::map! { "x" => "{{ ansible_domain }}" }));
    assert_eq!(play.play.gather.mentions, Some(vec!["ansible_domain".to_owned(), "ansible_fqdn".to_owned()]));
    play.mention(&Value::from("{{ hostvars }}"));
    assert!(play.play.gather.mentions.is_none() && play.play.share_vars);
    let other = site("- hosts: all\n  tags: a\n  tasks: []\n").tags(&["b"], &[]).compile();
    assert!(!other[0].play.gather.enabled);
}
