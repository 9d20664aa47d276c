import { pathToFileURL } from "node:url";
import type { Options } from "tsup";
import { packageBuild } from "../../scripts/package-build.ts";

type Plugin = NonNullable<Options["esbuildPlugins"]>[number];

/** The thread pool's worker is a program in a string, which no bundler would minify. */
const minifyWorker: Plugin = {
  name: "minify-worker",
  setup(build) {
    build.onLoad({ filter: /worker-source\.ts$/ }, async ({ path }) => {
      const { workerSource } = (await import(pathToFileURL(path).href)) as { workerSource: string };
      const { code } = await build.esbuild.transform(workerSource, { minify: true });
      return { contents: `export const workerSource = ${JSON.stringify(code)};` };
    });
  },
};

const config: Options = packageBuild({ esbuildPlugins: [minifyWorker] });

export default config;
