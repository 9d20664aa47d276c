/**
 * `npm run readme-test`: every block fenced as ```ts run in the READMEs is type-checked and run against the built packages, so
 * that what a reader copies works. The README of each publishable package must have one. Those fenced as ```ts run webgpu are
 * type-checked only: `npm run pack-test`, which installs Dawn, runs them. `--json <file>` writes the counts.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { relative } from "node:path";
import { extractExamples, type Example } from "./readme-examples.ts";
import { listPublishable, repositoryRoot } from "./workspaces.ts";

// Inside the repository, so that package names resolve to the workspaces; not under node_modules, where Node does not strip types.
const folder = `${repositoryRoot}/.cache/readme-examples`;
const timeLimit = 120_000;

function collect(): Example[] {
  const owners = listPublishable();
  const documents = [`${repositoryRoot}/README.md`, ...owners.map((owner) => `${owner.folder}/README.md`)].filter((file) =>
    existsSync(file),
  );
  const examples = documents.flatMap((file) =>
    extractExamples(relative(repositoryRoot, file).replaceAll("\\", "/"), readFileSync(file, "utf8")),
  );
  for (const { folder: owner, manifest } of owners) {
    const place = `${relative(repositoryRoot, owner).replaceAll("\\", "/")}/README.md`;
    if (!examples.some(({ document }) => document === place))
      throw new Error(`${place}: ${manifest.name} shows no example fenced as \`\`\`ts run`);
  }
  return examples;
}

function typeCheck(): boolean {
  writeFileSync(
    `${folder}/tsconfig.json`,
    JSON.stringify({
      extends: "../../tsconfig.base.json",
      compilerOptions: { noUnusedLocals: false, isolatedDeclarations: false, declaration: false },
      include: ["*.ts"],
    }),
  );
  const { status } = spawnSync(process.execPath, [`${repositoryRoot}/node_modules/typescript/bin/tsc`, "-p", folder], { stdio: "inherit" });
  return status === 0;
}

function run(file: string, example: Example): boolean {
  const started = performance.now();
  const { status, error, stdout, stderr } = spawnSync(process.execPath, [`${folder}/${file}`], {
    cwd: folder,
    encoding: "utf8",
    timeout: timeLimit,
  });
  const ok = status === 0 && !error;
  console.log(`${ok ? "ok    " : "FAILED"} ${example.document}:${example.line} (${Math.round(performance.now() - started)} ms)`);
  if (!ok) console.log(error?.message ?? "", stdout, stderr);
  return ok;
}

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
const examples = collect().map((example, index) => ({ example, file: `example-${index + 1}.ts` }));
// `export {}` makes a module of an example without imports, for top-level await.
for (const { example, file } of examples)
  writeFileSync(`${folder}/${file}`, `// ${example.document}:${example.line}\n${example.code}\nexport {};\n`);
const typesOk = typeCheck();
const runnable = examples.filter(({ example }) => !example.needsWebGpu);
const passed = runnable.filter(({ example, file }) => run(file, example)).length;
const failed = runnable.length - passed + (typesOk ? 0 : 1);
const others = `${examples.length - runnable.length} for WebGPU are left to npm run pack-test`;
console.log(`readme examples: ${passed} of ${runnable.length} run, ${others}${typesOk ? "" : ", types FAILED"}`);
const json = process.argv.indexOf("--json");
if (json >= 0) writeFileSync(process.argv[json + 1]!, JSON.stringify({ passed, failed, skipped: 0 }));
process.exitCode = failed === 0 ? 0 : 1;
