//! Several hosts, one after the other: tasks around each wave, a bad canary, a bad second wave, and hosts that are in trouble.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Stdio};

use debark_e2e::{Ended, Releases};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Tasks before and after each wave; a host may be told to be stuck before it, or to be unhealthy after it.
pub const DEPLOY: &str = r#"  pre:
    - {name: drain, shell: "test ! -e /root/stuck && echo drain {{ debark_version }} $(date +%s%N) >>/root/lb"}
  post:
    - {name: undrain, shell: "echo undrain {{ debark_version }} $(date +%s%N) >>/root/lb"}
"#;

/// A version everywhere, host by host, each out of service while it changes.
pub fn prepared(shop: &Releases<'_>) {
    let heard = shop.home.join("heard");
    shop.edit(
        "  checks:\n",
        "  checks:\n    - {command: [/usr/bin/test, \"!\", -e, /root/sick], within: 1s, interval: 200ms}\n",
    );
    shop.edit(
        "packages:\n",
        &format!(
            "notify:\n  - {{command: \"cat >> {0}; echo >> {0}\", on: [started, deployed, reverted, failed, refused]}}\npackages:\n",
            heard.display()
        ),
    );
    for environment in ["staging", "prod"] {
        let _ = shop.debark("alice", &["enroll", "--env", environment]).ends(0);
    }
    shop.publish("1.0.0", true);
    let _ = shop.debark("alice", &["deploy", "shop", "--to", "staging"]).ends(0);
    let _ = shop.debark("alice", &["promote", "shop", "--to", "prod"]).ends(0);
    let (two, three) = (tasks(shop, "h2"), tasks(shop, "h3"));
    for of_host in [&two, &three] {
        let said: Vec<&str> = of_host.iter().map(|(said, _)| said.as_str()).collect();
        assert_eq!(said, ["drain 1.0.0", "undrain 1.0.0"]);
    }
    assert!(
        two[1].1 < three[0].1,
        "the first host serves again before the second is taken out: {two:?} {three:?}"
    );
    let text = std::fs::read_to_string(heard).unwrap();
    let told: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<&str> = told.iter().map(|notice| notice["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["started", "deployed", "started", "deployed"]);
    assert_eq!(told[2]["text"], "promote of shop 1.0.0 to prod begins");
}

/// What the tasks did on a host, and when.
fn tasks(shop: &Releases<'_>, host: &str) -> Vec<(String, u64)> {
    let text = shop.on(host, "cat /root/lb").ends(0).out;
    text.lines()
        .map(|line| {
            let (said, time) = line.rsplit_once(' ').unwrap();
            (said.to_owned(), time.parse().unwrap())
        })
        .collect()
}

/// Lines of dpkg's log: whether anything was done to a host.
fn done(shop: &Releases<'_>, host: &str) -> usize {
    shop.on(host, "wc -l </var/log/dpkg.log").ends(0).out.trim().parse().unwrap()
}

fn staged(shop: &Releases<'_>, version: &str) {
    shop.publish(version, true);
    let _ = shop.debark("alice", &["deploy", &format!("shop@{version}"), "--to", "staging"]).ends(0);
}

/// Both hosts are as before.
fn as_before(shop: &Releases<'_>) {
    for host in ["h2", "h3"] {
        assert_eq!(shop.version(host), "1.0.0", "{host}");
        assert_eq!(shop.dpkg(host), "install ok installed 1.0.0", "{host}");
    }
}

/// How the last deployment to production ended, as the ledger has it.
fn last(shop: &Releases<'_>) -> Value {
    let history = shop.debark("alice", &["history", "--env", "prod", "--json", "-n", "1"]).ends(0).out;
    serde_json::from_str(history.lines().next().unwrap()).unwrap()
}

/// The first host is unhealthy: the second is never touched.
pub fn a_bad_canary(shop: &Releases<'_>) {
    staged(shop, "1.1.0");
    let before = (done(shop, "h3"), tasks(shop, "h3").len());
    let _ = shop.on("h2", "touch /root/sick").ends(0);
    let bad = shop.debark("alice", &["promote", "shop", "--to", "prod"]).ends(2);
    let _ = bad.says("was put back in prod").says("is marked bad");
    as_before(shop);
    assert_eq!((done(shop, "h3"), tasks(shop, "h3").len()), before, "nothing was done to the second host");
    // It serves again, with what it had before.
    let of_canary = tasks(shop, "h2");
    assert_eq!((of_canary.len(), of_canary[3].0.as_str()), (4, "undrain 1.1.0"));
    let entry = last(shop);
    assert_eq!((&entry["result"], &entry["bad"]), (&"reverted".into(), &true.into()), "{entry}");
    let _ = shop.on("h2", "rm /root/sick").ends(0);
    let again = shop.debark("alice", &["promote", "shop", "--to", "prod"]).ends(3);
    let _ = again.says("refused (bad)");
}

/// The first host is healthy and confirmed, the second is not: both are put back.
pub fn a_bad_second_wave(shop: &Releases<'_>) {
    staged(shop, "1.2.0");
    let before = done(shop, "h2");
    let _ = shop.on("h3", "touch /root/sick").ends(0);
    let bad = shop.debark("alice", &["promote", "shop", "--to", "prod", "--json"]).ends(2);
    let events: Vec<Value> = bad.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &str| -> Vec<&str> {
        events
            .iter()
            .filter(|event| event["event"] == name)
            .filter_map(|event| event["host"].as_str())
            .collect()
    };
    assert_eq!(of("healthy"), ["h2"]);
    let mut reverted = of("reverted");
    reverted.sort_unstable();
    assert_eq!(reverted, ["h2", "h3"]);
    as_before(shop);
    assert!(done(shop, "h2") > before);
    let entry = last(shop);
    assert_eq!((&entry["result"], &entry["bad"]), (&"reverted".into(), &true.into()), "{entry}");
    let _ = shop.on("h3", "rm /root/sick").ends(0);
    let _ = shop.debark("alice", &["status", "--env", "prod"]).ends(0);
}

/// The tasks before a wave fail: nothing is touched, and the release is not to blame.
pub fn a_host_that_cannot_be_drained(shop: &Releases<'_>) {
    staged(shop, "1.3.0");
    let before = (done(shop, "h2"), done(shop, "h3"));
    let _ = shop.on("h2", "touch /root/stuck").ends(0);
    let stuck = shop.debark("alice", &["promote", "shop", "--to", "prod"]).ends(2);
    let _ = stuck.says("the tasks before wave 1 failed");
    let _ = shop.on("h2", "rm /root/stuck").ends(0);
    assert_eq!((done(shop, "h2"), done(shop, "h3")), before);
    as_before(shop);
    assert_eq!(last(shop)["bad"], false);
}

/// A promotion whose first host waits within apt until [`Self::go_on`].
struct Held<'a> {
    shop: &'a Releases<'a>,
    child: Child,
    out: BufReader<ChildStdout>,
    said: String,
}

impl<'a> Held<'a> {
    fn begin(shop: &'a Releases<'a>) -> Self {
        let hook = "DPkg::Pre-Invoke { \"while [ -e /root/wait ]; do sleep 0.05; done\"; };";
        let _ =
            shop.on("h2", &format!("touch /root/wait; echo '{hook}' >/etc/apt/apt.conf.d/99wait")).ends(0);
        let mut command = shop.command("alice", &["promote", "shop", "--to", "prod", "--json"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut held = Self { shop, child, out, said: String::new() };
        held.until(|event| event["event"] == "progress" && event["text"] == "installing shop 1.3.0");
        held
    }

    fn until(&mut self, reached: impl Fn(&Value) -> bool) {
        loop {
            let mut line = String::new();
            assert!(self.out.read_line(&mut line).unwrap() > 0, "it ended too early: {}", self.said);
            self.said.push_str(&line);
            if reached(&serde_json::from_str(&line).unwrap()) {
                return;
            }
        }
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    fn go_on(&self) {
        let _ = self.shop.on("h2", "rm -f /root/wait /etc/apt/apt.conf.d/99wait").ends(0);
    }

    fn ended(mut self) -> Ended {
        self.out.read_to_string(&mut self.said).unwrap();
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        Ended { code, out: self.said, err: String::new() }
    }
}

/// The connection breaks while a host installs, and the host is there again: it is put back by the controller.
pub fn a_host_that_is_lost_for_a_moment(shop: &Releases<'_>) {
    let mut held = Held::begin(shop);
    let address = shop.lab.host("h2").unwrap().address().to_string();
    let mut killed = 0;
    for pid in debark_e2e::children(held.child.id()) {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline"));
        if line.unwrap_or_default().contains(&address) {
            kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
            killed += 1;
        }
    }
    assert_eq!(killed, 1, "one ssh speaks with a host");
    held.until(|event| event["event"] == "reverting");
    held.go_on();
    let end = held.ended().ends(4);
    assert!(end.out.contains(r#""event":"reverted","host":"h2""#), "{}", end.out);
    assert!(!end.out.contains("answers what was not asked"), "{}", end.out);
    as_before(shop);
    let entry = last(shop);
    assert_eq!((&entry["result"], &entry["bad"]), (&"reverted".into(), &false.into()), "{entry}");
}

/// Ctrl-C: what was begun is put back, and the exit code is the one that shells know.
pub fn interrupted(shop: &Releases<'_>) {
    let held = Held::begin(shop);
    kill_process(Pid::from_raw(held.pid()).unwrap(), Signal::INT).unwrap();
    held.go_on();
    let _ = held.ended().ends(130);
    as_before(shop);
    assert_eq!(last(shop)["result"], "aborted");
    let _ = shop.debark("alice", &["status", "--env", "prod"]).ends(0);
}

/// A host that cannot be reached, cannot meet a dependency, or has a full disk: known before any host is touched.
pub fn one_host_in_trouble(shop: &Releases<'_>) {
    let before = (done(shop, "h2"), done(shop, "h3"));
    let promote = || shop.debark("alice", &["promote", "shop", "--to", "prod"]);
    let untouched = || {
        assert_eq!((done(shop, "h2"), done(shop, "h3")), before);
        as_before(shop);
    };
    let host = shop.lab.host("h3").unwrap();
    host.network_down().unwrap();
    let _ = promote().ends(4).says("1 of 2 hosts cannot be reached, and 0 may be dead");
    host.network_up().unwrap();
    untouched();

    let store = "/var/lib/debark/gate/store";
    let fill =
        format!("mount -t tmpfs -o size=64k,mode=700 none {store}; head -c 64k /dev/zero >{store}/.full");
    let _ = shop.on("h3", &format!("{fill}; test -s {store}/.full")).ends(0);
    let full = promote();
    assert!(full.code != 0 && format!("{}{}", full.out, full.err).contains("h3"), "{}{}", full.out, full.err);
    let _ = shop.on("h3", &format!("umount {store}")).ends(0);
    untouched();

    shop.edit("depends: [perl-base]", "depends: [perl-base, shop-data]");
    let data = "mkdir -p /root/d/DEBIAN; printf 'Package: shop-data\\nVersion: 1\\nArchitecture: all\\nMaintainer: S <s@example.org>\\nDescription: d\\n' >/root/d/DEBIAN/control; dpkg-deb -b /root/d /root/d.deb >/dev/null; dpkg -i /root/d.deb";
    for host in ["h1", "h2"] {
        let _ = shop.on(host, data).ends(0);
    }
    staged(shop, "1.4.0");
    let before = (done(shop, "h2"), done(shop, "h3"));
    let missing = promote();
    assert!(missing.code == 2 || missing.code == 3, "{} {}{}", missing.code, missing.out, missing.err);
    let _ = missing.says("shop-data");
    assert_eq!((done(shop, "h2"), done(shop, "h3")), before);
    as_before(shop);

    // Somebody else's apt, on the second host only: the first, which was done already, goes back.
    let _ = shop.on("h3", data).ends(0);
    let hold = "use Fcntl; open(F, '+>>', '/var/lib/dpkg/lock-frontend') or die; my $lock = pack('s s x4 q q l x4', F_WRLCK, 0, 0, 0, 0); fcntl(F, F_SETLK, $lock) or die; open(R, '>', '/run/held'); close R; sleep 1000";
    let script = format!(
        "sed -i 's/^{{/{{\"lock_timeout\": 1,/' /etc/debark/gate.json\ncat >/root/hold.pl <<'X'\n{hold}\nX\nsystemd-run --quiet --collect --unit holder perl /root/hold.pl\nuntil [ -e /run/held ]; do sleep 0.05; done"
    );
    let _ = shop.on("h3", &script).ends(0);
    let locked = promote();
    let _ = shop.on("h3", "systemctl stop holder").ends(0);
    assert_eq!(locked.code, 2, "{}{}", locked.out, locked.err);
    let _ = locked.says("h3");
    as_before(shop);
    let _ = promote().ends(0);
    assert_eq!([shop.version("h2"), shop.version("h3")], ["1.4.0", "1.4.0"]);
}
