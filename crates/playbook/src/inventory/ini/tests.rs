use debark_value::Value;

use super::*;
use crate::SourceMap;

fn data(text: &str) -> Data {
    let mut data = Data::default();
    read(&mut data, text, 0, 0, false).unwrap();
    data.settle().unwrap();
    data
}

fn error(text: &str) -> String {
    let sources = SourceMap::default();
    let file = sources.add("hosts".as_ref(), text, false);
    read(&mut Data::default(), text, 0, file, false).unwrap_err().one_line(&sources)
}

fn members(data: &Data, group: &str) -> String {
    let ids = data.members(data.group_id(group).unwrap());
    ids.iter().map(|id| &*data.host(*id).name).collect::<Vec<_>>().join(" ")
}

#[test]
fn hosts_groups_and_children() {
    let data = data(
        "top:2200 a=1\n\n[web] # comment\nw[1:2] weight=10 motd=\"it's on\" # more\n\n[db:vars]\nx = [1, 'b']\n\
         y=two words # kept\n[site:children]\nweb\ndb # later\n[db]\nw2 weight='5'\ndb1\n",
    );
    assert_eq!(members(&data, "site"), "w1 w2 db1");
    assert_eq!(members(&data, "ungrouped"), "top");
    assert_eq!(members(&data, "all"), "top w1 w2 db1");
    let host = |name: &str| data.host(data.host_id(name).unwrap());
    assert_eq!(host("top").vars["ansible_port"].value, Value::Int(2200));
    assert_eq!(host("w1").vars["motd"].value, Value::from("it's on"));
    assert_eq!(host("w2").vars["weight"].value, Value::Int(5), "the last line wins");
    let db = data.group(data.group_id("db").unwrap());
    assert_eq!(db.vars["x"].value.to_string(), "[1, 'b']");
    assert_eq!(db.vars["y"].value, Value::from("two words # kept"));
    assert_eq!(db.vars["x"].span.unwrap().line, 7);
}

#[test]
fn a_group_may_be_listed_before_it_is_declared() {
    let data = data("[a:children]\nb\n[b:children]\nc\n[c]\nh\n");
    assert_eq!(members(&data, "a"), "h");
    assert_eq!(data.group(data.group_id("c").unwrap()).depth, 3);
}

#[test]
fn errors_have_places() {
    for (text, message) in [
        ("[web]\nw1 color\n", "hosts:2:1: `color` is not a variable: expected name=value"),
        ("w1 a='b\n", "hosts:1:1: this host line cannot be taken apart: a quote is not closed"),
        ("[web server]\n", "hosts:1:1: `[web server]` is not a section header"),
        ("[web:var]\n", "hosts:1:1: section [web:var] is of no known kind"),
        ("[web:vars]\nx\n", "hosts:2:1: `x` is not a variable: expected name=value"),
        ("[web:vars]\nx=1\n", "hosts:1:1: [web:vars] is for a group that is not defined"),
        ("[a:children]\nb\n", "hosts:2:1: [a:children] lists group `b`, which is not defined"),
        ("[a:children]\nb c\n", "hosts:2:1: `b c` is not a group's name"),
        ("  web[1:\n", "hosts:1:3: the range in `web[1:` has no closing bracket"),
        ("all:\n", "hosts:1:1: host `all:` ends in a colon, which starts a port"),
        ("---\n", "hosts:1:1: `---` is not a host"),
        (
            "[a:vars]\nansible_group_priority=high\n[a]\n",
            "hosts:2:1: `ansible_group_priority` wants a whole number, got \"high\"",
        ),
    ] {
        assert_eq!(error(text), message, "{text}");
    }
}
