/**
 * Trains with and without a codec on the links between stages: `node examples/codec-on-links.ts`. The codec is in int8-link-codec.ts; the
 * command takes such a module too: `mecefo train --codec int8-link-codec.ts`. It codes activations and gradients alike.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { trainFaultTolerant } from "@frugal/mecefo";

for (const codec of ["float32", fileURLToPath(new URL("int8-link-codec.ts", import.meta.url))]) {
  const output = await mkdtemp(join(tmpdir(), "mecefo-example-"));
  const { outcome, summary } = await trainFaultTolerant({
    output, codec, workers: "in-process", model: "nano", grid: "2x2", steps: 30, sequenceLength: 64, data: { text: "moby-dick" },
  });
  const name = codec === "float32" ? codec : "int8 rows";
  const [first, last] = [summary.firstLoss?.toFixed(6), summary.finalLoss?.toFixed(6)];
  console.log(`${name.padEnd(10)} ${outcome.kind}, loss ${first} at first, ${last} at last`);
  await rm(output, { recursive: true });
}
