"""What the modules tell Ansible of what the program said. Plain unittest, with ansible-core's PyYAML; deploy/ansible/check tries the program itself."""

import importlib.util
import json
import re
import stat
import subprocess
import sys
import tempfile
import types
import unittest
import unittest.mock
from pathlib import Path

import yaml

COLLECTION = Path(__file__).resolve().parents[2]
SOURCE = COLLECTION / "plugins/module_utils/warded.py"
spec = importlib.util.spec_from_file_location("warded", SOURCE)
warded = importlib.util.module_from_spec(spec)
sys.dont_write_bytecode = True
spec.loader.exec_module(warded)

REFUSED = {
    "schema": "warded.error/1",
    "kind": "refused",
    "exit": 5,
    "message": "sshd would not accept the configuration",
    "notes": [{"label": "cause", "text": "line 1"}, {"label": "next", "text": "mend it"}],
}


class ExitCodes(unittest.TestCase):
    def test_each_code_has_its_result(self):
        kept = {"schema": "warded.apply/1", "run": 7}
        nothing = {"schema": "warded.apply/1", "run": None}
        error = dict(REFUSED, kind="error")
        cases = [
            # code, object, only planned: failed, changed, reason
            (0, kept, False, False, True, None),
            (0, nothing, False, False, False, None),
            (0, {"schema": "warded.plan/1"}, True, False, False, None),
            (3, {"schema": "warded.plan/1"}, True, False, True, None),
            # A plan's code from a command that was to change something.
            (3, {"schema": "warded.plan/1"}, False, True, False, "unknown"),
            (4, kept, False, True, True, "incomplete"),
            (4, nothing, False, True, False, "incomplete"),
            (1, error, False, True, False, "failed"),
            (1, dict(error, kind="rolled back"), False, True, False, "rolled_back"),
            (2, error, False, True, False, "usage"),
            (5, REFUSED, False, True, False, "refused"),
            (5, REFUSED, True, True, False, "refused"),
            (6, error, False, True, False, "ca_unreachable"),
            (7, error, False, True, False, "no_ca"),
            (8, error, False, True, False, "unknown"),
            (-9, None, False, True, False, "unknown"),
            (0, None, False, True, False, "unknown"),
        ]
        for code, document, planned, failed, changed, reason in cases:
            with self.subTest(code=code, document=document, planned=planned):
                result = warded.outcome(code, document, "", planned)
                self.assertEqual((failed, changed, reason), (result["failed"], result["changed"], result.get("reason")))
                self.assertEqual(failed, bool(result.get("msg")))

    def test_a_failure_has_the_words_of_the_terminal(self):
        said = warded.outcome(5, REFUSED, "")["msg"]
        self.assertEqual("sshd would not accept the configuration\ncause: line 1\nnext: mend it", said)
        said = warded.outcome(2, None, "error: no\n")["msg"]
        self.assertTrue(said.startswith("error: no\ncause: "), said)

    def test_a_renewal_of_one_of_two_sshds_is_a_change(self):
        both = {"schema": "warded.renewals/1", "exit": 4, "sshds": [{"result": REFUSED}, {"result": {"run": 3}}]}
        result = warded.outcome(4, both, "")
        self.assertEqual((True, True), (result["failed"], result["changed"]))


class AcceptedDoubts(unittest.TestCase):
    """A run that ends with 4 only for a risk that its task accepts is no failure."""

    KEPT = {"schema": "warded.apply/1", "run": 7, "not_seen_live": "sshd cannot be asked"}
    UNKNOWN = dict(KEPT, unknown_listener="an unknown program listens")
    # Nothing had to change, and the object does not say what is in doubt.
    SILENT = {"schema": "warded.apply/1", "run": None}
    BLIND = {"schema": "warded.status/1", "listening": True, "host_keys": [{"certificate": {"serial": "1"}, "served": None}, {"certificate": None}]}
    SEEN = dict(BLIND, host_keys=[{"certificate": {"serial": "1"}, "served": False}])

    def apply(self, document, accept_risk, name="procedure", status=None, code=4):
        with tempfile.TemporaryDirectory() as directory:
            answers = Path(directory) / "answers"
            answers.write_text(json.dumps({"apply": [document, code], "enrol": [document, code], "status": [status or self.SEEN, 4]}))
            program = written(directory, "answer, code = json.load(open(%r))[sys.argv[1]]\nprint(json.dumps(answer))\nsys.exit(code)\n" % str(answers))
            own = {"code": "x"} if name == "enrol" else {"name": "certify-host"}
            return ran(name, dict(own, program=program, accept_risk=accept_risk), check_mode=False)

    def test_that_risk_alone(self):
        cases = [
            # object, accepted: failed, changed
            (self.KEPT, ["not-seen-live"], False, True),
            (dict(self.KEPT, confirm_until="2026-01-01T00:00:00Z"), ["not-seen-live"], False, True),
            (self.UNKNOWN, ["unknown-listener"], False, True),
            (self.UNKNOWN, ["not-seen-live"], True, True),
            (self.KEPT, ["unknown-listener"], True, True),
            (self.KEPT, [], True, True),
            (dict(self.KEPT, not_seen_live=None), ["not-seen-live"], True, True),
            (dict(self.KEPT, put_off=["SHA256:x"]), ["not-seen-live"], True, True),
            (dict(self.KEPT, refused=[{"key": "k", "why": "no"}]), ["not-seen-live"], True, True),
            (dict(self.KEPT, former_keys=["SHA256:x"]), ["not-seen-live"], True, True),
            (dict(self.KEPT, unrecorded="no"), ["not-seen-live"], True, True),
        ]
        for document, accepted, failed, changed in cases:
            for name in ("procedure", "enrol"):
                with self.subTest(document=document, accepted=accepted, name=name):
                    result = self.apply(document, accepted, name)
                    self.assertEqual((failed, changed, 4), (result["failed"], result["changed"], result["exit"]))
                    self.assertEqual([] if failed else ["accepted"], [text.split()[0] for text in result["warned"]])

    def test_where_nothing_had_to_change(self):
        for status, accepted, failed in [
            (self.BLIND, ["not-seen-live"], False),
            (self.BLIND, [], True),
            (self.SEEN, ["not-seen-live"], True),
            (dict(self.BLIND, listening=False), ["not-seen-live"], True),
            (dict(self.BLIND, host_keys=[]), ["not-seen-live"], True),
        ]:
            with self.subTest(status=status, accepted=accepted):
                result = self.apply(self.SILENT, accepted, status=status)
                self.assertEqual((failed, False), (result["failed"], result["changed"]))

    def test_no_other_code(self):
        self.assertTrue(self.apply(self.KEPT, ["not-seen-live"], code=1)["failed"])


class Messages(unittest.TestCase):
    """Each message of a failed task names the cause, and what to do next."""

    def labelled(self, message):
        for label in ("cause", "next"):
            self.assertEqual(1, len(re.findall("^%s: " % label, message, re.MULTILINE)), message)

    def test_of_each_exit_code(self):
        bare = {"schema": "warded.error/1", "kind": "error", "message": "no", "notes": []}
        for code in (-9, 0, 1, 2, 3, 4, 5, 6, 7, 8):
            for document in (None, bare, REFUSED, dict(bare, notes=REFUSED["notes"][:1]), dict(bare, notes=REFUSED["notes"][1:])):
                for stderr in ("", "error: no\n", "refused: no\ncause: it is so\nstate: nothing was changed\nnext:  mend it\n"):
                    with self.subTest(code=code, document=document, stderr=stderr):
                        result = warded.outcome(code, document, stderr)
                        if result["failed"]:
                            self.labelled(result["msg"])

    def test_of_a_program_that_is_not_there(self):
        module = Recorded({"program": "/no/such"})
        module.get_bin_path = lambda name, opt_dirs=(): None
        with self.assertRaises(Failed) as failure:
            warded.Warded(module).call(["status"])
        self.assertEqual("not_installed", failure.exception.result["reason"])
        self.labelled(failure.exception.result["msg"])

    def test_no_module_has_another_way_to_fail(self):
        for path in sorted(COLLECTION.glob("plugins/modules/*.py")):
            with self.subTest(path.name):
                self.assertNotIn("fail_json", path.read_text())

    def test_of_the_roles(self):
        found = 0
        files = [yaml.safe_load(path.read_text()) for path in sorted(COLLECTION.glob("roles/*/tasks/*.yml"))]
        plays = yaml.safe_load((COLLECTION / "playbooks/rollout.yml").read_text())
        for tasks in files + [play["tasks"] for play in plays if "tasks" in play]:
            for task in tasks_of(tasks):
                for module, key in (("ansible.builtin.fail", "msg"), ("ansible.builtin.assert", "fail_msg")):
                    # What a module said is labelled already.
                    if module in task and not task[module][key].startswith("{{ warded_invitation.msg }}"):
                        with self.subTest(task["name"]):
                            self.labelled(task[module][key])
                        found += 1
        self.assertEqual(5, found)


def tasks_of(tasks):
    for task in tasks:
        yield task
        yield from tasks_of(task.get("block", []))


class Files(unittest.TestCase):
    def test_the_role_installs_neither_archives_nor_packages_of_other_systems(self):
        neither = yaml.safe_load((COLLECTION / "roles/install/vars/main.yml").read_text())["warded_neither"]
        names = {
            True: ["warded-0.1.0-x86_64-unknown-linux-musl.tar.gz", "warded_0.1.0_x86_64.apk", "warded-0.1.0-1-x86_64.pkg.tar.zst", "SHA256SUMS.sig"],
            False: ["warded", "warded-0.1.0", "warded_0.1.0_amd64.deb", "warded-0.1.0-1.x86_64.rpm", "/x.tar.gz.d/warded"],
        }
        for refused, given in names.items():
            for name in given:
                self.assertEqual(refused, bool(re.search(neither, name)), name)


class Words(unittest.TestCase):
    def test_settings(self):
        words = warded.settings_words({"principal": ["a", "b c"], "all": True, "n": 3})
        self.assertEqual(["--set=all=true", "--set=n=3", "--set=principal=a", "--set=principal=b c"], words)

    def test_settings_without_a_value_are_refused_by_name(self):
        for value, kind in ((None, "null"), (["a", None], "null"), ({"a": 1}, "dictionary"), ([{}], "dictionary"), ([["a"]], "list in a list")):
            with self.subTest(value=value):
                for name in ("procedure", "enrol"):
                    params = {"program": "/no/such", "settings": {"principal": value}, "name": "x", "code": "x"}
                    result = ran(name, params, check_mode=False)
                    self.assertEqual((True, "usage"), (result["failed"], result["reason"]))
                    self.assertRegex(result["msg"], "cause: the setting principal has .*%s" % kind)
                    self.assertIn("\nnext: ", result["msg"])

    def test_a_plan_and_its_run_have_the_same_diff(self):
        files = [{"action": "add", "path": "/etc/x", "what": "", "diff": ["+line"], "ends": ["a key ends"]}]
        plan = warded.diff_of({"files": files, "reloads": ["ssh"]})
        run = warded.diff_of({"review": {"files": files, "reloads": ["ssh"]}, "reloads": [{"service": "ssh"}]})
        self.assertEqual(plan, run)
        self.assertEqual("+ /etc/x\n    +line\n    ! a key ends\n> reload ssh\n", plan["prepared"])
        self.assertIsNone(warded.diff_of({"run": None}))


class Failed(Exception):
    def __init__(self, result):
        super().__init__(result)
        self.result = result


class Recorded:
    """AnsibleModule as far as the program is concerned: it starts it for real."""

    check_mode = False

    def __init__(self, params):
        self.params = params
        self.warned = []

    def fail_json(self, **result):
        raise Failed(result)

    def get_bin_path(self, name, opt_dirs=()):
        return name

    def run_command(self, words, data=None, expand_user_and_vars=True):
        assert not expand_user_and_vars
        done = subprocess.run(words, input=data or "", capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr


class Ended(Exception):
    def __init__(self, result):
        super().__init__(result)
        self.result = result


class Module(Recorded):
    """AnsibleModule for the main function of a module, with these parameters."""

    def __init__(self, params, check_mode, **spec):
        absent = {name: what.get("default") for name, what in spec["argument_spec"].items()}
        super().__init__(dict(absent, **params))
        self.check_mode = check_mode

    def warn(self, text):
        self.warned.append(text)

    def exit_json(self, **result):
        raise Ended(dict(result, failed=False, warned=self.warned))

    def fail_json(self, **result):
        raise Ended(dict(result, failed=True, warned=self.warned))


def ran(name, params, check_mode):
    """What a module of the collection tells Ansible, whose own parts it does not need here."""
    basic = types.ModuleType("ansible.module_utils.basic")
    basic.AnsibleModule = lambda **spec: Module(params, check_mode, **spec)
    imported = {basic.__name__: basic, "ansible_collections.warded.ssh.plugins.module_utils.warded": warded}
    for full in list(imported):
        parts = full.split(".")
        imported.update((".".join(parts[:end]), types.ModuleType(parts[end - 1])) for end in range(1, len(parts)))
    with unittest.mock.patch.dict(sys.modules, imported):
        found = importlib.util.spec_from_file_location(name, COLLECTION / "plugins/modules" / (name + ".py"))
        module = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)
        try:
            module.main()
        except Ended as ended:
            return ended.result
    raise AssertionError("it told nothing")


def written(directory, body):
    """A program in Python."""
    program = Path(directory) / "program"
    program.write_text("#!%s\nimport json, os, sys\n" % sys.executable + body)
    program.chmod(stat.S_IRWXU)
    return str(program)


class CheckMode(unittest.TestCase):
    ROOT = {"risk": "root-by-certificate", "what": "A certificate with the principal root would log in as root"}

    def told(self, module, accept_risk, check_mode=True, **params):
        with tempfile.TemporaryDirectory() as directory:
            # As the program plans a procedure that would let root in.
            program = written(
                directory,
                "missing = [] if '--accept-risk=root-by-certificate' in sys.argv else [%r]\n"
                "plan = {'schema': 'warded.plan/1', 'argv': sys.argv[1:], 'not_accepted': missing, 'stdin': sys.stdin.read(),\n"
                "        'files': [{'action': 'add', 'path': '/etc/x', 'diff': ['+line']}]}\n"
                "print(json.dumps(plan))\n"
                "sys.exit(3 if {'plan', '--plan'} & set(sys.argv) else 0)\n" % self.ROOT,
            )
            return ran(module, dict(params, program=program, accept_risk=accept_risk), check_mode)

    PLANS = [
        # module, its parameters, the words of its plan and of its run before and after the risks
        ("procedure", {"name": "trust-user-ca"}, (["plan", "trust-user-ca"], []), (["apply", "trust-user-ca"], ["--yes"])),
        ("enrol", {"code": "secret"}, (["enrol", "--code-file=-"], ["--plan"]), (["enrol", "--code-file=-"], ["--yes"])),
        ("rekey", {}, (["rekey", "--plan"], []), (["rekey", "--yes"], [])),
        ("renew", {}, (["renew", "--plan"], []), (["renew"], [])),
    ]

    def test_a_plan_takes_the_risks_of_its_run(self):
        risks = ["--accept-risk=root-by-certificate", "--accept-risk=lose-ssh"]
        for name, params, plan, run in self.PLANS:
            for check_mode, (before, after) in ((True, plan), (False, run)):
                with self.subTest(name, check_mode=check_mode):
                    result = self.told(name, ["root-by-certificate", "lose-ssh"], check_mode, **params)
                    self.assertEqual(before + risks + after + ["--json"], result["warded"]["argv"])
                    self.assertEqual((False, check_mode), (result["failed"], result["changed"]))
                    self.assertEqual(params.get("code", ""), result["warded"]["stdin"])

    def test_a_plan_fails_for_a_risk_that_its_run_is_refused_for(self):
        for name, params in (plan[:2] for plan in self.PLANS):
            with self.subTest(name):
                result = self.told(name, ["lose-ssh"], **params)
                self.assertEqual((True, False, "refused"), (result["failed"], result["changed"], result["reason"]))
                self.assertIn("cause: %s\n" % self.ROOT["what"], result["msg"])
                self.assertIn("next: if that is what you want: accept_risk: [root-by-certificate]", result["msg"])
                # The change is shown all the same.
                self.assertEqual("+ /etc/x\n    +line\n", result["diff"]["prepared"])

    def test_without_a_code_only_the_enrolment_is_told(self):
        self.assertEqual(["status", "--json"], self.told("enrol", [])["warded"]["argv"])
        self.assertEqual("usage", self.told("enrol", [], check_mode=False)["reason"])


class Secrets(unittest.TestCase):
    def test_a_secret_is_on_standard_input_alone(self):
        secret = "correct horse"
        with tempfile.TemporaryDirectory() as directory:
            # A program that tells what it was given.
            program = Path(directory) / "program"
            program.write_text(
                "#!%s\nimport json, os, sys\n"
                "print(json.dumps({'argv': sys.argv, 'environ': dict(os.environ), 'stdin': sys.stdin.read()}))\n" % sys.executable
            )
            program.chmod(stat.S_IRWXU)
            for name, flag in (("provisioner_password", "--provisioner-password-file=-"), ("token", "--token-file=-")):
                with self.subTest(name):
                    params = {"program": str(program), name: secret, "provisioner": "admin", "state": "/s"}
                    words, given = warded.identity(params)
                    code, told, stderr = warded.Warded(Recorded(params)).call(["apply"] + words, given)
                    self.assertEqual(0, code, stderr)
                    self.assertEqual(secret, told["stdin"])
                    self.assertNotIn(secret, json.dumps([told["argv"], told["environ"]]))
                    self.assertEqual(["apply", "--provisioner=admin", flag, "--state=/s", "--json"], told["argv"][1:])

    def test_arguments_that_are_secrets_are_not_logged(self):
        secrets = [name for name, what in warded.arguments(warded.IDENTITY).items() if what.get("no_log")]
        self.assertEqual(["provisioner_password", "token"], secrets)


if __name__ == "__main__":
    unittest.main()
