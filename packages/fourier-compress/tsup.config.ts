import type { Options } from "tsup";
import { packageBuild } from "../../scripts/package-build.ts";

const config: Options = packageBuild();

export default config;
