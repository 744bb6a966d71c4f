//! The host a module works on: commands, cached state, and what only the controller has.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::exec::{Cmd, Executor, Output};
use crate::plan::Failure;
use crate::upstream::Upstream;

/// How a task is to be run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Nothing may change; modules need not look at it, the plan's `apply` is simply not run.
    pub check: bool,
    /// In check mode: earlier tasks would have changed something.
    pub foreseen: bool,
    /// Differences are wanted. Without it modules may skip computing large ones.
    pub diff: bool,
    /// Variables for every command (`environment:`).
    pub environment: Vec<(String, String)>,
    /// Values that must not appear in what commands are logged as.
    pub no_log: bool,
}

/// The host that modules observe and change: this machine.
///
/// Used by one thread; state that many tasks ask for (package database, accounts, units) is kept in typed slots and
/// dropped by the module that changes it.
pub struct Host {
    /// How the current task is to be run.
    pub options: RefCell<Options>,
    /// What only the controller has.
    pub upstream: Rc<dyn Upstream>,
    executor: Executor,
    slots: RefCell<HashMap<TypeId, Rc<dyn Any>>>,
}

impl Host {
    /// This machine, with a way back to the controller.
    pub fn new(upstream: Rc<dyn Upstream>) -> Self {
        Self {
            options: RefCell::new(Options::default()),
            upstream,
            executor: Executor::default(),
            slots: RefCell::new(HashMap::new()),
        }
    }

    /// Whether differences are wanted.
    pub fn wants_diff(&self) -> bool {
        self.options.borrow().diff
    }

    /// Whether nothing may change.
    pub fn is_check(&self) -> bool {
        self.options.borrow().check
    }

    /// Whether what is missing may be there in a run: nothing is applied in check mode, and earlier tasks would have
    /// changed something.
    pub fn may_come(&self) -> bool {
        let options = self.options.borrow();
        options.check && options.foreseen
    }

    /// Runs a command to its end, whatever its exit code.
    ///
    /// # Errors
    /// The program cannot be started, or its time ran out.
    pub fn exec(&self, cmd: &Cmd) -> Result<Output, Failure> {
        self.executor.run(cmd, &self.options.borrow().environment)
    }

    /// Runs a command that must succeed.
    ///
    /// # Errors
    /// As [`Host::exec`], and an exit code other than 0: the message ends with the last line of standard error,
    /// `rc`, `stdout` and `stderr` are in the result.
    pub fn exec_ok(&self, cmd: &Cmd) -> Result<Output, Failure> {
        let output = self.exec(cmd)?;
        if output.rc == 0 { Ok(output) } else { Err(output.failure(cmd)) }
    }

    /// State of type `T`, read once and kept until [`Host::forget`].
    ///
    /// # Errors
    /// Whatever `read` fails with.
    pub fn cached<T: 'static>(
        &self,
        read: impl FnOnce(&Host) -> Result<T, Failure>,
    ) -> Result<Rc<T>, Failure> {
        let slot = self.slots.borrow().get(&TypeId::of::<T>()).cloned();
        if let Some(state) = slot.and_then(|slot| slot.downcast::<T>().ok()) {
            return Ok(state);
        }
        let state = Rc::new(read(self)?);
        self.slots.borrow_mut().insert(TypeId::of::<T>(), state.clone());
        Ok(state)
    }

    /// Drops the cached state of type `T`: it was changed.
    pub fn forget<T: 'static>(&self) {
        self.slots.borrow_mut().remove(&TypeId::of::<T>());
    }

    /// Drops all cached state: a command ran that may have changed anything.
    pub fn forget_all(&self) {
        self.slots.borrow_mut().clear();
    }
}
