import { nodeModule } from "@frugal/tensor-core/node";

/**
 * Where downloaded models are kept (Node): the folder named by the environment variable `FRUGAL_CACHE`, otherwise `.cache/frugal` in the
 * user's home.
 */
export async function modelCacheFolder(): Promise<string> {
  const { homedir } = nodeModule("node:os");
  const { join } = nodeModule("node:path");
  const chosen = process.env["FRUGAL_CACHE"];
  return chosen === undefined || chosen === "" ? join(homedir(), ".cache", "frugal") : chosen;
}
