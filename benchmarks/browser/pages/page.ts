import { median } from "../../src/measure.ts";
import type { PageLibrary, PreparedPage } from "./contract.ts";

/** Offers a library to the harness. */
export function offer(open: () => Promise<PageLibrary>): void {
  let library: PageLibrary | undefined;
  let prepared: PreparedPage | undefined;
  globalThis.benchmark = {
    async open() {
      library = await open();
      return { adapter: library.adapter ?? "not said" };
    },
    async prepare(task) {
      prepared = await library!.prepare(task);
      if (prepared === undefined) return null;
      await prepared.run();
      const values = [...(await prepared.result())];
      await prepared.run();
      return values;
    },
    async measure(seconds) {
      const times: number[] = [];
      const deadline = performance.now() + seconds * 1000;
      do {
        const started = performance.now();
        await prepared!.run();
        times.push((performance.now() - started) / 1000);
      } while (performance.now() < deadline && times.length < 1000);
      return median(times);
    },
    async release() {
      prepared?.dispose?.();
      prepared = undefined;
    },
  };
}

/** Sizes of a task's inputs with their seeds; all libraries take the same. */
export { uniform } from "../../src/inputs.ts";
