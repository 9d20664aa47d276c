import { nodeModule } from "@frugal/tensor-core/node";

/** Writes a text file so that readers see the old content or the new, never half of it (Node). */
export async function replaceTextFile(path: string, text: string): Promise<void> {
  const { open, rename, rm } = nodeModule("node:fs/promises");
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    const file = await open(temporary, "w");
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
