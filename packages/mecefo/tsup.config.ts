import type { Options } from "tsup";
import { packageBuild } from "../../scripts/package-build.ts";

const build: Options = packageBuild();

/** The thread that a worker's sockets live in is a file of its own: `new Worker` names it. */
const config: Options = { ...build, entry: { ...(build.entry as Record<string, string>), "network-thread": "src/network-thread.ts" } };

export default config;
