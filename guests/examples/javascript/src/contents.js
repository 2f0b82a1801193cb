// The code that needs no host, so that it can be tested without one.

/** The lines, each with its end, as UTF-8. QuickJS has no TextEncoder. */
export function contents(lines) {
  const text = lines.map((line) => `${line}\n`).join("");
  return Uint8Array.from(unescape(encodeURIComponent(text)), (byte) => byte.charCodeAt(0));
}
