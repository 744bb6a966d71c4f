use std::path::Path;

use debark_order::Probe;
use debark_playbook::diagnostic::render;

use super::*;
use crate::{Amount, Build, EntryKind, StoreLocation, TestGate, Vpn};

const GOOD: &str = include_str!("good.yml");

fn load(text: &str) -> Result<Project, String> {
    let sources = SourceMap::default();
    sources.add(Path::new("debark.yml"), text, false);
    Project::load(Path::new("debark.yml"), &sources).map_err(|errors| render(&errors, &sources, false))
}

#[test]
fn a_whole_project() {
    let project = load(GOOD).unwrap();
    let shop = &project.packages[0];
    assert_eq!((shop.name.as_str(), shop.tests[1].name.as_str()), ("shop", "unit"));
    let Build::Files(tree) = &shop.build else { panic!("{:?}", shop.build) };
    assert_eq!(tree.entries[0].kind, EntryKind::File { src: "bin/shop".into() });
    assert_eq!(tree.entries[1].mode, Some(0o640));
    assert_eq!(tree.control.relations["Depends"], ["perl-base", "adduser (>= 3.1)"]);
    let names: Vec<&str> = project.environments.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["staging", "prod"]);
    let prod = &project.environments[1];
    assert_eq!(prod.gates.tests, TestGate::Named(vec!["unit".into()]));
    assert_eq!(prod.gates.approvals.as_ref().unwrap().count, 1);
    assert_eq!(prod.freezes.len(), 2);
    let tunnel = |config: &str, identity: Option<&str>| Vpn::Wireguard {
        config: project.root.join(config),
        identity: identity.map(|path| project.root.join(path)),
    };
    assert_eq!(prod.vpn, tunnel("wg.conf", None));
    assert_eq!(project.environments[0].vpn, tunnel("vpn/staging.conf", Some("age.key")));
    assert!(matches!(&prod.store.location, StoreLocation::S3 { bucket, .. } if bucket == "releases"));
    let deploy = project.deploy(&shop.name, &prod.name);
    assert_eq!(deploy.serial, [Amount::Count(1), Amount::Percent(50)]);
    assert_eq!((deploy.hosts.as_str(), deploy.keep), ("web", 5));
    assert_eq!(deploy.checks.len(), 4);
    assert!(matches!(&deploy.checks[0].probe, Probe::Http { status, .. } if status == &[200]));
    assert_eq!(deploy.checks[0].within, 90_000);
    assert_eq!(deploy.pre.0.len(), 1);
    let staging = &project.environments[0];
    assert_eq!(project.deploy(&shop.name, &staging.name).keep, 3);
}

#[test]
fn many_mistakes_at_once() {
    insta::assert_snapshot!(load(include_str!("bad.yml")).unwrap_err());
}

#[test]
fn a_tunnel_needs_its_configuration() {
    let vpn = |text: &str| {
        load(&format!(
            "packages: {{}}\nenvironments: {{prod: {{inventory: hosts, allow: a, vpn: {text}}}}}\n"
        ))
    };
    assert!(vpn("{wireguard: {config: wg.conf}}").is_ok());
    let wrong = vpn("{wireguard: {conf: wg.conf}}").unwrap_err();
    assert!(
        wrong.contains("`wireguard` has no key `conf`") && wrong.contains("did you mean `config`?"),
        "{wrong}"
    );
    assert!(wrong.contains("`wireguard` needs `config`"), "{wrong}");
    assert!(vpn("{wireguard: [wg.conf]}").unwrap_err().contains("this has to be text"));
}

#[test]
fn what_is_no_project() {
    for text in
        ["", "- a\n", "packages: 3\n", "packages: {shop: 3}\n", "packages: {Shop: {build: cargo-deb}}\n"]
    {
        assert!(load(text).is_err(), "{text:?}");
    }
    assert!(load("packages: {shop: {build: cargo-deb}}\n").is_ok());
    // One that only audits.
    let audits = load("environments: {prod: {inventory: hosts}}\n").unwrap();
    assert!(audits.packages.is_empty() && audits.environments[0].allow.is_empty());
    assert!(load("packages: {shop: {build: {cargo-deb: }}}\n").is_ok());
}
