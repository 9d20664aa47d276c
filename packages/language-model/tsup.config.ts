import { defineConfig } from "tsup";
import { packageBuild } from "../../scripts/package-build.ts";

export default defineConfig(packageBuild());
