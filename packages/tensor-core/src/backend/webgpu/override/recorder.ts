import type { KernelArguments, KernelName, TensorView } from "../../backend.ts";
import { DeviceError } from "../../../errors.ts";
import { KernelValidationError } from "../../../validation/errors.ts";
import { maximumWorkgroups, type KernelLaunch, type UniformValue } from "../program.ts";
import type { WebGpuRuntime } from "../runtime.ts";
import type { KernelRecorder, RecordedLaunch, WgslKernel } from "./kernel.ts";

/** Storage arrays of one launch, and 4-byte numbers in its uniform block. */
const maximumBindings = 8;
const maximumUniforms = 64;

/** A kernel as a function over one device. `label` names its pipelines and must change with its code. */
export function bindKernel<Name extends KernelName>(
  definition: WgslKernel<Name>,
  runtime: WebGpuRuntime,
  label: string,
  check?: LaunchCheck,
): (parameters: KernelArguments[Name]) => void {
  const { features, limits } = runtime;
  return (parameters) => {
    const temporaries: TensorView[] = [];
    let launches = 0;
    const recorder: KernelRecorder = {
      features,
      limits,
      launch(recorded) {
        const launch = launchOf(recorded, label, launches++);
        check?.(launch);
        const problem = workgroupProblem(launch);
        if (problem !== undefined) throw new DeviceError(`kernel "${definition.name}" for ${definition.kernel}: ${problem}`);
        runtime.launch(launch);
      },
      temporary(dtype, shape) {
        const view = runtime.temporary(dtype, shape);
        temporaries.push(view);
        return view;
      },
    };
    try {
      if ("record" in definition) definition.record(parameters, recorder);
      else recorder.launch(singleLaunch(definition, parameters, recorder));
    } finally {
      runtime.release(...temporaries);
    }
  };
}

/** Looks at a launch before it is made. @throws KernelValidationError */
export type LaunchCheck = (launch: KernelLaunch) => void;

function singleLaunch<Name extends KernelName>(
  definition: Exclude<WgslKernel<Name>, { readonly record: unknown }>,
  parameters: KernelArguments[Name],
  device: KernelRecorder,
): RecordedLaunch {
  const { code, enables } = definition;
  const variant = definition.variant?.(parameters, device);
  return {
    bindings: definition.bindings(parameters),
    uniforms: definition.uniforms?.(parameters) ?? {},
    workgroups: definition.workgroups(parameters, device),
    code: typeof code === "string" ? code : () => code(parameters, device),
    ...(variant === undefined ? {} : { variant }),
    ...(enables === undefined ? {} : { enables }),
  };
}

function launchOf({ code, variant, ...rest }: RecordedLaunch, label: string, ordinal: number): KernelLaunch {
  const parts = [ordinal === 0 ? "" : `launch ${ordinal + 1}`, variant ?? ""].filter((part) => part !== "");
  return { ...rest, name: label, variant: parts.join(" "), code: typeof code === "string" ? () => code : code };
}

interface KernelIdentity {
  readonly kernel: KernelName;
  readonly name: string;
}

/** WebGPU would refuse such workgroups together with all that was recorded before, so every launch is looked at. */
function workgroupProblem({ workgroups }: KernelLaunch): string | undefined {
  const isPossible = (count: number | undefined): boolean =>
    count === undefined || (Number.isInteger(count) && count >= 0 && count <= maximumWorkgroups);
  if (workgroups.every(isPossible)) return undefined;
  return `workgroups [${workgroups.join(", ")}] are not whole numbers up to ${maximumWorkgroups}; lay out more with workgroupGrid(count)`;
}

/** Everything that a launch may get wrong before WebGPU sees it; for the validation. `texts` holds the code of each variant so far. */
export function checkLaunchStrictly(
  definition: KernelIdentity,
  launch: KernelLaunch,
  runtime: WebGpuRuntime,
  texts: Map<string, string>,
): void {
  const problem = workgroupProblem(launch);
  if (problem !== undefined) throw refusal(definition, problem);
  const names = Object.keys(launch.bindings);
  const uniforms = Object.entries(launch.uniforms ?? {});
  if (names.length === 0 || names.length > maximumBindings) {
    throw refusal(definition, `it binds ${names.length} arrays; 1 to ${maximumBindings} are possible`);
  }
  const fields = [...names.map((name) => `${name}Offset`), ...uniforms.map(([name]) => name)];
  if (fields.length > maximumUniforms) {
    throw refusal(definition, `it has ${fields.length} uniforms with the offsets; ${maximumUniforms} is the limit`);
  }
  for (const name of [...names, ...fields]) {
    if (!/^[a-zA-Z][a-zA-Z0-9_]*$/.test(name) || name.includes("__") || name === "uniforms" || name === "Uniforms" || name === "main") {
      throw refusal(definition, `"${name}" cannot be the name of an array or a uniform`);
    }
  }
  const twice = fields.find((name, i) => fields.indexOf(name) !== i);
  if (twice !== undefined) throw refusal(definition, `the uniform "${twice}" is there twice: <array>Offset is added for each array`);
  for (const [name, value] of uniforms) checkUniform(definition, name, value);
  for (const extension of launch.enables ?? []) {
    const { f16, subgroups, subgroupMatrix } = runtime.features;
    const has = { f16, subgroups, chromium_experimental_subgroup_matrix: subgroupMatrix }[extension];
    if (!has) throw refusal(definition, `this adapter has no "${extension}"; let supports() look at device.features`);
  }
  const types = names.map((name) => `${name}:${launch.bindings[name]!.type}:${launch.bindings[name]!.access}`);
  const key = [launch.variant, ...types, ...uniforms.map(([name, { type }]) => `${name}:${type}`)].join("|");
  const text = launch.code();
  const before = texts.get(key);
  if (before !== undefined && before !== text) {
    throw refusal(definition, "its code changes without its variant, bindings or uniforms: name in variant() all that the code depends on");
  }
  texts.set(key, text);
}

const ranges = { u32: [0, 2 ** 32 - 1], i32: [-(2 ** 31), 2 ** 31 - 1] } as const;

function checkUniform(definition: KernelIdentity, name: string, { type, value }: UniformValue): void {
  if (type === "f32") {
    if (typeof value !== "number") throw refusal(definition, `the uniform ${name} is ${String(value)}, not a number`);
    return;
  }
  const [lowest, highest] = ranges[type];
  if (Number.isInteger(value) && value >= lowest && value <= highest) return;
  throw refusal(definition, `the uniform ${name} is ${value}, not of ${type}`);
}

function refusal(definition: KernelIdentity, problem: string): KernelValidationError {
  return new KernelValidationError(definition.kernel, definition.name, "definition", problem);
}
