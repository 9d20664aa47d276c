/** The workspace packages of this repository, read from disk. */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The fields of a package.json that the scripts read. */
export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly private?: boolean;
  readonly exports?: Readonly<Record<string, unknown>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>;
}

/** A workspace: its absolute folder (no trailing slash), whether it is a package or an app, and its manifest. */
export interface Workspace {
  readonly folder: string;
  readonly kind: "package" | "app";
  readonly manifest: Manifest;
}

/** Absolute path of the repository root, without a trailing slash. */
export const repositoryRoot: string = fileURLToPath(new URL("..", import.meta.url)).replace(/[\\/]$/, "");

/** Packages that are for Node alone: processes and sockets are what they are about, so that no browser can run them. */
export const nodeOnlyPackages: readonly string[] = ["@frugal/mecefo"];

/** All workspaces, packages first. */
export function listWorkspaces(): Workspace[] {
  const kinds = [
    ["packages", "package"],
    ["apps", "app"],
  ] as const;
  return kinds.flatMap(([parent, kind]) => {
    const path = `${repositoryRoot}/${parent}`;
    if (!existsSync(path)) return [];
    return readdirSync(path)
      .sort()
      .map((name) => `${path}/${name}`)
      .filter((folder) => existsSync(`${folder}/package.json`))
      .map((folder) => ({
        folder,
        kind,
        manifest: JSON.parse(readFileSync(`${folder}/package.json`, "utf8")) as Manifest,
      }));
  });
}

/** The packages that go to the registry. */
export function listPublishable(): Workspace[] {
  return listWorkspaces().filter((workspace) => workspace.kind === "package" && workspace.manifest.private !== true);
}

/** Import specifiers of a package's JavaScript entries: its name, and its name with each declared subpath. */
export function importSpecifiers(manifest: Manifest): string[] {
  return Object.keys(manifest.exports ?? { ".": "" })
    .filter((subpath) => !subpath.endsWith(".json"))
    .map((subpath) => manifest.name + subpath.slice(1));
}
