/**
 * `npm run pack-test`: packs every publishable package, installs the tarballs together into an empty project outside the
 * repository, imports every entry from ESM and requires it from CommonJS there, and type-checks a consumer under both module
 * resolutions, and without the DOM's declarations, with library checks on, runs the examples of the READMEs, trains with mecefo's command on
 * a grid of processes, and bundles the main and the WebGPU entries of packages that are not for Node alone for browsers. Entries other than
 * the main one are tried after their optional peers were installed; the WebGPU entry before that too, as it imports its peer only when a
 * device is opened. Examples for WebGPU run where there is an adapter: Mesa's software driver where it is installed, else the machine's own
 * GPU.
 */
import { execFileSync, execSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { extractExamples, type Example } from "./readme-examples.ts";
import { findLavapipe } from "./webgpu-adapters.ts";
import { importSpecifiers, listPublishable, nodeOnlyPackages, repositoryRoot } from "./workspaces.ts";

const packages = listPublishable();
const project = mkdtempSync(join(tmpdir(), "frugal-pack-test-"));
const write = (name: string, text: string): void => writeFileSync(join(project, name), text);
// npm is a script on Windows and needs a shell; file names have no spaces apart from the quoted folder.
const npm = (args: string, cwd: string): string => execSync(`npm ${args}`, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
const offline = "--prefer-offline --no-audit --no-fund --ignore-scripts --loglevel=error";

function packAll(): Map<string, string> {
  mkdirSync(join(project, "tarballs"));
  return new Map(
    packages.map(({ folder, manifest }) => {
      const [packed] = JSON.parse(
        npm(`pack --json --ignore-scripts --loglevel=error --pack-destination "${join(project, "tarballs")}"`, folder),
      ) as [{ filename: string; size: number; files: { path: string }[] }];
      const sources = packed.files.filter(({ path }) => path.startsWith("src/") || /\.test\./.test(path));
      if (sources.length > 0) throw new Error(`${manifest.name} ships sources or tests: ${sources.map(({ path }) => path).join(", ")}`);
      console.log(`packed ${manifest.name}@${manifest.version}: ${packed.files.length} files, ${(packed.size / 1024).toFixed(0)} KiB`);
      return [manifest.name, `file:tarballs/${packed.filename}`];
    }),
  );
}

/** Imports and requires every specifier in processes of their own, and fails unless both give the same, non-empty set of names. */
function load(specifiers: readonly string[]): void {
  const report =
    "(name, module) => console.log(JSON.stringify([name, Object.keys(module).filter((key) => key !== '__esModule' && key !== 'module.exports').sort()]))";
  write("load.mjs", `const report = ${report};\nfor (const name of process.argv.slice(2)) report(name, await import(name));\n`);
  write("load.cjs", `const report = ${report};\nfor (const name of process.argv.slice(2)) report(name, require(name));\n`);
  const run = (file: string): string => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [file, ...specifiers], {
      cwd: project,
      encoding: "utf8",
      timeout: 60_000,
    });
    if (status !== 0) throw new Error(`${file} ${specifiers.join(" ")} failed:\n${stderr}`);
    return stdout;
  };
  const imported = run("load.mjs");
  if (imported !== run("load.cjs")) throw new Error("import and require give different names");
  for (const line of imported.trim().split("\n")) {
    const [name, names] = JSON.parse(line) as [string, string[]];
    if (names.length === 0) throw new Error(`${name} exports nothing`);
    console.log(`import and require of ${name}: ${names.length} names`);
  }
}

/** Opens "webgpu" as a user would, and prints ok and the adapter, or the error's name and message. */
const webGpuTrial = `import { tensor } from "@frugal/tensor-core";
import { webgpu } from "@frugal/tensor-core/webgpu";
try {
  const { adapter } = await webgpu();
  const sum = await tensor([1, 2, 3], { device: "webgpu" }).add(1).sum().item();
  if (sum !== 9) throw new Error(\`2 + 3 + 4 is \${sum}\`);
  console.log("ok " + (adapter.description || adapter.device || adapter.vendor));
} catch (error) {
  console.log(error.name + ": " + error.message);
}
`;

/** The environment that WebGPU programs run in here. */
function webGpuEnvironment(): NodeJS.ProcessEnv {
  try {
    return { ...process.env, ...findLavapipe() };
  } catch {
    return process.env;
  }
}

/** Returns what the trial printed. A trial that crashes or hangs is a failure. */
function tryWebGpu(): string {
  write("webgpu-trial.mjs", webGpuTrial);
  return execFileSync(process.execPath, ["webgpu-trial.mjs"], {
    cwd: project,
    encoding: "utf8",
    timeout: 60_000,
    env: webGpuEnvironment(),
    stdio: ["ignore", "pipe", "ignore"],
  }).trim();
}

/** Without the peer: an error that says what to install. */
function refuseWithoutWebGpuPackage(): void {
  const answer = tryWebGpu();
  if (!/^DeviceError: .*"webgpu".*npm install webgpu$/.test(answer)) throw new Error(`webgpu() without the package webgpu: ${answer}`);
  console.log(`without its peer: ${answer}`);
}

/** With the peer: an adapter that computes, or the error that there is none. Returns whether there is one. */
function openWebGpu(): boolean {
  const answer = tryWebGpu();
  if (answer.startsWith("ok ")) {
    console.log(`webgpu() opens ${answer.slice(3)}`);
    return true;
  }
  if (!/^DeviceError: WebGPU finds no adapter here; ./.test(answer)) throw new Error(`webgpu() with the package webgpu: ${answer}`);
  console.log(`webgpu() says: ${answer}`);
  return false;
}

interface ExampleFile {
  readonly file: string;
  readonly example: Example;
}

/** The runnable examples of every package's README, as files of the consumer. */
function writeExamples(): ExampleFile[] {
  return packages.flatMap(({ folder, manifest }) => {
    const examples = extractExamples(manifest.name, readFileSync(join(folder, "README.md"), "utf8"));
    if (examples.length === 0) throw new Error(`${manifest.name} has no runnable example in its README`);
    return examples.map((example, index) => {
      const file = `${manifest.name.replace(/.*\//, "")}-example-${index}.ts`;
      write(file, `${example.code}\nexport {};\n`);
      return { file, example };
    });
  });
}

/** Runs what the README shows, against the installed tarballs. */
function runExamples(examples: readonly ExampleFile[], hasWebGpu: boolean): void {
  for (const { file, example } of examples) {
    if (example.needsWebGpu && !hasWebGpu) {
      console.log(`NOT run, as there is no WebGPU adapter: ${file}`);
      continue;
    }
    execFileSync(process.execPath, [file], {
      cwd: project,
      env: example.needsWebGpu ? webGpuEnvironment() : process.env,
      stdio: ["ignore", "ignore", "inherit"],
      timeout: 120_000,
    });
    console.log(`ran ${file}`);
  }
}

/** Bundles entries for browsers with nothing left out: an import of a Node module fails here. WebGPU is in the bundles that ask for it. */
async function bundleForBrowsers(names: readonly string[]): Promise<void> {
  for (const name of names) {
    const { outputFiles } = await build({
      stdin: { contents: `import * as all from "${name}"; console.log(all);`, resolveDir: project },
      bundle: true,
      format: "esm",
      platform: "browser",
      write: false,
      logLevel: "error",
    });
    const wanted = name.endsWith("/webgpu");
    if (outputFiles[0]!.text.includes("requestAdapter") !== wanted) throw new Error(`${name}: the bundle has WebGPU code: ${!wanted}`);
    console.log(`bundles for browsers: ${name}`);
  }
}

/** Runs the installed command of mecefo: a grid of four worker processes, each with its network thread, takes a few steps on real text. */
function trainOnProcesses(): void {
  const command = join(project, "node_modules/@frugal/mecefo/dist/cli.js");
  const settings = "train --model nano --data moby-dick --grid 2x2 --steps 6 --sequence-length 32 --output grid --json";
  const output = execFileSync(process.execPath, [command, ...settings.split(" ")], {
    cwd: project, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"], timeout: 120_000,
  });
  const { outcome, steps, ledger } = JSON.parse(output) as { outcome: string; steps: number; ledger: { ok: boolean } };
  if (outcome !== "finished" || steps !== 6 || !ledger.ok) throw new Error(`mecefo train: ${output}`);
  console.log("mecefo trained on 2x2 processes");
}

function typeCheck(specifiers: readonly string[], examples: readonly string[]): void {
  const imports = specifiers.map(
    (name, index) => `import * as module${index} from "${name}";\nexport const names${index}: string[] = Object.keys(module${index});`,
  );
  write("consumer.ts", `${imports.join("\n")}\n`);
  for (const { module, moduleResolution, dom } of [
    { module: "nodenext", moduleResolution: "nodenext", dom: ["dom"] },
    { module: "esnext", moduleResolution: "bundler", dom: ["dom"] },
    { module: "nodenext", moduleResolution: "nodenext", dom: [] },
  ]) {
    write(
      "tsconfig.json",
      JSON.stringify({
        compilerOptions: {
          module,
          moduleResolution,
          target: "es2023",
          lib: ["es2024", "esnext.disposable", ...dom],
          types: ["node"],
          strict: true,
          exactOptionalPropertyTypes: true,
          skipLibCheck: false,
          noEmit: true,
        },
        files: ["consumer.ts", ...examples],
      }),
    );
    execFileSync(process.execPath, [join(repositoryRoot, "node_modules/typescript/bin/tsc"), "-p", project], { stdio: "inherit" });
    console.log(`types check with moduleResolution ${moduleResolution}${dom.length > 0 ? "" : ", without the DOM"}`);
  }
}

try {
  const tarballs = packAll();
  const root = JSON.parse(readFileSync(join(repositoryRoot, "package.json"), "utf8")) as { devDependencies: Record<string, string> };
  write(
    "package.json",
    JSON.stringify({
      name: "pack-test",
      private: true,
      type: "module",
      dependencies: Object.fromEntries(tarballs),
      devDependencies: { "@types/node": root.devDependencies["@types/node"] },
    }),
  );
  npm(`install ${offline}`, project);
  load(packages.map(({ manifest }) => manifest.name));
  refuseWithoutWebGpuPackage();

  const peers = packages.flatMap(({ manifest }) =>
    Object.keys(manifest.peerDependenciesMeta ?? {})
      .filter((name) => manifest.peerDependenciesMeta?.[name]?.optional)
      .map((name) => `${name}@${manifest.devDependencies?.[name] ?? manifest.peerDependencies?.[name]}`),
  );
  if (peers.length > 0) npm(`install ${offline} ${peers.map((peer) => `"${peer}"`).join(" ")}`, project);
  const specifiers = packages.flatMap(({ manifest }) => importSpecifiers(manifest));
  load(specifiers);
  const examples = writeExamples();
  typeCheck(
    specifiers,
    examples.map(({ file }) => file),
  );
  runExamples(examples, openWebGpu());
  trainOnProcesses();
  const forBrowsers = packages.map(({ manifest }) => manifest.name).filter((name) => !nodeOnlyPackages.includes(name));
  await bundleForBrowsers([...forBrowsers, "@frugal/tensor-core/webgpu"]);
  console.log(`pack-test: ${packages.length} packages work from their tarballs`);
} catch (error) {
  console.error(`pack-test failed: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
} finally {
  rmSync(project, { recursive: true, force: true });
}
