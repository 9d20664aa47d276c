/**
 * `npm run test:webgpu -- [lavapipe] [swiftshader] [null] [system] [vitest arguments]`: runs `*.webgpu.test.ts` once for each lane,
 * in a process that starts with the lane's environment. Without a lane: swiftshader, and lavapipe where it is installed; with CI set
 * both. A lane that is asked for and cannot be had is a failure.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { findLavapipe, type LaneName, laneNames, prepareLane } from "./webgpu-adapters.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

function lanesToRun(): LaneName[] {
  if (process.env["CI"]) return ["lavapipe", "swiftshader"];
  try {
    findLavapipe();
    return ["lavapipe", "swiftshader"];
  } catch (error) {
    console.error(`leaving out a lane: ${(error as Error).message}`);
    return ["swiftshader"];
  }
}

/** Runs vitest in the lane and returns its exit status. */
async function runLane(name: LaneName, vitestArguments: readonly string[]): Promise<number> {
  const { modulePath, environment } = await prepareLane(name);
  const { status, error } = spawnSync(
    process.execPath,
    [`${root}node_modules/vitest/vitest.mjs`, "run", "--project", "webgpu", ...vitestArguments],
    {
      cwd: root,
      stdio: "inherit",
      env: { ...process.env, ...environment, FRUGAL_WEBGPU_LANE: name, FRUGAL_WEBGPU_MODULE: modulePath },
    },
  );
  if (error) throw error;
  return status ?? 1;
}

const isLane = (argument: string): argument is LaneName => (laneNames as readonly string[]).includes(argument);

async function main(args: readonly string[]): Promise<number> {
  const firstOther = args.findIndex((argument) => !isLane(argument));
  const vitestArguments = firstOther < 0 ? [] : args.slice(firstOther);
  const named = args.slice(0, args.length - vitestArguments.length).filter(isLane);
  let failures = 0;
  for (const lane of named.length > 0 ? named : lanesToRun()) {
    console.error(`WebGPU lane: ${lane}`);
    try {
      if ((await runLane(lane, vitestArguments)) !== 0) failures++;
    } catch (error) {
      console.error((error as Error).message);
      failures++;
    }
  }
  return failures === 0 ? 0 : 1;
}

process.exitCode = await main(process.argv.slice(2));
