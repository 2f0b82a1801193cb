//! An appliance: a tool with a store, like TrueNAS's middleware, and the actions with which a policy runs the tool.

use super::{Grants, Machine};
use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

/// A secret that the appliance's tool knows and no procedure may see.
pub(crate) const SECRET: &str = "SECRET-KEY-OF-THE-APPLIANCE";

/// The tool. The file `mode` says what goes wrong: `COMMAND:FAULT`.
const TOOL: &str = r#"#!/bin/sh
store={dir}/store
echo "$1" >>$store/calls
[ "$(cat $store/edit-at)" != "$(grep -c '^show' $store/calls)" ] || echo '{"options":"of the GUI"}' >$store/settings
mode=$(cat $store/mode)
case $mode in
$1:hang) exec sleep 600 ;;
$1:dies) kill -9 $$ ;;
$1:nonsense) echo nonsense; exit 0 ;;
$1:fails) echo "no such thing" >&2; exit 3 ;;
$1:talks) exec head -c 2000000 /dev/zero ;;
$1:lies) exit 0 ;;
$1:again) echo "no such thing" >&2; exit 3 ;;
create:stalls) [ $1 != create ] || exec sleep 8 ;;
*:slow | *:fails-slowly) case $1 in set) sleep 1.5 ;; create) sleep 3.5 ;; delete) sleep 4 ;; esac ;;
$1:kills-before) echo none >$store/mode; kill -9 $PPID; sleep 2 ;;
$1:kills-both)
    echo none >$store/mode
    for process in /proc/[0-9]*; do
        tr '\0' ' ' <$process/cmdline | grep -q "{dir}.* watchdog " && kill -9 ${process#/proc/}
    done
    kill -9 $PPID
    sleep 1
    ;;
esac
case $1 in
show) printf '{"private":"{secret}",%s\n' "$(sed 's/^{//' $store/settings)" ;;
set) printf '%s\n' "$2" >$store/settings.new && mv $store/settings.new $store/settings ;;
jobs) cat $store/jobs ;;
create) echo "[{\"id\":7,\"command\":\"$2\",\"private\":\"{secret}\"}]" >$store/jobs ;;
delete) [ "$2" = 7 ] && echo '[]' >$store/jobs ;;
esac
status=$?
case $mode in
$1:kills-after) echo none >$store/mode; kill -9 $PPID; sleep 1 ;;
$1:fails-after) echo "no such thing" >&2; exit 3 ;;
*:fails-slowly) [ $1 != create ] || { echo "no such thing" >&2; exit 3; } ;;
*:again) [ $1 != set ] || grep -q ours $store/settings || echo '# ours' >{dir}/ssh/sshd_config.d/60-case.conf ;;
$1:edits-second) echo '# of the appliance' >>{dir}/second_config ;;
$1:edits-main) echo 'Prot 22' >>{dir}/ssh/sshd_config ;;
$1:edits-file) echo '# of the appliance' >>{dir}/ssh/sshd_config.d/60-case.conf ;;
esac
exit $status
"#;

const ACTIONS: &str = r#"
[action.show]
kind = "query"
argv = ["{dir}/tool", "show"]
output = { json = ["options"] }
timeout = 2
[action.set]
kind = "change"
argv = ["{dir}/tool", "set", { json = { options = "{options}" } }]
input.options = { type = "text", max = 65536 }
state = { query = "show", member = "options", becomes = "{options}" }
undo = { action = "set", options = "{before}" }
timeout = 2
[action.jobs]
kind = "query"
argv = ["{dir}/tool", "jobs"]
output = { json = ["id"] }
[action.job-create]
kind = "change"
argv = ["{dir}/tool", "create", "renew"]
state = { query = "jobs", becomes = "present" }
undo = { action = "job-delete" }
[action.job-delete]
kind = "change"
argv = ["{dir}/tool", "delete", "{state.id}"]
state = { query = "jobs", becomes = "absent" }
undo = { action = "job-create" }
[action.print]
kind = "query"
argv = ["/bin/echo", "{word}"]
input.word = { type = "line" }
output = { text = true }
[action.once]
kind = "change"
argv = ["{dir}/tool", "once"]
irreversible = true
"#;

/// The `[action.NAME]` tables, with `{dir}` for the machine's directory.
pub(crate) fn tables() -> String {
    ACTIONS.to_owned()
}

/// The tool and its store on a machine.
pub(crate) struct Appliance<'a>(pub(crate) &'a Machine);

impl<'a> Appliance<'a> {
    /// Installs the tool and its store.
    pub(crate) fn on(machine: &'a Machine) -> Self {
        let appliance = Self(machine);
        fs::create_dir(machine.path("store")).unwrap();
        for (name, text) in [
            ("settings", "{\"options\":\"Banner none\\n\"}\n"),
            ("jobs", "[]\n"),
            ("mode", "none\n"),
            ("edit-at", "never\n"),
            ("calls", ""),
        ] {
            fs::write(appliance.store(name), text).unwrap();
        }
        let tool = machine.path("tool");
        fs::write(&tool, TOOL.replace("{dir}", &appliance.directory()).replace("{secret}", SECRET)).unwrap();
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
        appliance
    }

    /// Grants with the actions of this appliance.
    pub(crate) fn grants(&self, lines: &[&str]) -> Grants {
        Grants::of(lines).with_actions(&ACTIONS.replace("{dir}", &self.directory()))
    }

    /// A file of the store.
    pub(crate) fn store(&self, name: &str) -> PathBuf {
        self.0.path("store").join(name)
    }

    /// The contents of a file of the store.
    pub(crate) fn stored(&self, name: &str) -> String {
        fs::read_to_string(self.store(name)).unwrap()
    }

    /// Sets what goes wrong from now on.
    pub(crate) fn mode(&self, mode: &str) {
        fs::write(self.store("mode"), format!("{mode}\n")).unwrap();
    }

    fn directory(&self) -> String {
        self.0.path("").to_str().unwrap().trim_end_matches('/').to_owned()
    }
}
