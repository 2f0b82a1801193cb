// The procedures of the guest: one exported function for each, `set-banner` as `setBanner`.

import * as files from "warded:host/files@0.1.0";
import * as log from "warded:host/log@0.1.0";
import { contents } from "./contents.js";

export function setBanner(settings) {
  const lines = settings.filter(({ name }) => name === "line").map(({ value }) => value);
  if (!files.write("/etc/issue.net", contents(lines), undefined)) log.info("The banner is what it should be.");
}
