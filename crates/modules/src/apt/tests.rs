use super::*;

fn argv(args: Map, words: &[&str]) -> String {
    let params = Params::parse(&args).unwrap();
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let cmd = get::command(&params, &words);
    cmd.argv.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

const START: &str = "apt-get -y -q -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confdef \
                     -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=60";

#[test]
fn installs_with_plain_words() {
    assert_eq!(
        argv(map! { "name" => "a" }, &["install", "a", "b=1"]),
        format!("{START} -o APT::Cmd::Pattern-Only=true install -- a b=1")
    );
    let args = map! {
        "name" => "a", "default_release" => "trixie", "install-recommends" => false, "allow_downgrades" => true,
        "autoremove" => true, "fail_on_autoremove" => true, "dpkg_options" => "force-all", "lock_timeout" => 5,
    };
    assert_eq!(
        argv(args, &["install", "a"]),
        "apt-get -y -q -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-all -o DPkg::Lock::Timeout=5 -t trixie \
         -o APT::Install-Recommends=no -o APT::Cmd::Pattern-Only=true --auto-remove --no-remove \
         --allow-downgrades install -- a"
    );
}

#[test]
fn removes_and_upgrades_with_plain_words() {
    assert_eq!(
        argv(map! { "name" => "a", "purge" => true }, &["remove", "a"]),
        format!("{START} --purge remove -- a")
    );
    assert_eq!(
        argv(map! { "upgrade" => "safe" }, &["upgrade", "--with-new-pkgs"]),
        format!("{START} -o APT::Cmd::Pattern-Only=true upgrade --with-new-pkgs")
    );
}

#[test]
fn reads_a_simulation() {
    let steps = simulate::steps(
        "Reading package lists...\n\
         Inst base-files [12.4] (12.5 Debian:12.15/oldstable [amd64])\n\
         Inst hello (2.10-3 Debian:12.15/oldstable [amd64]) []\n\
         Conf hello (2.10-3 Debian:12.15/oldstable [amd64])\n\
         Remv old [1.0] [x:amd64 ]\n\
         Purg older [2.0]\n",
    );
    assert_eq!(steps.len(), 4);
    let diff = simulate::diff(&steps);
    assert_eq!(diff[0].before, "base-files 12.4\nold 1.0\nolder 2.0\n");
    assert_eq!(diff[0].after, "base-files 12.5\nhello 2.10-3\n");
}

#[test]
fn no_op_costs_no_process() {
    let host = Host::new(Rc::new(crate::upstream::NoUpstream));
    // With this PATH nothing could be started.
    host.options.borrow_mut().environment = vec![("PATH".into(), "/nonexistent".into())];
    let args = map! { "name" => Value::list(["dpkg", "bash>=1", "coreutils=*"]) };
    let outcome = plan(Params::parse(&args).unwrap(), &host);
    // On a machine where one of them is marked automatic a run would set that right.
    assert!(matches!(outcome.unwrap().action, crate::Action::Nothing | crate::Action::Run(_)));
    let args = map! { "name" => "no-such-package-here", "state" => "absent" };
    assert!(!plan(Params::parse(&args).unwrap(), &host).unwrap().changes());
}

#[test]
fn refuses_what_makes_no_sense() {
    let host = Host::new(Rc::new(crate::upstream::NoUpstream));
    let message = |args: Map| plan(Params::parse(&args).unwrap(), &host).err().map(|failure| failure.msg);
    assert_eq!(message(map! { "name" => "a=1=2" }).as_deref(), Some("invalid package spec: a=1=2"));
    assert_eq!(
        message(map! { "deb" => "/x.deb", "state" => "latest" }).as_deref(),
        Some("deb only supports state=present")
    );
    assert!(message(map! { "deb" => "/no/such.deb" }).unwrap().contains("/no/such.deb"));
    assert!(Params::parse(&map! { "name" => "a", "upgrade" => "dist" }).is_err());
}

#[test]
fn fetching_lists_is_left_to_the_run() {
    let host = Host::new(Rc::new(crate::upstream::NoUpstream));
    let look = || plan(Params::parse(&map! { "update_cache" => true }).unwrap(), &host).unwrap();
    assert!(matches!(look().action, crate::plan::Action::Prepare(_)));
    host.options.borrow_mut().check = true;
    let predicted = look();
    assert!(matches!(predicted.action, crate::plan::Action::Nothing));
    assert_eq!(predicted.result.get("cache_updated"), Some(&false.into()));
}
