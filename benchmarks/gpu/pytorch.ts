import { spawn, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { GpuWorkload } from "./workloads.ts";

/** Seconds of a call in PyTorch by id and setting ("PyTorch", "PyTorch TF32", …), or why there are none. */
export type PytorchAnswer =
  | { readonly absent: string }
  | {
      readonly version: string;
      readonly seconds: Readonly<Record<string, Readonly<Record<string, number>>>>;
      readonly errors: Readonly<Record<string, string>>;
    };

const program = fileURLToPath(new URL("pytorch.py", import.meta.url));
const python = process.env["PYTHON"] ?? "python3";
const minutes = 20;

/** Runs the workloads in PyTorch on the same card. */
export async function startPytorch(workloads: readonly GpuWorkload[], quick: boolean): Promise<PytorchAnswer> {
  const probe = spawnSync(python, ["-c", "import torch; assert torch.cuda.is_available(), 'torch finds no CUDA device'"], {
    encoding: "utf8",
  });
  if (probe.error !== undefined) return { absent: `${python} does not start` };
  if (probe.status !== 0)
    return { absent: probe.stderr.includes("No module named 'torch'") ? "not installed" : probe.stderr.trim().split("\n").at(-1)! };
  const child = spawn(python, [program], { stdio: ["pipe", "pipe", "inherit"], timeout: minutes * 60_000 });
  child.stdin.end(JSON.stringify({ quick, workloads: workloads.map(({ id, task }) => ({ id, ...task })) }));
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  const status = await new Promise<number | null>((resolve) => child.once("close", resolve));
  if (status !== 0) return { absent: `pytorch.py ended with ${status === null ? "a time-out or signal" : `status ${status}`}` };
  return JSON.parse(output) as PytorchAnswer;
}
