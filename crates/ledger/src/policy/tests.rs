use debark_order::{Environment, SealedOrder};

use super::*;
use crate::entry::{Entry, FORMAT, Finished, Kind, Outcome, Started};

const NOW: u64 = 1_800_000_000;

struct World {
    state: State,
    time: u64,
}

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn digest(version: &str) -> Digest {
    Digest::of(version.as_bytes())
}

impl World {
    fn new(environment: &str, time: u64) -> Self {
        Self { state: State::empty(name(environment)), time }
    }

    fn add(&mut self, actor: &str, kind: Kind) -> u64 {
        let entry = Entry {
            format: FORMAT,
            environment: self.state.environment.clone(),
            sequence: self.state.sequence + 1,
            time: self.time,
            actor: name(actor),
            reason: Some("because".into()),
            ci: None,
            kind,
        };
        self.state.apply(&entry).unwrap();
        entry.sequence
    }

    fn start(&mut self, action: DeployAction, version: &str) -> u64 {
        let (sequence, environment) = (self.state.sequence + 1, &self.state.environment);
        let order_action = if action == DeployAction::Rollback { "rollback" } else { "deploy" };
        let text = serde_json::json!({
            "format": 1, "environment": environment, "sequence": sequence, "action": order_action, "package": "shop",
            "version": version, "digest": digest(version), "size": 1, "actor": "alice@example.org", "issued": 0,
            "expires": 1, "keep": 3, "confirm_within": 1, "install_within": 1,
        });
        let started = Started {
            action,
            package: name("shop"),
            version: name(version),
            digest: digest(version),
            size: 1,
            commit: None,
            from: None,
            of: None,
            hosts: vec!["web1".into()],
            lease_seconds: 180,
            order: SealedOrder { text: text.to_string(), signature: String::new() },
        };
        self.add("alice@example.org", Kind::Started(Box::new(started)))
    }

    fn deploy(&mut self, action: DeployAction, version: &str, result: Outcome) {
        let of = self.start(action, version);
        let bad = result != Outcome::Succeeded;
        let finished = Finished { of, result, bad, hosts: Vec::new(), took_ms: 1, message: None };
        self.add("alice@example.org", Kind::Finished(finished));
    }

    fn approve(&mut self, actor: &str, version: &str) {
        let kind = Kind::Approved { package: name("shop"), version: name(version), digest: digest(version) };
        self.add(actor, kind);
    }
}

fn rules_of(
    rules: &Rules,
    here: &State,
    source: Option<&State>,
    action: DeployAction,
    version: &str,
) -> Vec<Refusal> {
    let (package, version_name, actor) = (name("shop"), name(version), name("alice@example.org"));
    let tests_passed = (version != "3.0").then_some(version != "2.0");
    let proposal = Proposal {
        action,
        package: &package,
        version: &version_name,
        digest: digest(version),
        actor: &actor,
        tests_passed,
    };
    check(rules, &proposal, here, source, Timestamp::from_second(NOW.try_into().unwrap()).unwrap())
}

fn refused(rules: &Rules, here: &World, source: Option<&World>, version: &str) -> Vec<Rule> {
    let refusals =
        rules_of(rules, &here.state, source.map(|world| &world.state), DeployAction::Deploy, version);
    assert!(refusals.iter().all(|refusal| !refusal.message.is_empty() && !refusal.hint.is_empty()));
    refusals.into_iter().map(|refusal| refusal.rule).collect()
}

#[test]
fn without_rules_everything_may_go() {
    assert_eq!(refused(&Rules::default(), &World::new("prod", NOW), None, "1.0"), []);
}

#[test]
fn only_what_was_live_and_good_long_enough_is_promoted() {
    let prod = World::new("prod", NOW - 3600);
    let mut staging = World::new("staging", NOW - 3600);
    let rules = Rules { promote_from: Some(name::<Environment>("staging")), soak: 3600, ..Rules::default() };
    assert_eq!(refused(&rules, &prod, None, "1.0"), [Rule::PromoteFrom]);
    assert_eq!(refused(&rules, &prod, Some(&staging), "1.0"), [Rule::PromoteFrom]);
    staging.deploy(DeployAction::Deploy, "1.0", Outcome::Succeeded);
    staging.time += 1;
    staging.deploy(DeployAction::Deploy, "1.1", Outcome::Succeeded);
    staging.deploy(DeployAction::Deploy, "1.2", Outcome::Reverted);
    assert_eq!(refused(&rules, &prod, Some(&staging), "1.0"), []);
    assert_eq!(refused(&rules, &prod, Some(&staging), "1.1"), [Rule::Soak]);
    assert_eq!(refused(&rules, &prod, Some(&staging), "1.2"), [Rule::PromoteFrom]);
    // The state of another environment proves nothing.
    assert_eq!(refused(&rules, &prod, Some(&prod), "1.0"), [Rule::PromoteFrom]);
    // What is rolled back there has not proved itself.
    staging.deploy(DeployAction::Rollback, "1.0", Outcome::Succeeded);
    assert_eq!(refused(&rules, &prod, Some(&staging), "1.1"), [Rule::PromoteFrom]);
}

#[test]
fn approvals_are_of_others_of_that_digest_and_each_counts_once() {
    let mut prod = World::new("prod", NOW);
    let rules = Rules { approvals: 2, ..Rules::default() };
    prod.approve("alice@example.org", "1.0");
    prod.approve("bob@example.org", "1.0");
    prod.approve("bob@example.org", "1.0");
    prod.approve("carol@example.org", "1.1");
    assert_eq!(refused(&rules, &prod, None, "1.0"), [Rule::Approvals]);
    prod.approve("carol@example.org", "1.0");
    assert_eq!(refused(&rules, &prod, None, "1.0"), []);
    let named = Rules { approvals: 1, approvers: vec![name("dave@example.org")], ..Rules::default() };
    assert_eq!(refused(&named, &prod, None, "1.0"), [Rule::Approvals]);
    let refusals = rules_of(&named, &prod.state, None, DeployAction::Deploy, "1.0");
    assert!(refusals[0].hint.contains("dave@example.org"), "{refusals:?}");
    // A release that proves bad has to be approved anew once that is lifted.
    prod.deploy(DeployAction::Deploy, "1.0", Outcome::Reverted);
    prod.add("bob@example.org", Kind::Released { package: Some(name("shop")), version: None, digest: None });
    assert_eq!(refused(&rules, &prod, None, "1.0"), [Rule::Approvals]);
}

#[test]
fn what_was_rolled_back_stays_away_until_somebody_lifts_it() {
    let mut prod = World::new("prod", NOW);
    prod.deploy(DeployAction::Deploy, "1.0", Outcome::Succeeded);
    prod.deploy(DeployAction::Deploy, "1.1", Outcome::Succeeded);
    prod.deploy(DeployAction::Rollback, "1.0", Outcome::Succeeded);
    let rules = Rules::default();
    assert_eq!(refused(&rules, &prod, None, "1.1"), [Rule::Bad]);
    assert_eq!(refused(&rules, &prod, None, "1.2"), []);
    let other = Kind::Released { package: Some(name("shop")), version: Some(name("1.2")), digest: None };
    prod.add("bob@example.org", other);
    assert_eq!(refused(&rules, &prod, None, "1.1"), [Rule::Bad]);
    let this = Kind::Released { package: Some(name("shop")), version: Some(name("1.1")), digest: None };
    prod.add("bob@example.org", this);
    assert_eq!(refused(&rules, &prod, None, "1.1"), []);
}

#[test]
fn holds_and_freezes_stop_deployments_and_no_rollback() {
    let mut prod = World::new("prod", NOW);
    prod.add(
        "bob@example.org",
        Kind::Held { package: Some(name("shop")), version: Some(name("1.0")), digest: None },
    );
    prod.add("bob@example.org", Kind::Frozen { until: Some(NOW + 10) });
    prod.add("bob@example.org", Kind::Frozen { until: Some(NOW) });
    let freeze = Closed { name: "on fri".into(), until: None };
    let rules = Rules { freezes: vec![freeze], tests: true, approvals: 3, ..Rules::default() };
    assert_eq!(
        refused(&rules, &prod, None, "1.0"),
        [Rule::Held, Rule::Calendar, Rule::Frozen, Rule::Approvals]
    );
    assert_eq!(rules_of(&rules, &prod.state, None, DeployAction::Rollback, "1.0"), []);
    assert_eq!(refused(&Rules::default(), &prod, None, "1.1"), [Rule::Frozen]);
    prod.add("bob@example.org", Kind::Thawed);
    assert_eq!(refused(&Rules::default(), &prod, None, "1.1"), []);
    prod.add("bob@example.org", Kind::Held { package: None, version: None, digest: None });
    assert_eq!(refused(&Rules::default(), &prod, None, "1.1"), [Rule::Held]);
}

#[test]
fn tests_have_to_have_passed() {
    let prod = World::new("prod", NOW);
    let rules = Rules { tests: true, ..Rules::default() };
    assert_eq!(refused(&rules, &prod, None, "1.0"), []);
    assert_eq!(refused(&rules, &prod, None, "2.0"), [Rule::Tests]);
    assert_eq!(refused(&rules, &prod, None, "3.0"), [Rule::Tests]);
}

#[test]
fn a_lease_stops_rollbacks_too_until_it_is_over() {
    let mut prod = World::new("prod", NOW - 179);
    prod.start(DeployAction::Deploy, "1.0");
    assert_eq!(refused(&Rules::default(), &prod, None, "1.0"), [Rule::Lease]);
    let of = |state: &State, action| rules_of(&Rules::default(), state, None, action, "0.9").len();
    assert_eq!(of(&prod.state, DeployAction::Rollback), 1);
    let mut prod = World::new("prod", NOW - 180);
    prod.start(DeployAction::Deploy, "1.0");
    assert_eq!(of(&prod.state, DeployAction::Rollback), 0);
    assert_eq!(refused(&Rules::default(), &prod, None, "1.0"), []);
}

#[test]
fn times_are_for_people() {
    assert_eq!(time(0), "1970-01-01 00:00 UTC");
    assert_eq!(time(u64::MAX), "never");
    let texts = [0, 59, 61, 3600, 90_061].map(duration);
    assert_eq!(texts, ["0s", "59s", "1m 1s", "1h", "1d 1h"]);
}
