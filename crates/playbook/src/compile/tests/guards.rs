//! `guard`.

use super::*;

fn guards(nodes: &[Node]) -> Vec<Value> {
    let mut found = Vec::new();
    for node in nodes {
        if let Node::Block(block) = node {
            found.extend(block.guard.clone());
            if block.guard.is_some() {
                let last = block.block.last();
                assert!(matches!(last, Some(Node::Task(task)) if task.action == "meta"), "{last:?}");
            }
            [&block.block, &block.rescue, &block.always].iter().for_each(|part| found.extend(guards(part)));
        }
    }
    found
}

#[test]
fn stands_around_tasks_blocks_and_plays() {
    let project = site(
        "- hosts: all\n  tasks:\n    - {guard: 60s, ping: }\n    - guard: {confirm_within: '{{ within }}'}\n      \
         block: [{ping: }]\n      rescue: [{ping: }]\n- hosts: all\n  guard: 5m\n  tasks: [{ping: }]\n",
    );
    let plays = project.compile();
    assert_eq!(guards(&plays[0].play.tasks), [Value::from(60), Value::from("{{ within }}")]);
    assert_eq!(guards(&plays[1].play.tasks), [Value::from(300)]);
    let listed = plays[0].list().task_lines();
    assert_eq!(listed.matches("ping").count(), 3, "{listed}");
    assert!(!listed.contains("guard"), "{listed}");
}

#[test]
fn what_is_wrong_with_one() {
    let wrong = |task: &str| site(&format!("- hosts: all\n  tasks:\n    - {task}\n")).wrong();
    for (task, said) in [
        ("{guard: soon, ping: }", "`guard` wants a time"),
        ("{guard: , ping: }", "`guard` wants a time"),
        ("{guard: {}, ping: }", "`guard` wants a time"),
        ("{guard: 2s, ping: }", "from 5 seconds to a day, got `2s`"),
        ("{guard: {confirm_wihin: 60s}, ping: }", "`guard` has no key `confirm_wihin`"),
        ("{guard: {confirm_wihin: 60s}, ping: }", "did you mean `confirm_within`?"),
        ("{guard: 60s, block: [{guard: 60s, ping: }]}", "a guard stands within another guard"),
        ("{guard: 60s, block: [{async: 5, command: 'true'}]}", "cannot run in the background"),
        ("{guard: '{{ a b }}', ping: }", "site.yml:3:"),
    ] {
        let shown = wrong(task);
        assert!(shown.contains(said) && shown.contains("site.yml:3:"), "{task}: {shown}");
    }
    let shown = site("- hosts: all\n  tasks: []\n  handlers: [{name: x, guard: 60s, ping: }]\n").wrong();
    assert!(shown.contains("a handler cannot have a guard of its own"), "{shown}");
}
