//! What expressions ask for: lookups, other hosts' variables, template files.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use debark_expr::{Scope, Services};
use debark_value::{Map, Value};
use debark_wire::{Answer, Place, Request};

use crate::link::Link;
use crate::upstream::{Origin, Remote, Store};

/// Answers expressions from the controller.
pub struct AgentServices {
    /// The connection.
    pub link: Arc<Link>,
    /// What is known without asking.
    pub store: Arc<Store>,
    /// Where the current task's paths start.
    pub origin: Mutex<Origin>,
    /// Other hosts' variables, asked for once per task.
    hosts: Mutex<HashMap<String, Option<Value>>>,
    /// What to wait for before other hosts' variables are what they would be task by task.
    behind: Mutex<Option<Request>>,
}

impl AgentServices {
    /// Services over a link.
    pub fn new(link: Arc<Link>, store: Arc<Store>) -> Self {
        Self { link, store, origin: Mutex::default(), hosts: Mutex::default(), behind: Mutex::default() }
    }

    /// A new task begins: its paths start elsewhere, and other hosts may have moved on.
    pub fn begin(&self, origin: Origin, behind: Option<Request>) {
        *self.behind.lock().unwrap_or_else(PoisonError::into_inner) = behind;
        *self.origin.lock().unwrap_or_else(PoisonError::into_inner) = origin;
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn origin(&self) -> Origin {
        self.origin.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Services for AgentServices {
    fn lookup(&self, name: &str, args: &[Value], kwargs: &Map, _: &Scope) -> Result<Value, String> {
        let request = Request::Lookup {
            name: name.into(),
            args: args.to_vec(),
            kwargs: kwargs.clone(),
            role_path: self.origin().role_path,
        };
        match self.link.request(request)? {
            Answer::Value(value) => Ok(value),
            _ => Err("the controller did not answer with a value".into()),
        }
    }

    fn hostvars(&self, host: &str) -> Result<Option<Value>, String> {
        if let Some(known) = self.hosts.lock().unwrap_or_else(PoisonError::into_inner).get(host) {
            return Ok(known.clone());
        }
        let behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(barrier) = behind {
            self.link.request(barrier)?;
        }
        let vars = match self.link.request(Request::HostVars { host: host.into() })? {
            Answer::Value(Value::Null) => None,
            Answer::Value(value) => Some(value),
            _ => return Err("the controller did not answer with a value".into()),
        };
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).insert(host.into(), vars.clone());
        Ok(vars)
    }

    fn file(&self, path: &str) -> Result<String, String> {
        let remote =
            Remote { link: self.link.clone(), store: self.store.clone(), origin: self.origin().into() };
        remote.text(path, Place::Templates).map(|(text, _)| text)
    }
}
