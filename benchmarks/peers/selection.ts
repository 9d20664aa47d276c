/** Ways to find the magnitude that exactly `count` numbers reach: sorting all of them, and libraries that sort partially. */
import { select } from "floyd-rivest";
import quickselect from "quickselect";
import { uniform } from "../src/inputs.ts";
import { packageVersion } from "../src/package-version.ts";
import type { Adapter, Prepared, Task } from "../src/workload.ts";

/** Finds the element at `place` of the ascending order; the array may be reordered. */
interface Method {
  readonly version: () => string;
  readonly find: (values: Float32Array, place: number) => number;
}

const methods: Readonly<Record<string, Method>> = {
  sort: { version: () => process.versions.v8, find: (values, place) => values.sort()[place]! },
  quickselect: {
    version: () => packageVersion("quickselect"),
    find: (values, place) => {
      // Written for arrays of anything; a typed array is faster.
      quickselect(values as unknown as number[], place);
      return values[place]!;
    },
  },
  "floyd-rivest": {
    version: () => packageVersion("floyd-rivest"),
    find: (values, place) => select(values as unknown as number[], place + 1),
  },
};

async function prepare(task: Task, find: (values: Float32Array, place: number) => number): Promise<Prepared | undefined> {
  if (task.kind !== "selectLargest") return undefined;
  const { size, count } = task;
  const values = uniform(size, 1);
  const magnitudes = new Float32Array(size);
  const run = (): number => {
    for (let i = 0; i < size; i++) magnitudes[i] = Math.abs(values[i]!);
    return find(magnitudes, size - count);
  };
  return { run: () => void run(), sample: () => [run()] };
}

export const adapter: Adapter = {
  async open(_threads, variant) {
    const method = methods[variant!];
    if (method === undefined) throw new Error(`no way to select called ${variant}`);
    return { version: method.version(), prepare: (task) => prepare(task, method.find) };
  },
};
