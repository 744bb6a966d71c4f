//! `gather_facts`: only what the play mentions, unless it asks for more.

use std::path::PathBuf;

use debark_modules::facts::{FACT_PATH, Family, families_for, families_of, gather, patience};

use debark_wire::Gather;

use crate::run::{Flow, Running};
use debark_value::Order;

impl Running<'_> {
    /// Gathers what the play needs.
    pub fn gather(&self) -> Flow {
        let wanted = self.play.borrow().play.gather.clone();
        if !wanted.enabled {
            return Flow::Next;
        }
        let families = match families(&wanted) {
            Ok(families) => families,
            Err(why) => return self.no_facts(&why),
        };
        let path = wanted.fact_path.map_or_else(|| PathBuf::from(FACT_PATH), PathBuf::from);
        match gather(&families, &[], &path, patience(wanted.timeout), &self.on.host) {
            Ok(facts) => {
                self.on.state.borrow_mut().gathered(facts);
                self.share(|| (*self.on.state.borrow().fact_vars).clone());
                Flow::Next
            }
            Err(failure) => self.no_facts(&failure.msg),
        }
    }

    fn no_facts(&self, why: &str) -> Flow {
        let task = debark_wire::Task {
            action: "setup".into(),
            name: "Gathering Facts".into(),
            ..Default::default()
        };
        self.report_alone(&task, why);
        Flow::Failed
    }
}

fn families(wanted: &Gather) -> Result<Vec<Family>, String> {
    let Some(mentions) = wanted.mentions.as_ref().filter(|_| wanted.subset.is_empty()) else {
        return families_of(&wanted.subset).map_err(|failure| failure.msg);
    };
    let mut families: Vec<Family> = mentions.iter().filter_map(|name| families_for(name)).collect();
    families.order();
    families.dedup();
    Ok(families)
}
