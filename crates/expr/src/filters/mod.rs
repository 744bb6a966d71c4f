//! The filters: Jinja2's, ansible.builtin's, and some of community.general's.
//!
//! A filter's error is a sentence that starts with a verb; whoever calls the filter puts its name before it.

mod basic;
mod collect;
#[cfg(feature = "whole")]
mod community;
mod data;
#[cfg(feature = "whole")]
mod ipaddr;
#[cfg(feature = "whole")]
mod jmespath;
mod list;
#[cfg(feature = "whole")]
mod mac;
mod path;
mod select;
#[cfg(all(test, feature = "whole"))]
mod tests;
mod text;
#[cfg(feature = "whole")]
mod urlize;
mod yaml;
mod yaml_load;

pub(crate) use basic::random_below;
pub(crate) use collect::{product_of, subelements_of};
pub(crate) use list::{flatten_into, sort_values};
pub(crate) use select::attribute;

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
    #[cfg(feature = "whole")]
    community::TABLE,
    #[cfg(feature = "whole")]
    urlize::TABLE,
    #[cfg(feature = "whole")]
    ipaddr::TABLE,
    #[cfg(feature = "whole")]
    jmespath::TABLE,
    #[cfg(feature = "whole")]
    mac::TABLE,
];

/// Filters that debark's agent is built without (feature `whole`), for its size: there they are asked of the controller.
/// They are functions of what they are given, so that any host may ask for any of them.
const ELSEWHERE: [&str; 35] = [
    "cidr_merge",
    "crc32",
    "dict_kv",
    "from_csv",
    "hwaddr",
    "ip4_hex",
    "ipaddr",
    "ipmath",
    "ipsubnet",
    "ipv4",
    "ipv6",
    "ipwrap",
    "json_query",
    "lists_mergeby",
    "macaddr",
    "network_in_network",
    "network_in_usable",
    "next_nth_usable",
    "nthhost",
    "previous_nth_usable",
    "reduce_on_network",
    "replace_keys",
    "slaac",
    "to_days",
    "to_hours",
    "to_milliseconds",
    "to_minutes",
    "to_months",
    "to_seconds",
    "to_time_unit",
    "to_weeks",
    "to_years",
    "urlize",
    "usable_range",
    "version_sort",
];

/// The short name of a filter that the whole of debark has, be it built in here or not.
pub(crate) fn elsewhere(name: &str) -> Option<&'static str> {
    let name = short(name);
    ELSEWHERE.iter().copied().find(|known| *known == name)
}

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
