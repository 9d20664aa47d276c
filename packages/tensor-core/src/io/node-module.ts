import type * as childProcess from "node:child_process";
import type * as crypto from "node:crypto";
import type * as fs from "node:fs";
import type * as fsPromises from "node:fs/promises";
import type * as nodeModules from "node:module";
import type * as os from "node:os";
import type * as path from "node:path";
import type * as url from "node:url";
import type * as zlib from "node:zlib";
import { TensorError } from "../errors.ts";

/** The modules of Node that the packages use, by name. */
interface NodeModules {
  "node:child_process": typeof childProcess;
  "node:crypto": typeof crypto;
  "node:fs": typeof fs;
  "node:fs/promises": typeof fsPromises;
  "node:module": typeof nodeModules;
  "node:os": typeof os;
  "node:path": typeof path;
  "node:url": typeof url;
  "node:zlib": typeof zlib;
}

/**
 * A module of Node, for functions that need one in packages that also run in browsers: bundlers for browsers fail on `import("node:fs")`
 * even where it is never reached.
 * @throws TensorError outside Node
 */
export function nodeModule<Name extends keyof NodeModules>(name: Name): NodeModules[Name] {
  const module = globalThis.process?.getBuiltinModule?.(name);
  if (module === undefined)
    throw new TensorError(`${name} is not available: files can be opened by path only in Node; give bytes or a Blob instead`);
  return module as unknown as NodeModules[Name];
}
