/** Program of a child process: one library, doing tasks when the parent asks. Run by `ContenderProcess`. */
import { measure, warmUp } from "./measure.ts";
import type { Adapter, OpenAdapter, Prepared, Task } from "./workload.ts";

/** What the parent asks. */
export type Request =
  | { readonly type: "open"; readonly module: string; readonly threads: number; readonly variant: string | undefined }
  | { readonly type: "prepare"; readonly task: Task; readonly warmUpSeconds: number }
  | { readonly type: "measure"; readonly seconds: number }
  | { readonly type: "release" };

/** What the child answers. */
export type Reply =
  | { readonly type: "opened"; readonly version: string }
  /** `sample` is undefined where the library cannot do the task. */
  | { readonly type: "prepared"; readonly sample: readonly number[] | undefined; readonly bytes?: number }
  | { readonly type: "measured"; readonly seconds: number }
  | { readonly type: "released" }
  | { readonly type: "failed"; readonly message: string };

let library: OpenAdapter | undefined;
let prepared: Prepared | undefined;
let estimate = 0;

async function answer(request: Request): Promise<Reply> {
  switch (request.type) {
    case "open": {
      const { adapter } = (await import(`../peers/${request.module}.ts`)) as { adapter: Adapter };
      library = await adapter.open(request.threads, request.variant);
      return { type: "opened", version: library.version };
    }
    case "prepare": {
      prepared = await library!.prepare(request.task);
      if (prepared === undefined) return { type: "prepared", sample: undefined };
      // The first result is compared before anything is timed.
      await (prepared.run === undefined ? prepared.runAsync!() : prepared.run());
      const sample = await prepared.sample();
      estimate = await warmUp(prepared, request.warmUpSeconds);
      return { type: "prepared", sample, ...(prepared.bytes !== undefined && { bytes: prepared.bytes }) };
    }
    case "measure":
      return { type: "measured", seconds: await measure(prepared!, request.seconds, estimate) };
    case "release":
      await prepared?.dispose?.();
      prepared = undefined;
      return { type: "released" };
  }
}

// The parent is gone.
process.on("disconnect", () => process.exit());

process.on("message", (request: Request) => {
  answer(request)
    .catch((error: unknown): Reply => ({
      type: "failed",
      message: error instanceof Error ? (error.stack ?? error.message) : String(error),
    }))
    .then((reply) => process.send!(reply));
});
