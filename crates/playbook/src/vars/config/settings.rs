//! What `ansible.cfg` and `ANSIBLE_...` variables say of a run: defaults below the command line.

use std::path::PathBuf;

use super::Config;
use crate::diagnostic::{Diagnostic, did_you_mean};

/// Defaults of a run. `None`, empty or false: not set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// `remote_user`.
    pub user: Option<String>,
    /// `private_key_file`.
    pub private_key: Option<String>,
    /// `forks`.
    pub forks: Option<usize>,
    /// `timeout`: seconds for connecting.
    pub timeout: Option<u32>,
    /// `become`.
    pub become_: bool,
    /// `become_user`.
    pub become_user: Option<String>,
    /// `become_method`.
    pub become_method: Option<String>,
    /// `become_ask_pass`.
    pub ask_become_pass: bool,
    /// `ssh_args`, `ssh_common_args` and `ssh_extra_args`, as one text: `ProxyJump` may be there.
    pub ssh_args: Option<String>,
    /// `gathering = explicit`: facts are gathered only where a play says so.
    pub gather_explicitly: bool,
    /// `strategy`, for plays without one.
    pub strategy: Option<String>,
    /// `force_handlers`.
    pub force_handlers: bool,
    /// `enable_task_debugger`: each task that fails stops for the user.
    pub debugger: bool,
    /// `always` of `[diff]`.
    pub diff: bool,
    /// `run` of `[tags]`.
    pub tags: Vec<String>,
    /// `skip` of `[tags]`.
    pub skip_tags: Vec<String>,
    /// `verbosity`.
    pub verbosity: u8,
    /// `ansible_managed`, as a template.
    pub managed: Option<String>,
    /// What is set and is not followed, or follows other rules here.
    pub notes: Vec<Diagnostic>,
}

/// Settings of Ansible that stand for something here, or that do nothing worth mentioning, by section. Others have no
/// effect either; a name that is nearly one of these is probably mistyped.
const KNOWN: &[&str] = &[
    "inventory",
    "roles_path",
    "collections_path",
    "remote_user",
    "private_key_file",
    "forks",
    "timeout",
    "gathering",
    "strategy",
    "force_handlers",
    "enable_task_debugger",
    "vault_password_file",
    "vault_identity_list",
    "vault_id_match",
    "ask_vault_pass",
    "host_key_checking",
    "hash_behaviour",
    "ansible_managed",
    "verbosity",
];

impl Settings {
    /// From the environment and the `ansible.cfg` that counts.
    pub fn load() -> Self {
        Self::of(&Config::load())
    }

    fn of(config: &Config) -> Self {
        let mut notes = Vec::new();
        let text = |env: &str, section: &str, key: &str| config.get(env, section, key);
        let default = |env: &str, key: &str| text(env, "defaults", key);
        let flag = |env: &str, section: &str, key: &str| truth(text(env, section, key));
        let mut number = |env: &str, key: &str| -> Option<u32> {
            let text = default(env, key)?;
            let parsed = text.parse().ok();
            if parsed.is_none() {
                let place = config.place("defaults", key);
                notes.push(Diagnostic::warning(format!("{place}: `{key}` is `{text}`, which is no number")));
            }
            parsed
        };
        let forks = number("ANSIBLE_FORKS", "forks");
        let timeout = number("ANSIBLE_TIMEOUT", "timeout");
        let verbosity = number("ANSIBLE_VERBOSITY", "verbosity");
        let escalation = |env: &str, key: &str| text(env, "privilege_escalation", key);
        let words = |env: &str, key: &str| -> Vec<String> {
            let text = text(env, "tags", key).unwrap_or_default();
            text.split(',').map(|tag| tag.trim().to_owned()).filter(|tag| !tag.is_empty()).collect()
        };
        let ssh = |env: &str, key: &str| text(env, "ssh_connection", key);
        let ssh_args: Vec<String> = [
            ssh("ANSIBLE_SSH_ARGS", "ssh_args").map(|text| without_multiplexing(&text)),
            ssh("ANSIBLE_SSH_COMMON_ARGS", "ssh_common_args"),
            ssh("ANSIBLE_SSH_EXTRA_ARGS", "ssh_extra_args"),
        ]
        .into_iter()
        .flatten()
        .filter(|text| !text.is_empty())
        .collect();
        let settings = Self {
            user: default("ANSIBLE_REMOTE_USER", "remote_user"),
            private_key: default("ANSIBLE_PRIVATE_KEY_FILE", "private_key_file")
                .map(|path| config.located("ANSIBLE_PRIVATE_KEY_FILE", &path).to_string_lossy().into_owned()),
            forks: forks.map(|forks| forks.max(1) as usize),
            timeout,
            become_: truth(escalation("ANSIBLE_BECOME", "become")),
            become_user: escalation("ANSIBLE_BECOME_USER", "become_user"),
            become_method: escalation("ANSIBLE_BECOME_METHOD", "become_method"),
            ask_become_pass: truth(escalation("ANSIBLE_BECOME_ASK_PASS", "become_ask_pass")),
            ssh_args: Some(ssh_args.join(" ")).filter(|text| !text.is_empty()),
            gather_explicitly: default("ANSIBLE_GATHERING", "gathering").as_deref() == Some("explicit"),
            strategy: default("ANSIBLE_STRATEGY", "strategy")
                // Mitogen's strategies are Ansible's own, made faster.
                .map(|name| name.trim_start_matches("mitogen_").to_owned()),
            force_handlers: flag("ANSIBLE_FORCE_HANDLERS", "defaults", "force_handlers"),
            debugger: flag("ANSIBLE_ENABLE_TASK_DEBUGGER", "defaults", "enable_task_debugger"),
            diff: flag("ANSIBLE_DIFF_ALWAYS", "diff", "always"),
            tags: words("ANSIBLE_RUN_TAGS", "run"),
            skip_tags: words("ANSIBLE_SKIP_TAGS", "skip"),
            verbosity: verbosity.and_then(|count| u8::try_from(count).ok()).unwrap_or(0),
            managed: default("ANSIBLE_MANAGED_STR", "ansible_managed").map(|text| managed(&text)),
            notes: Vec::new(),
        };
        settings.with_notes(config, notes)
    }

    fn with_notes(mut self, config: &Config, mut notes: Vec<Diagnostic>) -> Self {
        let checks = config.get("ANSIBLE_HOST_KEY_CHECKING", "defaults", "host_key_checking");
        if checks.as_ref().is_some_and(|text| !truth(Some(text.clone()))) {
            let place = config.place("defaults", "host_key_checking");
            notes.push(
                Diagnostic::warning(format!("{place}: `host_key_checking` is off, and keys are checked all the same"))
                    .hint("`ssh-keyscan HOST >> ~/.ssh/known_hosts`, with the fingerprint compared, makes a host known"),
            );
        }
        let merge = config.get("ANSIBLE_HASH_BEHAVIOUR", "defaults", "hash_behaviour");
        if merge.as_deref() == Some("merge") {
            let place = config.place("defaults", "hash_behaviour");
            notes.push(
                Diagnostic::error(format!("{place}: `hash_behaviour = merge` is not supported"))
                    .hint("variables replace each other; use the filter `combine(..., recursive=true)` where they should be merged"),
            );
        }
        if let Some(strategy) = self.strategy.take_if(|name| !STRATEGIES.contains(&name.as_str())) {
            let place = config.place("defaults", "strategy");
            notes.push(Diagnostic::warning(format!(
                "{place}: the strategy `{strategy}` is not known, `linear` is used"
            )));
        }
        let method = self.become_method.take_if(|name| !METHODS.contains(&name.as_str()));
        if let Some(method) = method {
            let place = config.place("privilege_escalation", "become_method");
            notes.push(
                Diagnostic::error(format!("{place}: `become_method` is `{method}`, which is not supported"))
                    .hint(format!("it is one of {}", METHODS.join(", "))),
            );
        }
        for key in config.keys("defaults") {
            if KNOWN.contains(&key) || !nearly(key) {
                continue;
            }
            let place = config.place("defaults", key);
            let hint = did_you_mean(key, KNOWN.iter().copied());
            notes.push(Diagnostic::warning(format!("{place}: there is no setting `{key}`")).maybe_hint(hint));
        }
        self.notes = notes;
        self
    }
}

const STRATEGIES: [&str; 4] = ["linear", "free", "host_pinned", "debug"];
const METHODS: [&str; 3] = ["sudo", "su", "doas"];

/// Whether one letter too few, too many or wrong makes it one of [`KNOWN`].
fn nearly(key: &str) -> bool {
    // Real settings that differ by little from others.
    const OTHERS: [&str; 3] = ["ask_pass", "roles_paths", "collections_paths"];
    !OTHERS.contains(&key) && KNOWN.iter().any(|known| strsim::damerau_levenshtein(known, key) == 1)
}

fn truth(text: Option<String>) -> bool {
    text.is_some_and(|text| ["1", "true", "yes", "on", "y", "t"].contains(&&*text.to_lowercase()))
}

/// Options of the connection that Ansible shares between its tasks: here there is one per run.
fn without_multiplexing(text: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut words = text.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let shared = |word: &str| word.starts_with("Control");
        if word == "-C" || word.strip_prefix("-o").is_some_and(shared) {
            continue;
        }
        if word == "-o" && words.peek().is_some_and(|next| shared(next)) {
            words.next();
            continue;
        }
        kept.push(word);
    }
    kept.join(" ")
}

/// The old placeholders as the variables that templates have. Times are left out: they would make every run differ.
fn managed(text: &str) -> String {
    let text = text.replace("{file}", "{{ template_path }}").replace("{host}", "{{ template_host }}");
    text.replace("{uid}", "{{ template_uid }}")
}

/// The path of a file that a setting names.
pub(super) fn expand(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        Settings::of(&Config::of("/srv/site/ansible.cfg".into(), text))
    }

    #[test]
    fn a_usual_file_is_followed() {
        let settings = settings(
            "[defaults]\nremote_user = deploy\nprivate_key_file = keys/id\nforks=20\ngathering = explicit\nstrategy = \
             mitogen_free\nretry_files_enabled = False\ncallbacks_enabled = timer\n\n[privilege_escalation]\nbecome = \
             True\nbecome_user = root\n[ssh_connection]\npipelining = True\nssh_args = -C -o ControlMaster=auto -o \
             ControlPersist=60s -oControlPath=/tmp/%h -J bastion\n[diff]\nalways = yes\n[tags]\nskip = slow, never\n",
        );
        assert_eq!(settings.user.as_deref(), Some("deploy"));
        assert_eq!(settings.private_key.as_deref(), Some("/srv/site/keys/id"));
        assert_eq!((settings.forks, settings.gather_explicitly), (Some(20), true));
        assert_eq!(settings.strategy.as_deref(), Some("free"));
        assert!(settings.become_ && settings.diff && !settings.force_handlers);
        assert_eq!(settings.ssh_args.as_deref(), Some("-J bastion"));
        assert_eq!(settings.skip_tags, ["slow", "never"]);
        assert!(settings.notes.is_empty(), "{:?}", settings.notes);
    }

    #[test]
    fn what_is_not_followed_is_told() {
        let settings = settings(
            "[defaults]\nhost_key_checking = False\nhash_behaviour = merge\nstrategy = debug_me\nforks = many\nrole_path = x\n\
             [privilege_escalation]\nbecome_method = pbrun\n",
        );
        let said: Vec<&str> = settings.notes.iter().map(|note| note.message.as_str()).collect();
        assert_eq!(
            said,
            [
                "/srv/site/ansible.cfg:5: `forks` is `many`, which is no number",
                "/srv/site/ansible.cfg:2: `host_key_checking` is off, and keys are checked all the same",
                "/srv/site/ansible.cfg:3: `hash_behaviour = merge` is not supported",
                "/srv/site/ansible.cfg:4: the strategy `debug_me` is not known, `linear` is used",
                "/srv/site/ansible.cfg:8: `become_method` is `pbrun`, which is not supported",
                "/srv/site/ansible.cfg:6: there is no setting `role_path`",
            ]
        );
        assert_eq!(settings.notes.last().unwrap().hint.as_deref(), Some("did you mean `roles_path`?"));
        assert_eq!(settings.notes.iter().filter(|note| note.is_error()).count(), 2);
    }
}
