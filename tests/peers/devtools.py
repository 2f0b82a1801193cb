"""Controls headless Chromium by the DevTools protocol over pipes (--remote-debugging-pipe)."""
import json
import os
import subprocess
import sys


class Browser:
    def __init__(self, profile):
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()

        def ends():
            # The descriptors that the browser expects. They are copied in such an order that neither overwrites the
            # other.
            read, write = os.dup(theirs_in), os.dup(theirs_out)
            os.dup2(read, 3)
            os.dup2(write, 4)

        words = ["chromium-headless-shell", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--remote-debugging-pipe"]
        self.process = subprocess.Popen(words, preexec_fn=ends, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)
        self.out, self.reader, self.number, self.session = ours_out, os.fdopen(ours_in, "rb"), 0, None
        self.events = []

    def ask(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = json.loads(self.message())
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def tab(self):
        """Opens a tab, to which later questions go."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def message(self):
        found = bytearray()
        while (byte := self.reader.read(1)) != b"\0":
            if not byte:
                sys.exit("the browser ended")
            found += byte
        return found

    def look(self, expression):
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def press(self, key, code, text=""):
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, text=text if kind == "keyDown" else "")

    def type(self, text):
        self.ask("Input.insertText", text=text)

    def end(self):
        self.session = None
        self.ask("Browser.close")
        self.process.wait()
