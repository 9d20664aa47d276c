/**
 * Who may import whom: no circular imports inside a workspace (type-only and dynamic ones aside), packages only downwards,
 * other packages only by published name and declared subpath, and only what package.json declares.
 */
import { readFileSync, readdirSync } from "node:fs";
import { isBuiltin } from "node:module";
import { dirname, relative, resolve } from "node:path";
import ts from "typescript";
import { importSpecifiers, listWorkspaces, repositoryRoot, type Workspace } from "./workspaces.ts";

/** The packages a package may import; methods (those not named here) may import all of these, and never each other. */
const foundations: Readonly<Record<string, readonly string[]>> = {
  "@frugal/tensor-core": [],
  "@frugal/language-model": ["@frugal/tensor-core"],
};
/** A method with fewer rights than the others: cuda-tutor has nothing to do with language models. */
const narrowMethods: Readonly<Record<string, readonly string[]>> = { "@frugal/cuda-tutor": ["@frugal/tensor-core"] };

/** How a module names another: at load time, only for its types, or by `import()`. */
export interface ImportOf {
  readonly specifier: string;
  readonly kind: "value" | "type" | "dynamic";
}

/** The imports and re-exports of one TypeScript file. */
export function importsOf(fileName: string, source: string): ImportOf[] {
  const found: ImportOf[] = [];
  const add = (node: ts.Expression | undefined, kind: ImportOf["kind"]): void => {
    if (node && ts.isStringLiteralLike(node)) found.push({ specifier: node.text, kind });
  };
  const allTypes = (elements: readonly (ts.ImportSpecifier | ts.ExportSpecifier)[]): boolean =>
    elements.length > 0 && elements.every((element) => element.isTypeOnly);
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) {
      const clause = node.importClause;
      const names = clause?.namedBindings;
      const typeOnly =
        clause?.phaseModifier === ts.SyntaxKind.TypeKeyword ||
        (clause !== undefined && !clause.name && names !== undefined && ts.isNamedImports(names) && allTypes(names.elements));
      add(node.moduleSpecifier, typeOnly ? "type" : "value");
    } else if (ts.isExportDeclaration(node)) {
      const names = node.exportClause;
      const typeOnly = node.isTypeOnly || (names !== undefined && ts.isNamedExports(names) && allTypes(names.elements));
      add(node.moduleSpecifier, typeOnly ? "type" : "value");
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      add(node.arguments[0], "dynamic");
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      add(node.argument.literal as ts.Expression, "type");
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(fileName, source, ts.ScriptTarget.Latest, true));
  return found;
}

/** All elementary cycles found by depth-first search, each as the list of nodes from its first to its last. */
export function findCycles(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const cycles: string[][] = [];
  const finished = new Set<string>();
  const path: string[] = [];
  const visit = (node: string): void => {
    const start = path.indexOf(node);
    if (start >= 0) {
      cycles.push(path.slice(start));
      return;
    }
    if (finished.has(node)) return;
    path.push(node);
    for (const next of graph.get(node) ?? []) visit(next);
    path.pop();
    finished.add(node);
  };
  for (const node of graph.keys()) visit(node);
  return cycles;
}

/** The house's packages that `name` may import. */
export function allowedImports(name: string): readonly string[] {
  return foundations[name] ?? narrowMethods[name] ?? Object.keys(foundations);
}

function packageNameOf(specifier: string): string {
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}

function sourceFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile() && /\.[cm]?ts$/.test(file.name))
    .map((file) => `${file.parentPath}/${file.name}`.replaceAll("\\", "/"))
    .filter((path) => !/\/(node_modules|dist|assembly|\.turbo)\//.test(path));
}

function checkWorkspace(workspace: Workspace, workspaces: readonly Workspace[], rootTools: ReadonlySet<string>): string[] {
  const { folder, kind, manifest } = workspace;
  const problems: string[] = [];
  const graph = new Map<string, string[]>();
  const byName = new Map(workspaces.map((other) => [other.manifest.name, other]));
  const runtime = new Set([manifest.name, ...Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies })]);
  for (const path of sourceFiles(folder)) {
    const place = relative(repositoryRoot, path).replaceAll("\\", "/");
    const inSource = path.startsWith(`${folder.replaceAll("\\", "/")}/src/`);
    const shipped = inSource && !/\.(test|testing|bench)\.ts$|\/testing\//.test(path);
    const targets: string[] = [];
    for (const { specifier, kind: how } of importsOf(path, readFileSync(path, "utf8"))) {
      if (specifier.startsWith(".")) {
        const target = resolve(dirname(path), specifier).replaceAll("\\", "/");
        const leaves = relative(folder, target).startsWith("..");
        const sharedConfig = target.startsWith(`${repositoryRoot.replaceAll("\\", "/")}/scripts/`) && !inSource;
        if (leaves && !sharedConfig) problems.push(`${place}: leaves its workspace by ${specifier}; import the package by its name`);
        if (how === "value") targets.push(target);
        continue;
      }
      if (isBuiltin(specifier)) {
        if (!specifier.startsWith("node:")) problems.push(`${place}: write node:${specifier}`);
        continue;
      }
      const name = packageNameOf(specifier);
      const other = byName.get(name);
      if (other) {
        if (other.kind === "app") problems.push(`${place}: imports the app ${name}`);
        if (kind === "package" && name !== manifest.name && !allowedImports(manifest.name).includes(name)) {
          problems.push(
            `${place}: ${manifest.name} may not import ${name} (allowed: ${allowedImports(manifest.name).join(", ") || "none"})`,
          );
        }
        if (!importSpecifiers(other.manifest).includes(specifier))
          problems.push(`${place}: ${specifier} is not a declared entry of ${name}`);
      }
      const declared = runtime.has(name) || (!shipped && (name in (manifest.devDependencies ?? {}) || rootTools.has(name)));
      if (!declared && !(how === "type" && `@types/${name}` in (manifest.dependencies ?? {}))) {
        problems.push(
          `${place}: ${name} is not in the ${shipped ? "dependencies" : "dependencies or devDependencies"} of ${manifest.name}`,
        );
      }
    }
    if (inSource) graph.set(path, targets);
  }
  for (const cycle of findCycles(graph)) {
    problems.push(`circular import: ${[...cycle, cycle[0]!].map((path) => relative(folder, path)).join(" -> ")}`);
  }
  return problems;
}

/** Every broken rule in the repository, one line each. */
export function checkImports(): string[] {
  const workspaces = listWorkspaces();
  const root = JSON.parse(readFileSync(`${repositoryRoot}/package.json`, "utf8")) as { devDependencies: Record<string, string> };
  const rootTools = new Set(Object.keys(root.devDependencies));
  return workspaces.flatMap((workspace) => checkWorkspace(workspace, workspaces, rootTools));
}
