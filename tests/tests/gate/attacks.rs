//! The attacks that docs/security.md answers.

use std::collections::HashSet;

use debark_order::gate::{FailureKind, Reply, Request};
use debark_order::{Action, Order};

use crate::world::{Deb, Parts, World, is};

pub fn all(world: &World) {
    let good = world.deb("1.0", &Parts::default());
    world.deploy(&good);
    let deb = world.deb("1.1", &Parts::default());
    let mut kinds = HashSet::new();
    let mut told = |kind: FailureKind| assert!(kinds.insert(kind), "{kind:?} twice");

    // A tampered mirror: one bit of what was ordered.
    let order = world.order(Action::Deploy, &deb);
    let mut bytes = deb.bytes.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let mut talk = world.prepared(&order);
    let failure = talk.send(&Deb { bytes, ..deb.clone() }).unwrap_err();
    is(&failure, FailureKind::OtherDigest, &order.digest.to_string());
    is(&talk.install().unwrap_err(), FailureKind::NotKept, "1.1");
    drop(talk);
    told(failure.kind);

    // Replay: an order from before, and another one with the same number.
    let old = Order { sequence: 1, ..order.clone() };
    let failure = world.refused("ci", &old);
    is(&failure, FailureKind::Replayed, "has the number 1");
    is(&world.refused("ci", &Order { keep: 5, ..order.clone() }), FailureKind::Replayed, "another order");
    told(failure.kind);

    // Freeze: an order that was held back; and clocks that are an hour apart, either way.
    for by in [-3600_i64, 3600] {
        let order = world.order(Action::Deploy, &deb);
        let shifted = |time: u64| time.saturating_add_signed(by);
        let late = Order { issued: shifted(order.issued), expires: shifted(order.issued) + 600, ..order };
        let failure = world.refused("ci", &late);
        is(&failure, FailureKind::Expired, "the host's clock says");
        assert_eq!(failure.message.matches("UTC").count(), 2, "{failure}");
    }
    told(FailureKind::Expired);

    // Mix and match: production's order at staging's host; one package under another's name.
    let other = Order { environment: "prod".parse().unwrap(), ..world.order(Action::Deploy, &deb) };
    let failure = world.refused("ci", &other);
    is(&failure, FailureKind::OtherEnvironment, "prod");
    told(failure.kind);
    let fake = Deb { version: "1.2".into(), ..deb.clone() };
    let failure = world.prepared(&world.order(Action::Deploy, &fake)).send(&fake).unwrap_err();
    is(&failure, FailureKind::OtherPackage, "1.1");

    // One stolen key: the build key alone cannot order, neither can somebody unknown or somebody known elsewhere.
    let failure = world.refused("mallory", &world.order(Action::Deploy, &deb));
    is(&failure, FailureKind::OrderSignature, "ci@example.org");
    told(failure.kind);
    let intern = Order { actor: "intern@example.org".parse().unwrap(), ..world.order(Action::Deploy, &deb) };
    is(&world.refused("intern", &intern), FailureKind::NotAllowed, "intern@example.org");
    // ... and the deploy key alone cannot make a package.
    let foreign = Deb { bytes: world.sign("other", &deb.unsigned), ..deb.clone() };
    let failure = world.prepared(&world.order(Action::Deploy, &foreign)).send(&foreign).unwrap_err();
    is(&failure, FailureKind::PackageSignature, "does not trust");

    // No signature at all.
    let unsigned = Deb { bytes: deb.unsigned.clone(), ..deb.clone() };
    let failure = world.prepared(&world.order(Action::Deploy, &unsigned)).send(&unsigned).unwrap_err();
    is(&failure, FailureKind::Unsigned, "not signed");
    told(failure.kind);

    // Path swap: what is kept is changed between check and use, by content and by link; trust that others can write to.
    world.deploy(&deb);
    let kept = format!("/var/lib/debark/gate/store/{}.deb", good.digest().hex());
    let rollback = || {
        let mut talk = world.prepared(&world.order(Action::Rollback, &good));
        talk.install().unwrap_err()
    };
    world.sh(&format!("mv {kept} /root/kept && ln -s /root/kept {kept}"));
    is(&rollback(), FailureKind::UnsafePath, "symbolic link");
    world.sh(&format!("rm {kept} && cp /root/kept {kept} && printf x >>{kept}"));
    let failure = rollback();
    is(&failure, FailureKind::UnsafePath, "no longer what was put there");
    told(failure.kind);
    // The same within the conversation in which it came: size and time of the content are as they were.
    let next = world.deb("1.2", &Parts::default());
    let mut talk = world.prepared(&world.order(Action::Deploy, &next));
    talk.send(&next).unwrap();
    world.sh(&format!(
        "f=/var/lib/debark/gate/store/{}.deb; touch -r $f /root/stamp; \
         printf x | dd of=$f bs=1 seek=100 conv=notrunc status=none; touch -r /root/stamp $f",
        next.digest().hex()
    ));
    is(&talk.install().unwrap_err(), FailureKind::UnsafePath, "no longer what was put there");
    world.sh(&format!("cp /root/kept {kept} && chmod 666 /etc/debark/signers"));
    is(
        &world.refused("ci", &world.order(Action::Deploy, &deb)),
        FailureKind::UnsafePath,
        "/etc/debark/signers",
    );
    world.sh("chmod 644 /etc/debark/signers");
    assert_eq!(kinds.len(), 7, "{kinds:?}");

    // Nothing of this was installed, and the way back is open: until its key is revoked.
    assert_eq!(world.installed(), "1.1 install ok installed");
    let fingerprint = world.talk_key(&good);
    world.put("etc/debark/revoked", format!("{fingerprint} # lost\n").as_bytes());
    let mut talk = world.prepared(&world.order(Action::Rollback, &good));
    is(&talk.install().unwrap_err(), FailureKind::PackageSignature, "no build key");
    world.sh("rm /etc/debark/revoked");
    assert_eq!(world.installed(), "1.1 install ok installed");
    assert!(
        matches!(world.talk().ask(&Request::Install), Reply::Failed(failure) if failure.kind == FailureKind::Protocol)
    );
    assert!(world.state().open.is_none(), "{:?}", world.state());
}

impl World {
    /// The fingerprint that the gate tells of a package's key.
    fn talk_key(&self, deb: &Deb) -> String {
        self.prepared(&self.order(Action::Rollback, deb)).send(deb).unwrap()
    }
}
