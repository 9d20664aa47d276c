import { TensorError } from "../errors.ts";

/** The modules of Node that the packages use, by name. */
interface NodeModules {
  "node:child_process": typeof import("node:child_process");
  "node:crypto": typeof import("node:crypto");
  "node:fs": typeof import("node:fs");
  "node:fs/promises": typeof import("node:fs/promises");
  "node:module": typeof import("node:module");
  "node:os": typeof import("node:os");
  "node:path": typeof import("node:path");
  "node:url": typeof import("node:url");
  "node:zlib": typeof import("node:zlib");
}

/**
 * A module of Node, for functions that need one in packages that also run in browsers: bundlers for browsers fail on `import("node:fs")` even where it is never reached.
 * @throws TensorError outside Node
 */
export function nodeModule<Name extends keyof NodeModules>(name: Name): NodeModules[Name] {
  const module = globalThis.process?.getBuiltinModule?.(name);
  if (module === undefined) throw new TensorError(`${name} is not available: files can be opened by path only in Node; give bytes or a Blob instead`);
  return module as NodeModules[Name];
}
