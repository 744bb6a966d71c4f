//! Parameters of the actions that interpreter and controller perform themselves, so that they are checked, suggested
//! and documented like those of modules.

use crate::param::{NO_RULES, Rules, Spec};
use crate::registry::short_name;
use crate::{Map, Value, params};

params! {
    /// Prints a message or a variable.
    pub struct Debug for "ansible.builtin.debug" {
        /// What to print.
        msg: Value = Value::from("Hello world!"),
        /// The variable or expression to print.
        var: Option<String>,
        /// Print only from this `-v` count on.
        verbosity: i64 = 0,
    }
    rules Rules { exclusive: &[&["msg", "var"]], ..NO_RULES }
}

params! {
    /// Fails unless all expressions are true.
    pub struct Assert for "ansible.builtin.assert" {
        /// Expressions, as in `when`.
        that: Value,
        /// What to say if one is false.
        fail_msg | msg: Option<Value>,
        /// What to say if all are true.
        success_msg: Option<Value>,
        /// Do not list what was checked.
        quiet: bool = false,
    }
    rules NO_RULES
}

params! {
    /// Fails.
    pub struct Fail for "ansible.builtin.fail" {
        /// Why.
        msg: String = "Failed as requested from task".to_owned(),
    }
    rules NO_RULES
}

params! {
    /// Sets variables of the host; every other parameter is one.
    pub struct SetFact for "ansible.builtin.set_fact" {
        /// Keep them as facts too, with a fact cache.
        cacheable: bool = false,
    }
    rules Rules { any_key: true, ..NO_RULES }
}

params! {
    /// Reads variables from files beside the playbook.
    pub struct IncludeVars for "ansible.builtin.include_vars" {
        /// One file.
        file: Option<String>,
        /// A directory of files.
        dir: Option<String>,
        /// Put what is read into this variable.
        name: Option<String>,
        /// How many levels of `dir` are read; 0 for all.
        depth: i64 = 0,
        /// Of `dir` only files whose names match this regular expression.
        files_matching: Option<String>,
        /// Names of files of `dir` that are left out.
        ignore_files: Vec<String>,
        /// Endings of files of `dir` that are read.
        extensions: Vec<String> = ["json", "yaml", "yml"].map(String::from).to_vec(),
        /// Pass over files of `dir` with other endings instead of failing.
        ignore_unknown_extensions: bool = false,
        /// `replace` or `merge` mappings that exist.
        hash_behaviour: Option<String>,
        /// One file, written after the action's name.
        _raw_params: Option<String>,
    }
    rules Rules { exclusive: &[&["file", "dir", "_raw_params"]], free_form: Some("_raw_params"), ..NO_RULES }
}

params! {
    /// Sets statistics of the run.
    pub struct SetStats for "ansible.builtin.set_stats" {
        /// The statistics.
        data: Map,
        /// For each host rather than for the run.
        per_host: bool = false,
        /// Add to what is there.
        aggregate: bool = true,
    }
    rules NO_RULES
}

params! {
    /// Adds a host to the inventory of this run; every other parameter is a variable of it.
    pub struct AddHost for "ansible.builtin.add_host" {
        /// The host's name, perhaps with `:port`.
        name | host | hostname: String,
        /// Groups to put it into.
        groups | group | groupname: Vec<String>,
    }
    rules Rules { any_key: true, ..NO_RULES }
}

params! {
    /// Puts hosts into groups by the value of an expression.
    pub struct GroupBy for "ansible.builtin.group_by" {
        /// The group's name.
        key: String,
        /// Its parent groups.
        parents: Vec<String> = vec!["all".to_owned()],
    }
    rules NO_RULES
}

params! {
    /// Waits some time, or for someone to press Enter.
    pub struct Pause for "ansible.builtin.pause" {
        /// Minutes to wait.
        minutes: Option<f64>,
        /// Seconds to wait.
        seconds: Option<f64>,
        /// What to ask.
        prompt: Option<String>,
        /// Show what is typed.
        echo: bool = true,
    }
    rules Rules { exclusive: &[&["minutes", "seconds"]], ..NO_RULES }
}

params! {
    /// Waits until the host can be reached.
    pub struct WaitForConnection for "ansible.builtin.wait_for_connection" {
        /// How long one attempt may take, in seconds.
        connect_timeout: i64 = 5,
        /// Seconds before the first attempt.
        delay: i64 = 0,
        /// Seconds between attempts.
        sleep: i64 = 1,
        /// Seconds until giving up.
        timeout: i64 = 600,
    }
    rules NO_RULES
}

params! {
    /// Acts on the run itself.
    pub struct Meta for "ansible.builtin.meta" {
        /// `flush_handlers`, `clear_facts`, `end_host`, `end_play`, `end_batch`, `end_role`, `noop`, `refresh_inventory`,
        /// `clear_host_errors`, `reset_connection`.
        free_form: MetaAction,
    }
    rules Rules { free_form: Some("free_form"), ..NO_RULES }
}

crate::choices! {
    /// What `meta` can do.
    pub enum MetaAction {
        FlushHandlers = "flush_handlers", ClearFacts = "clear_facts", ClearHostErrors = "clear_host_errors",
        EndBatch = "end_batch", EndHost = "end_host", EndPlay = "end_play", EndRole = "end_role", Noop = "noop",
        RefreshInventory = "refresh_inventory", ResetConnection = "reset_connection",
    }
}

params! {
    /// Runs the tasks of a file, chosen at run time.
    pub struct IncludeTasks for "ansible.builtin.include_tasks" {
        /// The file.
        file | _raw_params: String,
        /// Keywords for the tasks (`tags`, `become`, ...).
        apply: Option<Map>,
    }
    rules Rules { free_form: Some("file"), ..NO_RULES }
}

params! {
    /// Puts the tasks of a file in this place.
    pub struct ImportTasks for "ansible.builtin.import_tasks" {
        /// The file.
        file | _raw_params: String,
    }
    rules Rules { free_form: Some("file"), ..NO_RULES }
}

params! {
    /// Puts the plays of a file in this place.
    pub struct ImportPlaybook for "ansible.builtin.import_playbook" {
        /// The file.
        file | _raw_params: String,
    }
    rules Rules { free_form: Some("file"), ..NO_RULES }
}

params! {
    /// Runs a role, chosen at run time.
    pub struct IncludeRole for "ansible.builtin.include_role" {
        /// The role's name.
        name | role: String,
        /// Its file of tasks.
        tasks_from: String = "main".to_owned(),
        /// Its file of variables.
        vars_from: String = "main".to_owned(),
        /// Its file of defaults.
        defaults_from: String = "main".to_owned(),
        /// Its file of handlers.
        handlers_from: String = "main".to_owned(),
        /// Run it again although it ran with the same parameters.
        allow_duplicates: bool = true,
        /// Its variables stay for the rest of the play.
        public: bool = false,
        /// Keywords for its tasks.
        apply: Option<Map>,
        /// Check its parameters against its argument specification.
        rolespec_validate: bool = true,
    }
    rules NO_RULES
}

params! {
    /// Puts a role in this place.
    pub struct ImportRole for "ansible.builtin.import_role" {
        /// The role's name.
        name | role: String,
        /// Its file of tasks.
        tasks_from: String = "main".to_owned(),
        /// Its file of variables.
        vars_from: String = "main".to_owned(),
        /// Its file of defaults.
        defaults_from: String = "main".to_owned(),
        /// Its file of handlers.
        handlers_from: String = "main".to_owned(),
        /// Run it again although it ran with the same parameters.
        allow_duplicates: bool = true,
        /// Its variables stay for the rest of the play.
        public: Option<bool>,
        /// Check its parameters against its argument specification.
        rolespec_validate: bool = true,
    }
    rules NO_RULES
}

params! {
    /// Checks arguments against a specification, as roles with `argument_specs` do by themselves.
    pub struct ValidateArgumentSpec for "ansible.builtin.validate_argument_spec" {
        /// The specification: a mapping from names to `type`, `required`, `choices`, ...
        argument_spec: Map,
        /// The arguments.
        provided_arguments: Map = Map::new(),
        /// Where the specification comes from, for messages.
        validate_args_context: Option<Map>,
    }
    rules NO_RULES
}

params! {
    /// Tells how a task started with `async` is doing.
    pub struct AsyncStatus for "ansible.builtin.async_status" {
        /// The job's id (`ansible_job_id`).
        jid: String,
        /// Look at it, or forget it.
        mode: AsyncMode = AsyncMode::Status,
    }
    rules NO_RULES
}

crate::choices! {
    /// What `async_status` does.
    pub enum AsyncMode { Status = "status", Cleanup = "cleanup" }
}

/// One line per action.
static SPECS: &[&Spec] = &[
    &Debug::SPEC,
    &Assert::SPEC,
    &Fail::SPEC,
    &SetFact::SPEC,
    &IncludeVars::SPEC,
    &SetStats::SPEC,
    &AddHost::SPEC,
    &GroupBy::SPEC,
    &Pause::SPEC,
    &WaitForConnection::SPEC,
    &Meta::SPEC,
    &IncludeTasks::SPEC,
    &ImportTasks::SPEC,
    &ImportPlaybook::SPEC,
    &IncludeRole::SPEC,
    &ImportRole::SPEC,
    &ValidateArgumentSpec::SPEC,
    &AsyncStatus::SPEC,
];

/// The parameters of an action that is no module, by its name with or without collection.
pub fn builtin_spec(name: &str) -> Option<&'static Spec> {
    let short = short_name(name);
    SPECS.iter().find(|spec| short_name(spec.name) == short).copied()
}

/// All of them.
pub fn builtin_specs() -> impl Iterator<Item = &'static Spec> {
    SPECS.iter().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map;

    #[test]
    fn finds_specs_with_and_without_collection() {
        assert_eq!(builtin_spec("ansible.builtin.debug").unwrap().name, "ansible.builtin.debug");
        assert!(builtin_spec("set_fact").unwrap().rules.any_key);
        assert!(builtin_spec("copy").is_none());
    }

    #[test]
    fn set_fact_takes_any_key() {
        let given = SetFact::SPEC.normalise(&map! { "colour" => "red", "cacheable" => "yes" }).unwrap();
        assert_eq!(given["colour"], "red".into());
        assert!(SetFact::parse(&map! { "colour" => "red", "cacheable" => "yes" }).unwrap().cacheable);
    }

    #[test]
    fn rules_hold() {
        assert!(Debug::parse(&map! { "msg" => "a", "var" => "b" }).is_err());
        assert!(Meta::parse(&map! { "free_form" => "flush_handlers" }).is_ok());
        assert!(Meta::parse(&map! { "free_form" => "dance" }).is_err());
        assert!(Assert::parse(&map! {}).is_err());
        assert_eq!(IncludeTasks::parse(&map! { "_raw_params" => "x.yml" }).unwrap().file, "x.yml");
    }
}
