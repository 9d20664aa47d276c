import { nodeModule } from "@frugal/tensor-core/node";
import type { downloadFileToCacheDir, fileExists, modelInfo } from "@huggingface/hub";
import { z } from "zod";
import { DownloadError, MissingResourceError, WeightFormatError } from "../errors.ts";
import { shardIndexSchema } from "../weights/hugging-face.ts";
import { configurationFromHuggingFace } from "../weights/model-configuration.ts";

/** What is used of the optional peer `@huggingface/hub`. */
interface Hub {
  readonly downloadFileToCacheDir: typeof downloadFileToCacheDir;
  readonly fileExists: typeof fileExists;
  readonly modelInfo: typeof modelInfo;
}

interface HubFile {
  readonly repo: string;
  readonly path: string;
  readonly revision?: string;
  readonly hubUrl?: string;
  readonly cacheDir?: string;
  readonly accessToken?: string;
}

/** Options of `fetchHubModel`. */
export interface HubOptions {
  /** Branch, tag or commit. Default "main". */
  readonly revision?: string;
  /** Default: the environment variable `HF_ENDPOINT`, otherwise the public hub. */
  readonly endpoint?: string;
  /** Default: the cache that all Hugging Face libraries share. */
  readonly cacheFolder?: string;
  /** Default: the environment variable `HF_TOKEN`, otherwise none. */
  readonly accessToken?: string;
  /** Called before each file. */
  readonly onFile?: (path: string) => void;
  /** Stops before the next file. */
  readonly signal?: AbortSignal;
}

const HUB_PACKAGE: string = "@huggingface/hub";
const CONFIG = "config.json";
const SINGLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";
/** Whose absence is no error here; what needs them says so. */
const OPTIONAL = ["tokenizer.json", "tokenizer_config.json"];

async function loadHub(repository: string): Promise<Hub> {
  try {
    return (await import(/* @vite-ignore */ HUB_PACKAGE)) as Hub;
  } catch (cause) {
    throw new MissingResourceError(
      `Models of the Hugging Face hub (${repository}) need the npm package ${HUB_PACKAGE}, which is not installed`,
      `Install it with: npm install ${HUB_PACKAGE}`,
      { cause },
    );
  }
}

/** Whether a name looks like `owner/name`. */
export function isHubName(name: string): boolean {
  return /^[A-Za-z0-9_][\w.-]*\/[A-Za-z0-9_][\w.-]*$/.test(name);
}

/**
 * Downloads a model of the Hugging Face hub, in safetensors, into the cache that Hugging Face's libraries share, by the optional peer
 * `@huggingface/hub` (Node). The configuration comes first, so that a model that cannot run costs no download.
 * @param repository `owner/name`
 * @returns the folder with the files, for `openHuggingFaceFolder` and `openHuggingFaceTokenizer`
 * @throws MissingResourceError without the peer or without such files, DownloadError if the hub refuses or cannot be reached,
 *   UnsupportedModelError for architectures this package does not have
 */
export async function fetchHubModel(repository: string, options: HubOptions = {}): Promise<string> {
  const { readFile } = nodeModule("node:fs/promises");
  const { dirname, basename } = nodeModule("node:path");
  const hub = await loadHub(repository);
  const { cacheFolder, onFile, signal } = options;
  const endpoint = options.endpoint ?? process.env["HF_ENDPOINT"];
  const accessToken = options.accessToken ?? process.env["HF_TOKEN"];
  const access = { ...(endpoint ? { hubUrl: endpoint } : {}), ...(accessToken ? { accessToken } : {}) };
  const attempt = async <Result>(path: string, run: () => Promise<Result>): Promise<Result> => {
    try {
      return await run();
    } catch (cause) {
      const said = cause instanceof Error ? cause.message : String(cause);
      throw new DownloadError(`${repository}: ${path} could not be had from the Hugging Face hub: ${said}`, { cause });
    }
  };
  signal?.throwIfAborted();
  // A commit rather than a branch: all files are of the same state, whatever is pushed meanwhile, and lie in one folder of the cache.
  const name = options.revision ?? "main";
  const info = await attempt(name, () => hub.modelInfo({ name: repository, revision: name, additionalFields: ["sha"], ...access }));
  const commit = z.looseObject({ sha: z.string().regex(/^[0-9a-f]{40}$/) }).safeParse(info);
  if (!commit.success) throw new DownloadError(`${repository}: the hub names no commit for revision ${name}`);
  const revision = commit.data.sha;
  const fileAt = (path: string): HubFile => ({
    repo: repository, path, revision, ...access, ...(cacheFolder ? { cacheDir: cacheFolder } : {}),
  });
  const exists = (path: string): Promise<boolean> => attempt(path, () => hub.fileExists(fileAt(path)));
  const download = async (path: string): Promise<string> => {
    signal?.throwIfAborted();
    onFile?.(path);
    return await attempt(path, () => hub.downloadFileToCacheDir(fileAt(path)));
  };
  const readJson = async (path: string): Promise<unknown> => {
    try {
      return JSON.parse(await readFile(path, "utf8")) as unknown;
    } catch (cause) {
      throw new WeightFormatError(`${repository}: ${basename(path)}`, "is not JSON", { cause });
    }
  };

  if (!(await exists(CONFIG))) {
    throw new MissingResourceError(`${repository} has no ${CONFIG} on the hub`, "Name a repository with a model in safetensors");
  }
  const config = await download(CONFIG);
  configurationFromHuggingFace(await readJson(config), `${repository}: ${CONFIG}`);
  const folder = dirname(config);
  for (const path of OPTIONAL) if (await exists(path)) await download(path);
  if (await exists(SINGLE)) {
    await download(SINGLE);
    return folder;
  }
  if (!(await exists(INDEX))) {
    throw new MissingResourceError(`${repository} has neither ${SINGLE} nor ${INDEX}`, "Name a repository with a model in safetensors");
  }
  const index = shardIndexSchema.safeParse(await readJson(await download(INDEX)));
  if (!index.success) throw new WeightFormatError(`${repository}: ${INDEX}`, index.error.issues[0]?.message ?? "is not valid");
  for (const shard of new Set(Object.values(index.data.weight_map))) await download(shard);
  return folder;
}
