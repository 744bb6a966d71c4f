//! Which tasks `--tags` and `--skip-tags` select (Ansible's `Taggable.evaluate_tags`).

/// What the user asked for.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// `--tags`; empty counts as `all`.
    pub only: Vec<String>,
    /// `--skip-tags`.
    pub skip: Vec<String>,
}

impl Selection {
    /// Whether a task with these tags (its own and all inherited) runs.
    pub fn selects(&self, tags: &[String]) -> bool {
        let has = |tag: &str| tags.iter().any(|t| t == tag);
        let asks = |list: &[String], tag: &str| list.iter().any(|t| t == tag);
        let shares = |list: &[String]| {
            if tags.is_empty() { asks(list, "untagged") } else { list.iter().any(|tag| has(tag)) }
        };
        let all = self.only.is_empty() || asks(&self.only, "all");
        let wanted = has("always")
            || (all && !has("never"))
            || shares(&self.only)
            || (asks(&self.only, "tagged") && !tags.is_empty() && !has("never"));
        let left_out = if asks(&self.skip, "all") {
            !has("always") || asks(&self.skip, "always")
        } else {
            shares(&self.skip) || (asks(&self.skip, "tagged") && !tags.is_empty())
        };
        wanted && !left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(only: &[&str], skip: &[&str], tags: &[&str]) -> bool {
        let own = |list: &[&str]| list.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        Selection { only: own(only), skip: own(skip) }.selects(&own(tags))
    }

    #[test]
    fn as_ansible_documents_it() {
        assert!(selects(&[], &[], &[]));
        assert!(selects(&["web"], &[], &["web", "db"]));
        assert!(!selects(&["web"], &[], &[]));
        assert!(selects(&["web"], &[], &["always"]));
        assert!(!selects(&[], &[], &["never", "debug"]));
        assert!(selects(&["debug"], &[], &["never", "debug"]));
        assert!(!selects(&["tagged"], &[], &[]));
        assert!(selects(&["tagged"], &[], &["x"]));
        assert!(selects(&["untagged"], &[], &[]));
        assert!(!selects(&["untagged"], &[], &["x"]));
        assert!(!selects(&[], &["web"], &["web"]));
        assert!(selects(&[], &["all"], &["always"]));
        assert!(!selects(&[], &["all", "always"], &["always"]));
        assert!(!selects(&[], &["tagged"], &["x"]));
        assert!(!selects(&[], &["always"], &["always"]));
    }
}
