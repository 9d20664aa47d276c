/** tensor-core on WebGPU. */
import { synchronize, type Tensor } from "@frugal/tensor-core";
import { webgpu } from "@frugal/tensor-core/webgpu";
import type { PageTask, PreparedPage } from "./contract.ts";
import { prepareOperation } from "./frugal-tasks.ts";
import { offer } from "./page.ts";

offer(async () => {
  const { adapter } = await webgpu();
  return {
    adapter: `${adapter.vendor} ${adapter.architecture} ${adapter.description}`.trim(),
    async prepare(task: PageTask): Promise<PreparedPage> {
      const { operation, dispose } = prepareOperation(task, "webgpu");
      let last: Tensor | undefined;
      return {
        async run() {
          last?.dispose();
          last = operation();
          await synchronize("webgpu");
        },
        result: () => last!.data("float32"),
        dispose() {
          last?.dispose();
          dispose();
        },
      };
    },
  };
});
