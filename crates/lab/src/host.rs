//! One host of a lab, for those who test with it.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use crate::background;
use crate::cgroup::Trees;
use crate::error::{Error, Result};
use crate::inventory;
use crate::lab::Lab;
use crate::network;
use crate::process::Process;
use crate::relay::{Relay, Side};
use crate::state::{Boot, DelayState, HostState};
use crate::store::HostDir;
use crate::supervise;

/// One host. It borrows its lab: a host is gone when its lab is.
#[derive(Debug)]
pub struct Host<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) name: String,
    pub(crate) state: HostState,
}

impl Host<'_> {
    /// `h1`, `h2`, ...
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address, which the controller's namespace reaches.
    pub fn address(&self) -> Ipv4Addr {
        self.state.address
    }

    /// What the lab knows of it.
    pub fn state(&self) -> &HostState {
        &self.state
    }

    pub(crate) fn dir(&self) -> HostDir {
        self.lab.dir.host(&self.name)
    }

    fn boot(&self) -> Boot {
        Boot::read(&self.dir().boot())
    }

    /// Whether it has booted and is watched by a living supervisor.
    pub fn is_up(&self) -> bool {
        self.boot().is_up()
    }

    /// How often it has booted, reboots included.
    pub fn boots(&self) -> u32 {
        self.boot().count
    }

    /// The process that watches over it.
    pub fn supervisor(&self) -> Option<Process> {
        self.boot().supervisor
    }

    /// Its first process, as the machine numbers it.
    pub fn leader(&self) -> Option<Process> {
        self.boot().leader.filter(|leader| leader.is_alive())
    }

    /// Waits until it is up after more than `boots` boots: take [`Host::boots`] before a reboot.
    ///
    /// # Errors
    /// When it is not up after three minutes, with the end of its console.
    pub fn wait_boot(&self, boots: u32) -> Result<()> {
        let done = || {
            let boot = self.boot();
            boot.count > boots && boot.is_up()
        };
        if background::wait_until(Duration::from_secs(180), done) {
            return Ok(());
        }
        Err(self.lab.boot_error(&self.name, "it did not come up again"))
    }

    /// Its root file system as the machine sees it, to compare and to look into. What hosts mount inside (`/run`,
    /// `/dev`) is not there.
    pub fn rootfs_path(&self) -> PathBuf {
        self.dir().rootfs()
    }

    /// What it has printed while it booted.
    pub fn console_path(&self) -> PathBuf {
        self.dir().console()
    }

    /// A program as root inside the host, entered directly: no ssh, works without network.
    ///
    /// # Errors
    /// When the host does not run.
    pub fn command<S: AsRef<OsStr>>(&self, argv: &[S]) -> Result<Command> {
        let leader = self.leader().ok_or_else(|| self.lab.boot_error(&self.name, "it is not running"))?;
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", leader.pid)).args(["--all", "--", "/usr/bin/env", "-i"]);
        command.args([
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME=/root",
            "USER=root",
            "LOGNAME=root",
            "SHELL=/bin/bash",
            "LANG=C.UTF-8",
        ]);
        command.args(argv);
        Ok(command)
    }

    /// Runs a program as root inside the host and returns what it printed, whatever its exit status.
    pub fn exec<S: AsRef<OsStr>>(&self, argv: &[S]) -> Result<Output> {
        let mut command = self.command(argv)?;
        command.stdin(std::process::Stdio::null());
        command.output().map_err(Error::file("start", std::path::Path::new("nsenter")))
    }

    /// Runs a shell script as root inside the host; an error unless it ends well. Returns its standard output.
    pub fn sh(&self, script: &str) -> Result<String> {
        let output = self.exec(&["sh", "-c", script])?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(Error::Command {
            command: format!("{}: {script}", self.name),
            status: format!("failed ({})", output.status),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// A program over ssh, as the lab's users do it.
    pub fn ssh<S: AsRef<OsStr>>(&self, argv: &[S]) -> Command {
        let mut command = self.lab.bridge_command("ssh");
        command.arg("-F").arg(self.lab.dir.ssh_config()).arg(&self.name).args(argv);
        command
    }

    fn sshd(&self) -> Vec<Process> {
        let all = self.leader().map(Process::neighbours).unwrap_or_default();
        all.into_iter()
            .filter(|process| process.name().is_some_and(|name| name.starts_with("sshd")))
            .collect()
    }

    /// Kills every sshd, the listening one too (which systemd starts again), as a crash would.
    pub fn kill_sshd(&self) {
        self.sshd().into_iter().for_each(Process::kill);
    }

    /// Kills the sshd processes of open connections and leaves the listening one: connections drop, new ones work.
    pub fn drop_connections(&self) {
        let all = self.sshd();
        // The listening one is the only one whose parent is not an sshd.
        let is_sshd = |pid: Option<u32>| all.iter().any(|process| Some(process.pid) == pid);
        all.iter().filter(|process| is_sshd(process.parent())).for_each(|process| process.kill());
    }

    /// Pulls the host's cable: packets vanish, connections hang.
    pub fn network_down(&self) -> Result<()> {
        network::cable_command(&self.lab.state()?.bridge(), self.state.number, false).run().map(drop)
    }

    /// Plugs the host's cable in again.
    pub fn network_up(&self) -> Result<()> {
        network::cable_command(&self.lab.state()?.bridge(), self.state.number, true).run().map(drop)
    }

    /// Kills the host at once, as a power cut. [`Lab::start`] boots it again from the same disk.
    pub fn power_off(&self) -> Result<()> {
        Trees::find()?.kill(&supervise::group(&self.lab.names, &self.name))
    }

    /// Starts a TCP proxy in front of its sshd that adds a round trip of so many milliseconds, and returns where it
    /// listens in the controller's namespace. It runs until the lab goes down; the host's key is known there too.
    pub fn delay(&self, round_trip_ms: u64) -> Result<SocketAddr> {
        let lab = self.lab;
        let _lock = lab.store.lock(&format!("lab-{}", lab.name))?;
        let mut state = lab.state()?;
        if state.gateway {
            let what = format!("the controller of lab {} reaches its hosts through a gateway only", lab.name);
            return Err(Error::input(what, "make a lab without a gateway for delays"));
        }
        let relay = Relay {
            namespace: state.controller.clone(),
            listen: SocketAddr::from((state.range().bridge(), 0)),
            side: Side::Inside,
            target: SocketAddr::from((self.state.address, 22)),
            round_trip: Duration::from_millis(round_trip_ms),
        };
        let listen = lab.start_relay(&relay)?;
        state.delays.push(DelayState { host: self.name.clone(), listen, round_trip_ms });
        lab.write_files(&state)?;
        Ok(listen)
    }

    /// The inventory line of this host alone, reached through a delaying proxy.
    pub fn inventory_behind(&self, proxy: SocketAddr) -> Result<String> {
        let mut state = self.lab.state()?;
        state.hosts.retain(|name, _| name == &self.name);
        let text = inventory::ini(&state, &self.lab.dir, &[]);
        let direct = format!("ansible_host={}", self.state.address);
        Ok(text.replace(&direct, &format!("ansible_host={} ansible_port={}", proxy.ip(), proxy.port())))
    }
}
