# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Runs the program warded, and tells Ansible what it said.

What Warded decides is not decided again here: an exit code becomes a result, and a JSON object becomes facts, a diff and a
message. A secret goes to the program by standard input alone.
"""

from __future__ import annotations

import json
import re

# What an exit code means, as docs/USAGE.md has it, and what to do next where the program does not say that itself. 0 and 3
# are no failures; every other code that is not here fails, too.
REASONS = {
    1: ("failed", "the command failed", "warded doctor and warded audit log say more on the machine"),
    2: ("usage", "warded does not take these options, or needs root", "mend the options of the task: ansible-doc has them; and see that it has become: true"),
    4: ("incomplete", "something is not as it should be", "warded status and warded doctor say what, on the machine"),
    5: ("refused", "warded refused, to keep the machine safe", "mend what it names, and run the playbook again"),
    6: ("ca_unreachable", "the CA cannot be reached, or gives no usable answer", "see that the machine reaches the CA, and run the playbook again"),
    7: ("no_ca", "no CA is configured", "name one in the configuration file, or by warded.ssh.bootstrap"),
}
UNKNOWN = ("unknown", "this collection does not know what that means", "see that the collection is of the same version as warded")

PLACES = ("config", "state", "policies", "sshd_config", "sshd", "ca")

IDENTITY = {
    "provisioner": {"type": "str"},
    "provisioner_password": {"type": "str", "no_log": True},
    "token": {"type": "str", "no_log": True},
}

RISKS = {"accept_risk": {"type": "list", "elements": "str", "default": []}}

CONFIRMATION = {"confirm_within": {"type": "str"}}


def arguments(*groups, **own):
    """The arguments of a module: those that each one has, those of the groups, and its own."""
    spec = {"program": {"type": "str", "default": "warded"}}
    for place in PLACES:
        spec[place] = {"type": "path"}
    for group in groups:
        spec.update(group)
    spec.update(own)
    return spec


class WrongSetting(ValueError):
    """A value that no setting can have, in words."""


def settings_words(settings):
    """`--set NAME=VALUE` for each value; a list has one for each of its members."""
    words = []
    for name, values in sorted((settings or {}).items()):
        for value in values if isinstance(values, list) else [values]:
            # As text these would be values of which nobody thought, such as None.
            if value is None or isinstance(value, (dict, list)):
                kinds = {dict: "a dictionary", list: "a list in a list"}
                raise WrongSetting("the setting {0} has {1}".format(name, kinds.get(type(value), "no value (null)")))
            if isinstance(value, bool):
                value = "true" if value else "false"
            words.append("--set={0}={1}".format(name, value))
    return words


def option(name, value):
    """`--name=value`, or nothing."""
    return [] if value is None else ["--{0}={1}".format(name, value)]


def risk_words(params):
    return [word for risk in params.get("accept_risk") or [] for word in option("accept-risk", risk)]


def identity(params):
    """Options that say who asks the CA, and the secret for standard input."""
    words = option("provisioner", params.get("provisioner"))
    for name, flag in (("provisioner_password", "provisioner-password-file"), ("token", "token-file")):
        if params.get(name) is not None:
            return words + option(flag, "-"), params[name]
    return words, None


def parsed(text):
    """The JSON object that the program printed; None where it printed none."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def told(text, cause, following):
    """A message with its labelled lines: a `cause` and a `next` are added where it has none."""
    lines = text.splitlines()
    if not re.search("^cause:", text, re.MULTILINE):
        lines.insert(1, "cause: " + cause)
    if not re.search("^next:", text, re.MULTILINE):
        lines.append("next: " + following)
    return "\n".join(lines)


def message_of(document, stderr):
    """What the terminal shows: the message, then its labelled lines."""
    if document and document.get("schema") == "warded.error/1":
        lines = [document.get("message", "")]
        lines += ["{0}: {1}".format(note.get("label"), note.get("text")) for note in document.get("notes", [])]
        return "\n".join(lines)
    return stderr.strip()


def results_of(document):
    """The results in an answer: of each sshd where `renew` had several, else one."""
    if document and document.get("schema") == "warded.renewals/1":
        return [sshd.get("result") or {} for sshd in document.get("sshds", [])]
    return [document or {}]


def has_run(document):
    """Whether a run changed something."""
    return any(result.get("run") is not None for result in results_of(document))


def diff_of(document):
    """The changed files as the terminal shows them, for `--diff`."""
    signs = {"add": "+", "change": "~", "remove": "-"}
    lines = []
    for result in results_of(document):
        review = result.get("review") or result
        for one in review.get("files") or []:
            if not isinstance(one, dict) or "path" not in one:
                continue
            lines.append("{0} {1}   {2}".format(signs.get(one.get("action"), "?"), one["path"], one.get("what") or "").rstrip())
            lines += ["    " + line for line in one.get("diff") or []]
            lines += ["    ! " + line for line in one.get("ends") or []]
        lines += ["> reload {0}".format(one) for one in review.get("reloads") or [] if isinstance(one, str)]
    return {"prepared": "\n".join(lines) + "\n"} if lines else None


def outcome(code, document, stderr, planned=False):
    """What Ansible is to be told: `failed`, `changed`, `reason`, `msg`, `diff`, and the object itself."""
    result = {"failed": False, "changed": has_run(document), "exit": code, "warded": document}
    if planned:
        result["changed"] = code == 3
    for name in ("run", "confirm_until"):
        if document and document.get(name) is not None:
            result[name] = document[name]
    diff = diff_of(document)
    if diff:
        result["diff"] = diff
    if code == 0 or (planned and code == 3):
        if document is None:
            said = "warded ended with {0}, and printed no JSON object: {1}".format(code, stderr.strip())
            result.update(failed=True, reason="unknown", msg=told(said.rstrip(": "), *UNKNOWN[1:]))
        return result
    result["failed"] = True
    reason, cause, following = REASONS.get(code, UNKNOWN)
    result["reason"] = reason
    if document and document.get("kind") == "rolled back":
        result["reason"] = "rolled_back"
    said = message_of(document, stderr)
    result["msg"] = told(said or "warded ended with {0}, and said nothing".format(code), cause, following)
    return result


def planned(code, document, stderr):
    """The result of a plan. It shows a change although the run would be refused for a risk; check mode fails as the run would."""
    result = outcome(code, document, stderr, planned=True)
    risks = (document or {}).get("not_accepted")
    if risks and not result["failed"]:
        said = told("warded would refuse this run", "; ".join(one["what"] for one in risks),
                    "if that is what you want: accept_risk: [{0}]".format(", ".join(one["risk"] for one in risks)))
        reason = "incomplete" if {one["risk"] for one in risks} == {"new-ca-key"} else "refused"
        result.update(failed=True, changed=False, reason=reason, msg=said)
    return result


def accepted_doubt(document, accepted):
    """Why a run that ended with 4 is as the task accepts it: its one doubt is that nobody saw what sshd serves. Else None.

    The object does not say whether another sshd that reads the files could not be queried, which is such a doubt, too.
    """
    if not document or document.get("run") is None:
        return None
    if any(document.get(name) for name in ("put_off", "refused", "unrecorded", "former_keys")):
        return None
    if (document.get("logout") or {}).get("cause"):
        return None
    # A renewal ends with 4 for each of its warnings.
    warnings = [one for one in document.get("messages") or [] if one.get("level") == "warn"]
    if document.get("schema") == "warded.renew/1" and warnings:
        return None
    for name, risk in (("unknown_listener", "unknown-listener"), ("not_seen_live", "not-seen-live")):
        if document.get(name):
            return "accepted as {0}, not seen live: {1}".format(risk, document[name]) if risk in accepted else None
    return None


def cannot_be_asked(status):
    """Whether sshd listens, but did not tell `warded status` which certificates it serves."""
    certified = [key for key in status.get("host_keys") or [] if key.get("certificate")]
    return bool(status.get("listening") and certified and all(key.get("served") is None for key in certified))


class Warded:
    """The program, as a module's arguments name it."""

    def __init__(self, module):
        self.module = module
        self.params = module.params
        self.program = module.get_bin_path(self.params["program"], opt_dirs=["/usr/local/bin", "/usr/local/sbin"])

    def require(self):
        """Fails where the program is not installed."""
        if self.program is None:
            where = "it is neither in the PATH nor in /usr/local/bin or /usr/local/sbin"
            self.fail("not_installed", "the program {0} is not on this machine".format(self.params["program"]), where,
                      "the role warded.ssh.install installs it")

    def settings(self):
        """The words for the task's settings."""
        try:
            return settings_words(self.params["settings"])
        except WrongSetting as wrong:
            self.fail("usage", "the settings of the task cannot be used", str(wrong),
                      "give it a value or a list of values, or leave the setting out")

    def call(self, words, secret=None):
        """Runs one command: its exit code, its JSON object, and its standard error."""
        self.require()
        places = [word for place in PLACES for word in option(place.replace("_", "-"), self.params.get(place))]
        # Neither `~` nor `$` means anything in a setting.
        code, stdout, stderr = self.module.run_command(
            [self.program] + words + places + ["--json"], data=secret, expand_user_and_vars=False
        )
        return code, parsed(stdout), stderr

    def fail(self, reason, text, cause, following):
        """A failure of which the program does not know."""
        self.module.fail_json(reason=reason, msg=told(text, cause, following))

    def finish(self, result):
        """Tells Ansible, and ends."""
        for one in results_of(result.get("warded")):
            for message in one.get("messages") or []:
                if message.get("level") == "warn":
                    self.module.warn(message["text"])
        if result.pop("failed"):
            self.module.fail_json(**result)
        self.module.exit_json(**result)

    def ran(self, code, document, stderr):
        """The result of a run. Where a risk that the task accepts is all that is in doubt, 4 is no failure but a warning."""
        accepted = self.params.get("accept_risk") or []
        doubt = accepted_doubt(document, accepted) if code == 4 else None
        # Where no file had to change, the object says nothing of it. The risk was accepted once, and stays.
        is_silent = code == 4 and document and document.get("schema") == "warded.apply/1" and document.get("run") is None
        if is_silent and "not-seen-live" in accepted and cannot_be_asked(self.call(["status"])[1] or {}):
            doubt = "accepted as not-seen-live: sshd cannot be asked which certificates it serves"
        if doubt:
            self.module.warn(doubt)
        result = outcome(0 if doubt else code, document, stderr)
        return dict(result, exit=code)

    def change(self, words, plan, secret=None):
        """Runs what changes something; in check mode what only shows it."""
        if self.module.check_mode:
            self.finish(planned(*self.call(plan)))
        self.finish(self.ran(*self.call(words, secret)))
