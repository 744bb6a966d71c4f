//! The filters: Jinja2's, ansible.builtin's, and some of community.general's.
//!
//! A filter's error is a sentence that starts with a verb; whoever calls the filter puts its name before it.

mod basic;
mod collect;
mod data;
mod list;
mod path;
mod select;
mod text;
mod yaml;
mod yaml_load;

pub(crate) use basic::random_below;
pub(crate) use collect::{product_of, subelements_of};
pub(crate) use list::{flatten_into, sort_values};

use crate::error::{Res, nearest};
use crate::eval::{Args, Ctx};
use crate::value::V;

pub(crate) type FilterFn = fn(&mut Ctx<'_>, V, &Args) -> Res<V>;

pub(crate) struct Filter {
    pub name: &'static str,
    pub run: FilterFn,
    /// Whether it takes undefined and unknown values as they are.
    pub tolerant: bool,
}

const fn strict(name: &'static str, run: FilterFn) -> Filter {
    Filter { name, run, tolerant: false }
}

const fn tolerant(name: &'static str, run: FilterFn) -> Filter {
    Filter { name, run, tolerant: true }
}

const TABLES: &[&[Filter]] = &[
    basic::TABLE,
    select::TABLE,
    list::TABLE,
    collect::TABLE,
    text::TABLE,
    data::TABLE,
    path::TABLE,
    yaml::TABLE,
    yaml_load::TABLE,
];

/// The name without the collections whose filters live here.
pub(crate) fn short(name: &str) -> &str {
    const COLLECTIONS: [&str; 5] =
        ["ansible.builtin.", "ansible.legacy.", "community.general.", "ansible.utils.", "ansible.netcommon."];
    COLLECTIONS.iter().find_map(|collection| name.strip_prefix(collection)).unwrap_or(name)
}

pub(crate) fn find(name: &str) -> Option<&'static Filter> {
    let name = short(name);
    TABLES.iter().copied().flatten().find(|filter| filter.name == name)
}

/// What was probably meant.
pub(crate) fn suggest(name: &str) -> Option<String> {
    let names = TABLES.iter().copied().flatten().map(|filter| filter.name);
    nearest(short(name), names).map(|near| format!("did you mean '{near}'?"))
}
