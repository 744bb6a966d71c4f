//! What a guarded task changes is kept before it is changed, so that the host can put it back by itself (`guard`).
//!
//! Nothing of it is in this program but the calls: the record and the way back are a shell script, `guard.sh`, which lies
//! beside the record and needs no agent. See there for what is put back, and how.

use std::cell::RefCell;
use std::path::Path;

use crate::exec::{Cmd, Executor};
use crate::plan::Failure;

/// The script, for `sh -c SCRIPT guard VERB ID ...`.
pub const SCRIPT: &str = include_str!("guard.sh");

/// A directory that has one entry for each guard that waits, for all to see.
pub const SEEN: &str = "/var/lib/debark-guard";

thread_local! {
    /// The armed guard around the module that this thread runs.
    static AROUND: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Arms a guard that reverts in so many seconds, unless a call before has done so (`armed`). What modules change in this
/// thread is kept from now on. `user` may confirm.
///
/// # Errors
/// This is not root, there is no systemd, another guard waits, the disk is full, the guard's time is over: nothing has been
/// changed then.
pub fn arm(id: &str, seconds: u64, user: u32, armed: bool) -> Result<(), Failure> {
    let (seconds, user) = (seconds.to_string(), user.to_string());
    run(&["arm", id, &seconds, &user, if armed { "again" } else { "first" }, SCRIPT])?;
    around(Some(id));
    Ok(())
}

/// Says which armed guard is around what this thread runs next.
pub fn around(id: Option<&str>) {
    AROUND.with_borrow_mut(|around| *around = id.map(str::to_owned));
}

/// Keeps what is at a path before it is changed; of a directory its owner and mode.
///
/// # Errors
/// It cannot be kept, or the guard's time is over: then it must not be changed.
pub fn keep(path: &Path) -> Result<(), Failure> {
    kept(path, "shallow")
}

/// Keeps all that is at a path and below it before it is removed.
///
/// # Errors
/// As [`keep`].
pub fn keep_all(path: &Path) -> Result<(), Failure> {
    kept(path, "deep")
}

/// Notes that a unit is about to be started, stopped, restarted or reloaded.
///
/// # Errors
/// As [`keep`].
pub fn unit(name: &str) -> Result<(), Failure> {
    noted("unit", name, "")
}

fn kept(path: &Path, depth: &str) -> Result<(), Failure> {
    noted("keep", &path.to_string_lossy(), depth)
}

fn noted(verb: &str, what: &str, how: &str) -> Result<(), Failure> {
    let Some(id) = AROUND.with_borrow(Clone::clone) else { return Ok(()) };
    run(&[verb, &id, what, how])
}

fn run(words: &[&str]) -> Result<(), Failure> {
    let cmd = Cmd::new("/bin/sh").args(["-c", SCRIPT, "guard"]).args(words);
    let output = Executor::default().run(&cmd, &[])?;
    if output.rc == 0 {
        return Ok(());
    }
    let said = output.err();
    let why = said.lines().next_back().unwrap_or("the guard's script fails and says nothing");
    Err(Failure::new(why).hint("nothing was changed by this task"))
}
