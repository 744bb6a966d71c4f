//! Every key of the file: what reading, the schema and the reference go by.

/// What a mapping may hold.
#[derive(Debug)]
pub struct Table {
    /// In messages: `a package`.
    pub what: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

/// A key.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What its value looks like.
    pub shape: Shape,
    /// Whether it has to be there.
    pub required: bool,
    /// What it means: a sentence.
    pub doc: &'static str,
}

/// What a value looks like.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Text; numbers count as they are written.
    Text,
    /// `true`, `false`.
    Bool,
    /// A number.
    Int,
    /// `30s`.
    Duration,
    /// A list of texts, or one.
    Words,
    /// A line for the shell, or a list of words.
    Program,
    /// `3` or `25%`.
    Amount,
    /// A list of amounts, or one.
    Amounts,
    /// One of these.
    Choice(&'static [&'static str]),
    /// A list of these, or one.
    Choices(&'static [&'static str]),
    /// A mapping.
    Map(&'static Table),
    /// A mapping, or text that stands for it.
    TextOr(&'static Table),
    /// A list of mappings.
    List(&'static Table),
    /// A list of mappings, or of texts that stand for them.
    TextsOr(&'static Table),
    /// Names, each with such a mapping.
    Named(&'static Table),
    /// Names, each with text.
    Texts,
    /// Tasks of a playbook.
    Tasks,
    /// `all`, or a list of names.
    AllOrWords,
}

const fn key(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key { name, shape, required: false, doc }
}

const fn need(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key { name, shape, required: true, doc }
}

pub static PROJECT: Table = Table {
    what: "a project",
    keys: &[
        key(
            "packages",
            Shape::Named(&PACKAGE),
            "What is built and deployed, by name; a project that only audits has none.",
        ),
        key("environments", Shape::Named(&ENVIRONMENT), "Where it is deployed to, by name."),
        key(
            "deploy",
            Shape::Map(&DEPLOY),
            "How it is deployed; packages and environments may differ in any key.",
        ),
        key(
            "store",
            Shape::TextOr(&STORE),
            "Where packages are published: a directory or `s3://BUCKET/PREFIX`; an apt repository. Default: `.debark/store`.",
        ),
        key("trust", Shape::Map(&TRUST), "Whom to trust, unless an environment says otherwise."),
        key("ledger", Shape::Map(&LEDGER), "Where the record of releases is."),
        key("notify", Shape::List(&NOTIFY), "Whom to tell of what."),
    ],
};

pub static PACKAGE: Table = Table {
    what: "a package",
    keys: &[
        key(
            "source",
            Shape::Text,
            "A directory within a git repository, or a URL that `git clone` takes. Default: the project's directory.",
        ),
        key(
            "version",
            Shape::Text,
            "The version; without it, it comes from the commit's tag (`v1.4.2` or `NAME-1.4.2`).",
        ),
        key(
            "test",
            Shape::TextsOr(&TEST),
            "What has to succeed before it is built: lines for the shell, or mappings with `name` and `run`.",
        ),
        need("build", Shape::TextOr(&BUILD), "How the .deb comes about: `files`, `cargo-deb` or `command`."),
        key("deploy", Shape::Map(&DEPLOY), "What is different when this package is deployed."),
    ],
};

pub static TEST: Table = Table {
    what: "a test",
    keys: &[
        need("name", Shape::Text, "What gates and provenance call it."),
        need(
            "run",
            Shape::Program,
            "What is run, in the checked out source: a line for the shell, or a list of words.",
        ),
    ],
};

pub static BUILD: Table = Table {
    what: "a build",
    keys: &[
        key("files", Shape::List(&ENTRY), "What is put into the package; debark itself makes the .deb."),
        key("cargo-deb", Shape::Words, "Made by cargo-deb; further arguments for it."),
        key("command", Shape::Program, "Made by a program that leaves one .deb."),
        key(
            "output",
            Shape::Text,
            "For `command`: where the .deb is afterwards; `*` stands for anything within a name. Default: `*.deb`.",
        ),
        key(
            "prepare",
            Shape::Program,
            "For `files`: what is run before they are taken: a compiler, a bundler.",
        ),
        key("maintainer", Shape::Text, "For `files`: `Name <address>`."),
        key(
            "description",
            Shape::Text,
            "For `files`: the synopsis in the first line, the long description below it.",
        ),
        key("section", Shape::Text, "For `files`: the control file's `Section`. Default: `misc`."),
        key(
            "priority",
            Shape::Choice(&["required", "important", "standard", "optional", "extra"]),
            "For `files`: the control file's `Priority`. Default: `optional`.",
        ),
        key(
            "architecture",
            Shape::Text,
            "For `files`: `all`, `amd64`, ... Default: that of the ELF files, `all` if there are none.",
        ),
        key("homepage", Shape::Text, "For `files`: a URL."),
        key("pre-depends", Shape::Words, "For `files`: the control file's `Pre-Depends`."),
        key("depends", Shape::Words, "For `files`: the control file's `Depends`."),
        key("recommends", Shape::Words, "For `files`: the control file's `Recommends`."),
        key("suggests", Shape::Words, "For `files`: the control file's `Suggests`."),
        key("enhances", Shape::Words, "For `files`: the control file's `Enhances`."),
        key("breaks", Shape::Words, "For `files`: the control file's `Breaks`."),
        key("conflicts", Shape::Words, "For `files`: the control file's `Conflicts`."),
        key("replaces", Shape::Words, "For `files`: the control file's `Replaces`."),
        key("provides", Shape::Words, "For `files`: the control file's `Provides`."),
        key("fields", Shape::Texts, "For `files`: further fields of the control file."),
        key(
            "copyright",
            Shape::Text,
            "For `files`: the file with the licence. Default: `LICENSE`, `COPYING` or `copyright`, if there is one.",
        ),
        key(
            "scripts",
            Shape::Map(&SCRIPTS),
            "For `files`: maintainer scripts. What units need is added to them.",
        ),
        key("units", Shape::TextsOr(&UNIT), "For `files`: systemd units."),
        key(
            "conffiles",
            Shape::Words,
            "For `files`: configuration files outside `/etc`, as absolute paths on the host; those below `/etc` always are.",
        ),
        key(
            "compression",
            Shape::Choice(&["xz", "zstd", "gzip"]),
            "For `files`: default `xz`, which every dpkg reads; `zstd` needs bookworm.",
        ),
    ],
};

/// Keys of [`BUILD`] that name fields of relations, with the fields' names.
pub static RELATIONS: [(&str, &str); 9] = [
    ("pre-depends", "Pre-Depends"),
    ("depends", "Depends"),
    ("recommends", "Recommends"),
    ("suggests", "Suggests"),
    ("enhances", "Enhances"),
    ("breaks", "Breaks"),
    ("conflicts", "Conflicts"),
    ("replaces", "Replaces"),
    ("provides", "Provides"),
];

pub static ENTRY: Table = Table {
    what: "a file of a package",
    keys: &[
        key(
            "src",
            Shape::Text,
            "A file or directory of the source; `*` stands for anything within a name. For a symlink: what it says.",
        ),
        need(
            "dst",
            Shape::Text,
            "Where it will be on the host; with a `/` at the end: a directory to put it into.",
        ),
        key(
            "type",
            Shape::Choice(&["file", "config", "dir", "symlink"]),
            "Default: `file`; a directory brings all that is below it.",
        ),
        key(
            "mode",
            Shape::Text,
            "Permissions in octal, such as `0644`. Default: 0755 for what is executable and for directories, else 0644.",
        ),
        key("owner", Shape::Text, "A user that every Debian has. Default: `root`."),
        key("group", Shape::Text, "A group that every Debian has. Default: `root`."),
    ],
};

pub static SCRIPTS: Table = Table {
    what: "`scripts`",
    keys: &[
        key("preinst", Shape::Text, "A file of the source: before unpacking."),
        key("postinst", Shape::Text, "A file of the source: after unpacking."),
        key("prerm", Shape::Text, "A file of the source: before removal."),
        key("postrm", Shape::Text, "A file of the source: after removal."),
    ],
};

pub static UNIT: Table = Table {
    what: "a unit",
    keys: &[
        need("src", Shape::Text, "A file of the source, such as `packaging/shop.service`."),
        key("enable", Shape::Bool, "Whether it begins with the system. Default: true."),
        key(
            "start",
            Shape::Bool,
            "Whether it is started when installed and restarted when upgraded. Default: true.",
        ),
    ],
};

pub static ENVIRONMENT: Table = Table {
    what: "an environment",
    keys: &[
        need("inventory", Shape::Words, "As `debark run -i`: files, directories, or hosts as `a,b,`."),
        key("hosts", Shape::Text, "Its hosts: a pattern. Default: `all`."),
        key("store", Shape::TextOr(&STORE), "Where its packages come from. Default: the project's `store`."),
        key("trust", Shape::Map(&TRUST), "Whom it trusts. Default: the project's `trust`."),
        key(
            "allow",
            Shape::Words,
            "Who may deploy to it: identities of the signers' file. Default: nobody; `debark enroll` asks for it.",
        ),
        key(
            "promote_from",
            Shape::Text,
            "Only what is verified in that environment, by the same digest, may come here.",
        ),
        key("gates", Shape::Map(&GATES), "What else has to be so."),
        key("freezes", Shape::List(&FREEZE), "When nothing is deployed; rollbacks are."),
        key("vpn", Shape::TextOr(&VPN), "How its hosts are reached: `none`, or a mapping."),
        key(
            "known_hosts",
            Shape::Text,
            "The file of its hosts' keys. Default: `known_hosts` beside the inventory if it is there, or the user's.",
        ),
        key("deploy", Shape::Map(&DEPLOY), "What is different when something is deployed here."),
    ],
};

pub static STORE: Table = Table {
    what: "a store",
    keys: &[
        need("url", Shape::Text, "A directory or `s3://BUCKET/PREFIX`."),
        key("suite", Shape::Text, "`dists/SUITE`. Default: `stable`."),
        key("endpoint", Shape::Text, "For S3 that is not AWS: `https://s3.example.org`."),
        key("region", Shape::Text, "For S3: `eu-central-1`."),
        key("valid_for", Shape::Duration, "How long its index is valid. Default: `7d`."),
        key(
            "hosts_url",
            Shape::Text,
            "Where hosts find it: `https://`, `http://` or `file:/`. `debark enroll` makes it an apt source of theirs. Default: they get none.",
        ),
        key(
            "keep",
            Shape::Int,
            "How many versions of a package `debark prune` keeps, beside those deployed somewhere. Default: 10.",
        ),
    ],
};

pub static TRUST: Table = Table {
    what: "`trust`",
    keys: &[
        key(
            "signers",
            Shape::Text,
            "Identities and their SSH keys (ssh-keygen(1), ALLOWED SIGNERS). Default: `.debark/signers`.",
        ),
        key(
            "build_keys",
            Shape::Text,
            "Directory of OpenPGP keys that packages are signed with. Default: `.debark/build-keys`.",
        ),
        key(
            "revoked",
            Shape::Text,
            "Fingerprints of keys that count no more, one per line. Default: `.debark/revoked`.",
        ),
    ],
};

pub static GATES: Table = Table {
    what: "`gates`",
    keys: &[
        key("soak", Shape::Duration, "How long it has to have been live in `promote_from`."),
        key(
            "tests",
            Shape::AllOrWords,
            "Which tests have to have succeeded when it was built: `all`, or names.",
        ),
        key("approvals", Shape::Map(&APPROVALS), "Who has to have said yes."),
    ],
};

pub static APPROVALS: Table = Table {
    what: "`approvals`",
    keys: &[
        key("count", Shape::Int, "So many of them. Default: 1."),
        need("by", Shape::Words, "Identities. Nobody's approval counts for what they deploy themselves."),
    ],
};

pub static FREEZE: Table = Table {
    what: "a freeze",
    keys: &[
        key("from", Shape::Text, "A date or time: `2026-12-20` or `2026-12-20 18:00`."),
        key("until", Shape::Text, "A date (inclusive) or a time."),
        key("weekdays", Shape::Choices(&crate::freeze::DAYS), "Days of the week."),
        key("hours", Shape::Text, "Times of day: `16:00-24:00`; past midnight as `22:00-06:00`."),
        key("zone", Shape::Text, "Where those times are: `Europe/Berlin`. Default: `UTC`."),
        key("reason", Shape::Text, "Why, for people."),
    ],
};

pub static VPN: Table = Table {
    what: "`vpn`",
    keys: &[
        key(
            "wireguard",
            Shape::TextOr(&WIREGUARD),
            "debark opens the tunnel itself, without root: a mapping, or the path of its configuration alone.",
        ),
        key("interface", Shape::Text, "An interface that has to be there."),
    ],
};

pub static WIREGUARD: Table = Table {
    what: "`wireguard`",
    keys: &[
        need(
            "config",
            Shape::Text,
            "A configuration as wg-quick(8) reads it; may be sealed with age or ansible-vault.",
        ),
        key(
            "identity",
            Shape::Text,
            "A file with age identities, or an SSH key, that opens a sealed one. Default: as all that age sealed.",
        ),
    ],
};

pub static DEPLOY: Table = Table {
    what: "`deploy`",
    keys: &[
        key("hosts", Shape::Text, "Which hosts of the environment: a pattern. Default: all of them."),
        key(
            "serial",
            Shape::Amounts,
            "Waves: numbers or percentages, the last one repeated. Default: `[1, 100%]`.",
        ),
        key("budget", Shape::Amount, "How many hosts may be out of reach. Default: 0."),
        key("checks", Shape::List(&CHECK), "What has to hold on each host, made from the host itself."),
        key(
            "pre",
            Shape::Tasks,
            "Tasks for the hosts of a wave before it, such as draining a load balancer.",
        ),
        key("post", Shape::Tasks, "Tasks for the hosts of a wave once it is healthy."),
        key("keep", Shape::Int, "Versions that a host keeps, the live one included; at least 2. Default: 3."),
        key(
            "confirm_within",
            Shape::Duration,
            "After that a host goes back by itself if nobody confirms. Default: `5m`.",
        ),
        key("install_within", Shape::Duration, "What apt and maintainer scripts may take. Default: `10m`."),
    ],
};

pub static CHECK: Table = Table {
    what: "a check",
    keys: &[
        key("http", Shape::Text, "A URL with `http://`, as the host itself sees it."),
        key("tcp", Shape::Text, "`HOST:PORT` that takes connections."),
        key(
            "command",
            Shape::Words,
            "A program with its absolute path, and its arguments; it has to end with 0.",
        ),
        key("unit", Shape::Text, "A systemd unit that has to be active."),
        key("status", Shape::Words, "For `http`: healthy status codes. Default: 200 to 399."),
        key("contains", Shape::Text, "For `http`: what the body has to contain."),
        key("host", Shape::Text, "For `http`: the `Host` header."),
        key("within", Shape::Duration, "It has to hold before that is over. Default: `60s`."),
        key("interval", Shape::Duration, "Between two tries. Default: `1s`."),
        key("healthy_for", Shape::Duration, "It has to hold for that long without interruption. Default: 0."),
        key("timeout", Shape::Duration, "For a single try. Default: `5s`."),
    ],
};

pub static LEDGER: Table = Table {
    what: "`ledger`",
    keys: &[
        key(
            "path",
            Shape::Text,
            "A bare git repository on this machine, made when needed. Default: `.debark/ledger.git`.",
        ),
        key("remote", Shape::Text, "What a team shares: a URL that `git push` takes."),
    ],
};

pub static NOTIFY: Table = Table {
    what: "a notification",
    keys: &[
        key("webhook", Shape::Text, "A URL that JSON is posted to."),
        key("command", Shape::Program, "A program that gets JSON on standard input."),
        key("on", Shape::Choices(crate::notify::Event::NAMES), "Of what. Default: all but `started`."),
    ],
};
