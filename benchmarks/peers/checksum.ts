/** Checksums of 32 bits: crc-32 has Castagnoli's polynomial in JavaScript, Node's zlib only zip's, in native code. */
import { crc32 } from "node:zlib";
import { randomBytes } from "../src/inputs.ts";
import { packageVersion } from "../src/package-version.ts";
import type { Adapter, Prepared, Task } from "../src/workload.ts";

interface Checksum {
  readonly version: string;
  readonly isSame: boolean;
  of(bytes: Uint8Array): number;
}

async function openChecksum(name: string | undefined): Promise<Checksum> {
  if (name === "zlib") return { version: process.versions["zlib"] ?? "", isSame: false, of: (bytes) => crc32(bytes) };
  const { default: crc32c } = await import("crc-32/crc32c.js");
  return { version: packageVersion("crc-32"), isSame: true, of: (bytes) => crc32c.buf(bytes) >>> 0 };
}

async function prepare(task: Task, checksum: Checksum): Promise<Prepared | undefined> {
  if (task.kind !== "checksum") return undefined;
  const bytes = randomBytes(task.size);
  return { run: () => void checksum.of(bytes), sample: () => (checksum.isSame ? [checksum.of(bytes)] : []) };
}

export const adapter: Adapter = {
  async open(_threads, variant) {
    const checksum = await openChecksum(variant);
    return { version: checksum.version, prepare: (task) => prepare(task, checksum) };
  },
};
