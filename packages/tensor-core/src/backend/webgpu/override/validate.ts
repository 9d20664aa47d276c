/** Trying a WGSL kernel on a device of its own. Loaded when a kernel is registered: it brings the reference and the cases along. */
import type { KernelName } from "../../backend.ts";
import { KernelValidationError, type CompileMessage } from "../../../validation/errors.ts";
import { validateKernel, type KernelCandidate, type ValidationReport } from "../../../validation/validate-kernel.ts";
import type { WebGpuBackend } from "../backend.ts";
import { capacityFor } from "../buffers.ts";
import { DeviceLostError } from "../errors.ts";
import type { PipelineRecord } from "../pipelines.ts";
import { compileMessages, formatMessages } from "./compile-check.ts";
import type { WgslKernel } from "./kernel.ts";
import { measureKernel, type KernelTiming } from "./measure.ts";
import { bindKernel, checkLaunchStrictly } from "./recorder.ts";
import type { KernelReport, WgslValidationOptions } from "./report.ts";

/** Time for everything that a validation does on the GPU. */
const defaultTimeout = 120_000;

/** A kernel that passed, and the pipelines it used. */
export interface ValidatedKernel<Name extends KernelName> {
  readonly report: KernelReport<Name>;
  readonly pipelines: readonly PipelineRecord[];
}

/**
 * Tries a kernel on a device opened for it and closed afterwards: what it does wrong there reaches nobody.
 * @throws KernelValidationError
 */
export async function validateOnOwnDevice<Name extends KernelName>(
  open: () => Promise<WebGpuBackend>,
  definition: WgslKernel<Name>,
  label: string,
  options: WgslValidationOptions<Name>,
): Promise<ValidatedKernel<Name>> {
  checkDefinition(definition);
  const backend = await open();
  const { kernel, name } = definition;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = options.timeoutMilliseconds ?? defaultTimeout;
  const late = new Promise<never>((_, reject) => {
    const problem = `no answer from the GPU within ${timeout} ms (option timeoutMilliseconds); is there a loop that does not end?`;
    timer = setTimeout(() => reject(new KernelValidationError(kernel, name, "lost", problem)), timeout);
  });
  try {
    return await Promise.race([tryKernel(backend, definition, label, options), late]);
  } catch (error) {
    const cause = error instanceof KernelValidationError ? error.cause : error;
    if (!(cause instanceof DeviceLostError)) throw error;
    const problem = "the device that tried it was lost; is there a loop that does not end?";
    throw new KernelValidationError(kernel, name, "lost", problem, { cause: error });
  } finally {
    clearTimeout(timer);
    backend.destroy();
  }
}

async function tryKernel<Name extends KernelName>(
  backend: WebGpuBackend,
  definition: WgslKernel<Name>,
  label: string,
  options: WgslValidationOptions<Name>,
): Promise<ValidatedKernel<Name>> {
  const start = performance.now();
  const { runtime } = backend;
  const { kernel, name } = definition;
  const texts = new Map<string, string>();
  const compiled = new Set<string>();
  const warnings: CompileMessage[] = [];
  const run = bindKernel(definition, runtime, label, (launch) => checkLaunchStrictly(definition, launch, runtime, texts));
  const candidate: KernelCandidate<Name> = {
    kernel,
    name,
    supports: (parameters) => definition.supports?.(parameters, runtime) ?? true,
    run,
    async afterRun() {
      for (const record of runtime.pipelines.records()) {
        if (compiled.has(record.shader)) continue;
        compiled.add(record.shader);
        const messages = await compileMessages(runtime.device, record);
        const errors = messages.filter(({ type }) => type === "error");
        if (errors.length > 0) {
          const problem = `the code does not compile:\n${formatMessages(errors)}`;
          throw new KernelValidationError(kernel, name, "compile", problem, { messages });
        }
        warnings.push(...messages);
      }
    },
  };
  const checked: ValidationReport<Name> = await validateKernel(backend, candidate, options, capacityFor);
  const pipelines = runtime.pipelines.records().filter((record) => record.label.startsWith(label));
  let timing: KernelTiming | undefined;
  if (options.measure !== undefined && options.measure !== false) {
    timing = await measureKernel(backend, kernel, run, options.measure === true ? checked.largestCase : options.measure);
  }
  const report = { ...checked, pipelines: pipelines.length, warnings, timing, milliseconds: performance.now() - start };
  return { report, pipelines };
}

/** For callers without types, such as programs that were written by a model. */
function checkDefinition(definition: { readonly kernel: KernelName; readonly name: string }): void {
  const { kernel, name } = definition;
  const parts = definition as unknown as Record<string, unknown>;
  const refuse = (problem: string): never => {
    throw new KernelValidationError(kernel, String(name), "definition", problem);
  };
  if (typeof name !== "string" || !/^[\w .:+-]{1,80}$/.test(name)) {
    refuse("its name has to be 1 to 80 letters, digits, spaces or any of _ . : + -");
  }
  const functions = "record" in parts ? ["record"] : ["bindings", "workgroups"];
  for (const field of functions) if (typeof parts[field] !== "function") refuse(`${field} has to be a function of the arguments`);
  if ("record" in parts) return;
  if (typeof parts["code"] === "function" && typeof parts["variant"] !== "function") {
    refuse("code is a function, so variant has to name what it depends on");
  }
  if (typeof parts["code"] !== "function" && typeof parts["code"] !== "string") refuse("code has to be WGSL, or a function that gives it");
}
