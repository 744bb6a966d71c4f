use super::*;

fn host() -> Host {
    Host::new(std::rc::Rc::new(crate::upstream::NoUpstream))
}

#[test]
fn variables_lead_to_families() {
    assert_eq!(families_for("ansible_default_ipv4"), Some(Family::Network));
    assert_eq!(families_for("mounts"), Some(Family::Mounts));
    assert_eq!(families_for("ansible_facts.os_family"), Some(Family::Distribution));
    assert_eq!(families_for("ansible_distribution_major_version"), Some(Family::Distribution));
    assert_eq!(families_for("ansible_ens3"), Some(Family::Network));
    assert_eq!(families_for("ansible_check_mode"), None);
    assert_eq!(families_for("ansible_local"), Some(Family::Local));
    assert_eq!(families_for("ansible_env"), Some(Family::Env));
    assert_eq!(families_for("ansible_python_version"), Some(Family::Python));
    assert_eq!(families_for("ansible_python_interpreter"), None);
}

#[test]
fn every_family_declares_what_it_yields() {
    for family in all().filter(|family| *family != Family::Network) {
        for name in gather(&[family], &[], Path::new(FACT_PATH), TIMEOUT, &host()).unwrap().keys() {
            assert_eq!(families_for(name), Some(family), "{name}");
        }
    }
}

#[test]
fn subsets_add_and_leave_out() {
    let words = |words: &[&str]| families_of(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
    assert_eq!(words(&["all"]).unwrap().len(), all().count());
    let minimal = words(&["!all"]).unwrap();
    assert!(minimal.contains(&Family::Distribution) && !minimal.contains(&Family::Network));
    assert_eq!(words(&["!all", "!min", "network"]).unwrap(), [Family::Network]);
    assert!(!words(&["all", "!hardware"]).unwrap().contains(&Family::Mounts));
    assert!(words(&["!all", "mounts"]).unwrap().contains(&Family::Mounts));
    assert!(words(&["facter", "ohai"]).is_ok());
    assert_eq!(words(&["nonsense"]).unwrap_err().msg, "gather_subset does not know `nonsense`");
}

#[test]
fn filters_by_pattern_with_or_without_prefix() {
    let families = [Family::Memory, Family::Distribution];
    let gather = |filter: &str| {
        gather(&families, &[filter.to_owned()], Path::new(FACT_PATH), TIMEOUT, &host()).unwrap()
    };
    assert!(gather("ansible_mem*").keys().all(|name| name.starts_with("mem")));
    assert_eq!(gather("distribution").len(), 1);
}

#[test]
fn gathering_all_costs_milliseconds() {
    let families: Vec<Family> = all().collect();
    gather(&families, &[], Path::new(FACT_PATH), TIMEOUT, &host()).unwrap();
    let started = std::time::Instant::now();
    let facts = gather(&families, &[], Path::new(FACT_PATH), TIMEOUT, &host()).unwrap();
    let elapsed = started.elapsed();
    assert!(facts.len() > 80, "{} facts", facts.len());
    // Far beyond what it takes, so that a busy machine does not fail it; a program per fact would.
    assert!(elapsed.as_millis() < 200, "{elapsed:?}");
}
