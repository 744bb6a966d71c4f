//! Whether an order is to be obeyed.

use debark_order::gate::FailureKind;
use debark_order::order::NAMESPACE;
use debark_order::sshsig::{self, SignatureError};
use debark_order::{Digest, Order, SealedOrder};

use crate::failure::{Failing as _, Result, fail};
use crate::journal::{self, Step};
use crate::state::{self, State};
use crate::trust;

/// Checks an order and remembers its sequence, on the disk.
///
/// # Errors
/// Any of the refusals of [`FailureKind`] that are about orders.
pub fn order(sealed: &SealedOrder) -> Result<(Order, Digest)> {
    let settings = trust::enrolled()?;
    let order = sealed.order().map_err(|why| fail(FailureKind::Protocol, why))?;
    let signers = trust::signers()?;
    sshsig::verify(&signers, &order.actor, NAMESPACE, sealed.text.as_bytes(), &sealed.signature, None)
        .map_err(|error| match error {
            SignatureError::Bad(why) => {
                fail(FailureKind::OrderSignature, format!("this is no order of {}: {why}", order.actor)).hint(
                    "their key has to be in the project's signers file, and on the host: run `debark enroll`",
                )
            }
            other => fail(FailureKind::Internal, other.to_string()),
        })?;
    if order.environment != settings.environment {
        return Err(fail(
            FailureKind::OtherEnvironment,
            format!(
                "the order is for {}, and this host belongs to {}",
                order.environment, settings.environment
            ),
        ));
    }
    if !settings.allow.contains(&order.actor) {
        return Err(fail(
            FailureKind::NotAllowed,
            format!("{} may not deploy to {}", order.actor, settings.environment),
        )
        .hint("who may is `allow` of the environment in debark.yml; `debark enroll` brings it to hosts"));
    }
    let id = sealed.id();
    let known = State::load()?;
    if !is_new(&known, &order, id)? {
        return Ok((order, id));
    }
    in_time(&order, settings.clock_skew)?;
    journal::step(&order, id, Step::Accepted, "")?;
    State::update(|state| {
        if is_new(state, &order, id)? {
            (state.sequence, state.order) = (order.sequence, Some(id));
        }
        Ok(())
    })?;
    Ok((order, id))
}

/// Whether an order is one that the host has not seen; else it is the very one that it saw last.
fn is_new(state: &State, order: &Order, id: Digest) -> Result<bool> {
    if order.sequence > state.sequence {
        return Ok(true);
    }
    if order.sequence == state.sequence && state.order == Some(id) {
        return Ok(false);
    }
    let what =
        if order.sequence == state.sequence { "another order with this number" } else { "a later order" };
    Err(fail(
        FailureKind::Replayed,
        format!(
            "the order has the number {}, and this host has seen {what}: {}",
            order.sequence, state.sequence
        ),
    )
    .hint("somebody else has deployed since; `debark history` tells who"))
}

/// Whether an order is still the one to be obeyed: others may have come while it was worked on.
///
/// # Errors
/// [`FailureKind::Replayed`].
pub fn still(state: &State, order: &Order, id: Digest) -> Result<()> {
    if is_new(state, order, id)? {
        return Err(fail(FailureKind::Internal, "the host has forgotten the order"));
    }
    Ok(())
}

/// Whether an order may be begun now.
///
/// # Errors
/// [`FailureKind::Expired`], with both times.
pub fn in_time(order: &Order, skew: u64) -> Result<()> {
    let now = state::now();
    let hint = "compare the clocks of the host and of the machine that deploys (`timedatectl`)";
    if order.issued > now.saturating_add(skew) {
        return Err(fail(
            FailureKind::Expired,
            format!(
                "the order was issued at {}, and the host's clock says {}",
                time(order.issued),
                time(now)
            ),
        )
        .hint(hint));
    }
    if now >= order.expires {
        return Err(fail(
            FailureKind::Expired,
            format!("the order expired at {}, and the host's clock says {}", time(order.expires), time(now)),
        )
        .hint(hint));
    }
    Ok(())
}

fn time(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(
        || format!("{seconds} s after 1970"),
        |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use debark_order::Action;

    fn an_order(sequence: u64) -> Order {
        let now = state::now();
        Order {
            format: 1,
            environment: "staging".parse().unwrap(),
            sequence,
            action: Action::Deploy,
            package: "shop".parse().unwrap(),
            version: "1".parse().unwrap(),
            digest: Digest::of(b""),
            size: 0,
            actor: "a@b".parse().unwrap(),
            issued: now,
            expires: now + 100,
            checks: Vec::new(),
            keep: 2,
            confirm_within: 60,
            install_within: 60,
        }
    }

    #[test]
    fn sequences_fence() {
        let (one, other) = (Digest::of(b"1"), Digest::of(b"2"));
        let state = State { sequence: 5, order: Some(one), ..State::default() };
        assert!(is_new(&state, &an_order(6), other).unwrap());
        assert!(!is_new(&state, &an_order(5), one).unwrap());
        assert_eq!(is_new(&state, &an_order(5), other).unwrap_err().kind, FailureKind::Replayed);
        assert_eq!(is_new(&state, &an_order(4), one).unwrap_err().kind, FailureKind::Replayed);
        still(&state, &an_order(5), one).unwrap();
        still(&state, &an_order(6), one).unwrap_err();
    }

    #[test]
    fn an_hour_of_skew_is_refused_with_both_times() {
        let order = an_order(1);
        in_time(&order, 60).unwrap();
        for by in [-3600, 3600] {
            let shifted = |time: u64| time.saturating_add_signed(by);
            let late =
                Order { issued: shifted(order.issued), expires: shifted(order.expires), ..order.clone() };
            let failure = in_time(&late, 60).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Expired);
            assert_eq!(failure.message.matches("UTC").count(), 2, "{failure}");
        }
    }
}
