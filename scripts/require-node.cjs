// Runs first in every npm script and must parse on any Node: says what to do where neither the Node that
// npm install brings (optionalDependencies of package.json) nor the machine's own is new enough.
"use strict";
var required = [22, 18];
var found = process.versions.node.split(".").map(Number);
if (found[0] < required[0] || (found[0] === required[0] && found[1] < required[1])) {
  console.error(
    "Frugal needs Node.js " + required.join(".") + " or newer; this is " + process.versions.node +
    " (" + process.platform + " " + process.arch + ", " + process.execPath + ").\n" +
    "`npm ci` normally brings a Node 24 of its own for Linux (x64, arm64), Windows (x64) and macOS (a Node 22.23 on Apple silicon), but none is in node_modules/.bin.\n" +
    "Either run `npm ci` again without --omit=optional, or install Node.js 24 from https://nodejs.org and retry."
  );
  process.exit(1);
}
