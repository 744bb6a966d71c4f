//! `debark-gate serve`: the conversation with the controller on standard streams.

use std::io::{self, BufReader, Read, Write};
use std::process::ExitCode;

use debark_order::frame;
use debark_order::gate::{FailureKind, PROTOCOL, Reply, Request};

use crate::failure::{Failing as _, Result, fail};
use crate::session::Session;
use crate::{check, files, place, status, trust};

/// Talks until the other side hangs up.
pub fn main() -> ExitCode {
    // Packages come in larger pieces, and sshd waits less often; it is as right with less.
    let _ = rustix::pipe::fcntl_setpipe_size(io::stdin(), 1 << 20);
    match talk(&mut BufReader::with_capacity(256 << 10, io::stdin().lock()), &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn talk(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let prepared = place::prepare();
    let settings = prepared.as_ref().map_err(Clone::clone).and_then(|()| trust::settings());
    let hello = Reply::Hello {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").into(),
        environment: settings.ok().flatten().map(|settings| settings.environment),
        clock: crate::state::now(),
    };
    frame::write(to, &hello)?;
    let mut session = Session::default();
    while let Some(value) = frame::read::<serde_json::Value>(from)? {
        // Others may have changed the directories since.
        let reply = match place::prepare() {
            Ok(()) => answer(&mut session, value, from, to)?,
            Err(failure) => Reply::Failed(failure),
        };
        frame::write(to, &reply)?;
    }
    Ok(())
}

fn answer(
    session: &mut Session,
    value: serde_json::Value,
    from: &mut impl Read,
    to: &mut impl Write,
) -> io::Result<Reply> {
    let Ok(request) = serde_json::from_value::<Request>(value) else {
        return Ok(Reply::Failed(
            fail(FailureKind::Unsupported, "this gate does not know the request")
                .hint("run `debark enroll`, which brings the gate of this debark to the host"),
        ));
    };
    let mut said = |text: &str| {
        frame::write(to, &Reply::Progress { text: text.into() })
            .map_err(|error| fail(FailureKind::Internal, format!("the controller is gone: {error}")))
    };
    let reply: Result<Reply> = match request {
        Request::State { packages } => status::host(&packages).map(Reply::State),
        Request::Prepare { order } => session.prepare(&order),
        Request::Package => session.package(from)?,
        Request::Plan => session.plan(),
        Request::Install => session.install(&mut said).map(Reply::Installed),
        Request::Check => session.checks().map(|checks| {
            let results = check::all(&checks, &mut |text| {
                // Whoever is gone is noticed when the results are written.
                let _ = said(text);
            });
            Reply::Checked { results }
        }),
        Request::Confirm => session.confirm().map(|()| Reply::Confirmed),
        Request::Revert => session.revert(&mut said),
        Request::Files { package } => files::report(&package).map(Reply::Files),
    };
    Ok(reply.unwrap_or_else(Reply::Failed))
}
