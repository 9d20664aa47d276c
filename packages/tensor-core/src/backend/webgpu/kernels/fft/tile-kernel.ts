import { workgroupGrid } from "../../program.ts";
import type { RuntimeLimits, WebGpuRuntime } from "../../runtime.ts";
import { jobArguments, textOf, textVariant, type TransformJob } from "./job.ts";
import { tileShape } from "./tile-shape.ts";
import { tileSource } from "./tile-source.ts";

/** Records transforms by the kernel that is compiled for their length. */
export function launchTile(runtime: WebGpuRuntime, job: TransformJob, limits: RuntimeLimits): void {
  const { length, lines, loadAcross, storeAcross } = job;
  const shape = tileShape(length, lines.count, loadAcross || storeAcross, limits);
  const text = textOf(job);
  runtime.launch({
    name: "fftTile",
    variant: `${length} lines${shape.tileLines} lanes${shape.lanes}${shape.padded ? " padded" : ""} ${textVariant(text)}`,
    ...jobArguments(runtime, job),
    workgroups: workgroupGrid(Math.ceil(lines.count / shape.tileLines)),
    code: () => tileSource(shape, text),
  });
}
