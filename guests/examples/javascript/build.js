// Builds this guest into NAME.wasm, a component that carries policy.toml, and NAME.toml, its grants.
// It needs componentize-qjs, which `npm ci` brings.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

process.chdir(import.meta.dirname ?? new URL(".", import.meta.url).pathname);
const tool = join("node_modules", "componentize-qjs", "bin", "componentize-qjs");
if (!existsSync(tool)) {
  console.error("componentize-qjs is missing; this brings it: npm ci");
  process.exit(1);
}
const request = readFileSync("policy.toml", "utf8");
const name = /^name\s*=\s*"([a-z0-9-]+)"$/m.exec(request)?.[1];
if (name === undefined || !/^version\s*=.*$/m.test(request)) {
  console.error('policy.toml needs lines of its own for name = "…" and version = "…"');
  process.exit(1);
}

// Without WASI and without asynchronous functions: the host has neither.
const options = ["--sync", "--stub-wasi", "--opt-size", "--wit", "wit", "--world", "guest"];
const source = ["--module-root", "src", "--js", join("src", "guest.js")];
execFileSync(process.execPath, [tool, ...options, ...source, "--output", "component.tmp"], {
  stdio: ["ignore", "ignore", "inherit"],
});
const component = Buffer.concat([readFileSync("component.tmp"), section("warded:policy", Buffer.from(request))]);
rmSync("component.tmp");
const digest = createHash("sha256").update(component).digest("hex");
writeFileSync(`${name}.wasm`, component);
writeFileSync(`${name}.toml`, request.replace(/^version\s*=.*$/m, (line) => `${line}\ncomponent = "sha256:${digest}"`));
console.log(`${name}: ${component.length} bytes`);
console.log(`Next: warded policy check ${name}.wasm policy.toml`);

/** A custom section of a component. */
function section(title, data) {
  const content = Buffer.concat([number(title.length), Buffer.from(title), data]);
  return Buffer.concat([Buffer.from([0]), number(content.length), content]);
}

/** A number as WebAssembly writes it: LEB128. */
function number(value) {
  const bytes = [];
  for (; value > 0x7f; value >>>= 7) bytes.push((value & 0x7f) | 0x80);
  return Buffer.from([...bytes, value]);
}
