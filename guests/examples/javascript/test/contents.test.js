import assert from "node:assert/strict";
import { test } from "node:test";
import { contents } from "../src/contents.js";

test("every line is ended, and text becomes UTF-8", () => {
  assert.deepEqual(contents(["Grüße ✓ 🔑", ""]), new Uint8Array(new TextEncoder().encode("Grüße ✓ 🔑\n\n")));
});
