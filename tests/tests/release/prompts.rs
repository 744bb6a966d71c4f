//! Packages that ask, and programs that would: nobody is there to answer, and a deployment does not wait for anybody.

use std::process::Stdio;
use std::time::{Duration, Instant};

use debark_e2e::{Ended, Releases};

/// As debhelper makes them: a question before unpacking, one in each version; a service that its own script restarts, and one that
/// nothing restarts.
const MAKE: &str = r##"#!/bin/sh
set -eu
rm -rf root; mkdir -p root/DEBIAN root/usr/lib/asks root/usr/lib/systemd/system
cat >root/DEBIAN/control <<X
Package: asks
Version: $DEBARK_VERSION
Architecture: amd64
Maintainer: Asks <asks@example.org>
Depends: debconf (>= 0.5) | debconf-2.0
Description: asks before it is installed
X
for number in 1 2; do
    cat >>root/DEBIAN/templates <<X
Template: asks/colour$number
Type: select
Choices: red, green
Default: green
Description: Which colour?
 There is no way round it.

X
done
printf '#!/bin/sh\nset -e\n. /usr/share/debconf/confmodule\nfor n in %s; do db_input high asks/colour$n || true; done\ndb_go\n' "$(cat questions)" >root/DEBIAN/config
cat >root/DEBIAN/postinst <<'X'
#!/bin/sh
set -e
. /usr/share/debconf/confmodule
# As bad as they come: it asks in the postinst, at the highest priority, although it was seen before.
db_fset asks/colour1 seen false
db_input critical asks/colour1 || true
db_go
db_get asks/colour1
echo "$RET" >>/root/answer
db_stop
systemctl daemon-reload
systemctl restart asks.service
systemctl is-active --quiet idle.service || systemctl start idle.service
X
# And one that knows no debconf.
printf '#!/bin/sh\nset -e\n[ ! -t 0 ] && [ ! -t 1 ]\nread -r line || line=nothing\necho "$line" >/root/answer\n' >root/DEBIAN/preinst
chmod 755 root/DEBIAN/config root/DEBIAN/preinst root/DEBIAN/postinst
for unit in asks idle; do
    cp "$(command -v sleep)" root/usr/lib/asks/$unit
    printf "[Service]\nExecStart=/usr/lib/asks/$unit infinity\n" >root/usr/lib/systemd/system/$unit.service
done
dpkg-deb --root-owner-group -Zgzip --build root asks.deb >&2
"##;

/// A host where everything is set up to ask: debconf in a dialog from the lowest priority on, needrestart interactively.
const ASKING: &str = r#"set -e
printf 'debconf debconf/frontend select Dialog\ndebconf debconf/priority select low\n' | debconf-set-selections
grep -q dpkg-preconfigure /etc/apt/apt.conf.d/70debconf
cat >/etc/needrestart/conf.d/ask.conf <<'X'
$nrconf{restart} = 'i';
open(my $ran, '>>', '/root/needrestart'); print $ran "$ENV{DEBIAN_FRONTEND} $ENV{NEEDRESTART_MODE}\n"; close($ran);
X"#;

/// A new package and an upgrade that asks more: both end by themselves, with the answers that are the defaults.
pub fn nobody_answers(shop: &Releases<'_>) {
    let _ = shop.debark("alice", &["enroll", "--env", "staging"]).ends(0);
    let _ = shop.on("h1", ASKING).ends(0);
    std::fs::write(shop.dir.join("make"), MAKE).unwrap();
    shop.edit(
        "packages:\n",
        "packages:\n  asks:\n    build: {command: sh make}\n    deploy: {checks: [{unit: asks.service, healthy_for: 1s}]}\n",
    );
    release(shop, "1.0.0", "1");
    let pids = "systemctl show -P MainPID asks.service; systemctl show -P MainPID idle.service";
    let before = shop.on("h1", pids).ends(0).out;
    release(shop, "1.1.0", "1 2");
    let after = shop.on("h1", pids).ends(0).out;
    let [before, after]: [Vec<&str>; 2] = [&before, &after].map(|text| text.lines().collect());
    assert_ne!(before[0], after[0], "the package's own script has restarted its service");
    assert_eq!(before[1], after[1], "and nobody the other one, which needrestart would ask about");
    let old = shop.on("h1", "readlink /proc/$(systemctl show -P MainPID idle.service)/exe").ends(0).out;
    assert!(old.contains("(deleted)"), "{old}");
    executables_are_verified(shop);
}

/// A process whose executable was replaced by the same one runs what is there; one whose file is another by now does not.
fn executables_are_verified(shop: &Releases<'_>) {
    let whole = shop.debark("alice", &["verify", "staging"]).ends(0);
    assert!(whole.out.contains("processes: 2 run the executables that are there"), "{}", whole.out);
    let swap =
        "cd /usr/lib/asks && cp -a idle /root/idle && cp -p idle next && printf x >>next && mv next idle";
    let _ = shop.on("h1", swap).ends(0);
    let bad = shop.debark("alice", &["verify", "staging"]).ends(2);
    let told = "runs another /usr/lib/asks/idle than the one that is there";
    assert!(bad.out.contains("FAILED") && bad.out.contains(told), "{}", bad.out);
    assert!(bad.out.contains("/usr/lib/asks/idle: other content"), "{}", bad.out);
    let _ = shop.on("h1", "mv /root/idle /usr/lib/asks/idle").ends(0);
    let _ = shop.debark("alice", &["verify", "staging"]).ends(0);
}

fn release(shop: &Releases<'_>, version: &str, questions: &str) {
    std::fs::write(shop.dir.join("questions"), questions).unwrap();
    shop.commit(version, true);
    let _ = shop.debark("alice", &["build", "asks", "--version", version, "--output", "out"]).ends(0);
    let _ = shop.debark("alice", &["publish", &format!("out/asks_{version}_amd64.deb")]).ends(0);
    let _ = shop.on("h1", "rm -f /root/answer /root/needrestart").ends(0);
    let what = format!("asks@{version}");
    let mut command = shop.command("alice", &["deploy", &what, "--to", "staging", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begin.elapsed() > Duration::from_secs(120) {
            let hangs =
                shop.on("h1", "ps axf -o pid,tty,stat,args; tail -n 50 /run/debark-gate/work.log").out;
            child.kill().unwrap();
            panic!("{what} waits for somebody: {hangs}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = Ended::of(&child.wait_with_output().unwrap()).ends(0);
    // An empty input, and the default; both hooks have run, and were told how.
    assert_eq!(shop.on("h1", "cat /root/answer").ends(0).out, "nothing\ngreen\n");
    let asked = shop.on("h1", "debconf-show asks").ends(0).out;
    for number in questions.split(' ') {
        assert!(asked.contains(&format!("asks/colour{number}: green")), "{asked}");
    }
    assert_eq!(shop.on("h1", "sort -u /root/needrestart").ends(0).out, "noninteractive l\n");
    assert_eq!(
        shop.on("h1", "dpkg-query -W -f '${Status} ${Version}' asks").out,
        format!("install ok installed {version}")
    );
}
